//! The smallest plan that breaks the same invariant (delta debugging: Zeller
//! and Hildebrandt, TSE 2002).
//!
//! A plan is made smaller in one way at a time: a candidate is run, and kept if
//! it still fails and is smaller by `Size`. The ways take turns until none of
//! them gets any further. Then nothing that is left can be left out by itself.
//!
//! What a run is, and what counts as the same failure, is the caller's: see
//! [`shrink`]. Nothing here draws anything or knows the time, so the outcome
//! depends on the plan and on the answers alone.

mod details;
mod fates;
mod load;
mod log;
mod members;
mod size;
mod steps;
mod time;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::plan::Plan;
use crate::report::RunReport;
use size::Size;

/// What came of candidates, tried in their order.
#[derive(Debug)]
pub enum Tried {
    /// The one at this place is the first that still fails.
    Failed { at: usize, report: Box<RunReport> },
    /// None does.
    Passed,
    /// The user has seen enough.
    Stopped,
}

/// Why the work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A local minimum: a last round tried everything again, and nothing more
    /// can be left out by itself.
    Minimum,
    /// As many candidates were tried as were allowed.
    Budget,
    Stopped,
}

/// What a failure shrank to.
#[derive(Debug)]
pub struct Shrunk {
    /// The run of the smallest plan, which is its `resolved`.
    pub report: RunReport,
    /// Candidates tried.
    pub tried: u64,
    pub end: End,
}

/// Shrinks the plan of a failed run, with at most `budget` candidates.
///
/// `first` is asked to run candidates, in the order given, up to the first that
/// fails in the same way. It may run several at a time, if only its answer is
/// as if it had not.
pub fn shrink(failed: RunReport, budget: u64, first: &mut dyn FnMut(&[Plan]) -> Tried) -> Shrunk {
    let mut work = Work {
        report: failed,
        passed: BTreeSet::new(),
        tried: 0,
        budget,
        first,
    };
    let end = work.rounds();
    Shrunk {
        report: work.report,
        tried: work.tried,
        end,
    }
}

/// A way to make plans smaller: the candidates that follow from a failed run.
///
/// When one is taken, the list is made again, and gone on with from the same
/// place: what was before that has just been tried.
enum Way {
    Each(fn(&RunReport) -> Vec<Plan>),
    /// With chunks of so many steps: of all, of half of them, down to one.
    Chunks(fn(&RunReport, usize) -> Vec<Plan>),
}

/// The ways, those that get rid of most first.
const WAYS: &[Way] = &[
    Way::Each(time::after_the_violation),
    Way::Each(members::fewer),
    Way::Chunks(steps::fewer),
    Way::Each(log::shorter),
    Way::Each(load::default_settings),
    Way::Each(load::fewer_clients),
    Way::Each(log::lower),
    Way::Each(details::lower),
    Way::Each(fates::fewer_kept),
    Way::Each(time::sooner),
    Way::Each(time::shorter),
];

/// What is tried when these end: many candidates, of which few lead on.
const FAR: &[Way] = &[Way::Each(steps::far_fewer)];

struct Work<'a> {
    /// The smallest failure so far.
    report: RunReport,
    /// The texts of candidates that did not fail: none is run twice.
    passed: BTreeSet<String>,
    tried: u64,
    budget: u64,
    first: &'a mut dyn FnMut(&[Plan]) -> Tried,
}

impl Work<'_> {
    fn rounds(&mut self) -> End {
        loop {
            let mut smaller = false;
            for ways in [WAYS, FAR] {
                if smaller {
                    break;
                }
                for way in ways {
                    match self.go(way) {
                        ControlFlow::Continue(taken) => smaller |= taken,
                        ControlFlow::Break(end) => return end,
                    }
                }
            }
            if !smaller {
                return End::Minimum;
            }
        }
    }

    /// Goes one way as far as it leads; whether it led anywhere.
    fn go(&mut self, way: &Way) -> ControlFlow<End, bool> {
        match way {
            Way::Each(candidates) => self.sweep(candidates),
            Way::Chunks(candidates) => {
                let mut smaller = false;
                let mut chunk = self.report.resolved.steps.len();
                while chunk > 0 {
                    smaller |= self.sweep(|failed| candidates(failed, chunk))?;
                    chunk /= 2;
                }
                ControlFlow::Continue(smaller)
            }
        }
    }

    fn sweep(&mut self, candidates: impl Fn(&RunReport) -> Vec<Plan>) -> ControlFlow<End, bool> {
        let (mut from, mut smaller) = (0, false);
        while let Some(at) = self.take(&candidates(&self.report), from)? {
            (from, smaller) = (at, true);
        }
        ControlFlow::Continue(smaller)
    }

    /// Takes the first of the candidates from this place on that still fails
    /// and is smaller; its place.
    fn take(&mut self, candidates: &[Plan], from: usize) -> ControlFlow<End, Option<usize>> {
        let size = Size::of(&self.report.resolved);
        let mut texts = Vec::new();
        let mut worth = Vec::new();
        for (at, plan) in candidates.iter().enumerate().skip(from) {
            if Size::of(plan) >= size {
                continue;
            }
            let text = plan.to_string();
            if is_valid(&text) && !self.passed.contains(&text) && !texts.contains(&text) {
                texts.push(text);
                worth.push((at, plan.clone()));
            }
        }
        let (places, worth): (Vec<_>, Vec<_>) = worth.into_iter().unzip();
        let mut next = 0;
        while next < worth.len() {
            let left = usize::try_from(self.budget - self.tried).unwrap_or(usize::MAX);
            if left == 0 {
                return ControlFlow::Break(End::Budget);
            }
            let end = worth.len().min(next.saturating_add(left));
            match (self.first)(&worth[next..end]) {
                Tried::Stopped => return ControlFlow::Break(End::Stopped),
                Tried::Passed => {
                    self.tried += (end - next) as u64;
                    self.passed.extend(texts[next..end].iter().cloned());
                    next = end;
                }
                Tried::Failed { at, report } => {
                    self.tried += at as u64 + 1;
                    self.passed.extend(texts[next..next + at].iter().cloned());
                    next += at;
                    // What it came to, with all fates written down, may have grown.
                    if Size::of(&report.resolved) < size {
                        self.report = *report;
                        return ControlFlow::Continue(Some(places[next]));
                    }
                    self.passed.insert(texts[next].clone());
                    next += 1;
                }
            }
        }
        ControlFlow::Continue(None)
    }
}

/// Whether the text can be read again: it has bounds that a plan's data has not.
fn is_valid(text: &str) -> bool {
    text.parse()
        .is_ok_and(|plan: Plan| plan.to_string() == text)
}
