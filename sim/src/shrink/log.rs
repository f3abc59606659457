//! Shorter stories of one store: fewer appends and entries, and the positions
//! of what follows moved so that it still follows.

use afterimage_engine::{Index, Term};

use crate::plan::{Action, Plan, Step, StoreEntry, StoreOp};
use crate::report::RunReport;

/// Without each append and each install, with what follows it moved up; with two
/// appends as one; without each entry.
pub(super) fn shorter(failed: &RunReport) -> Vec<Plan> {
    let plan = &failed.resolved;
    let mut candidates = Vec::new();
    for at in (0..plan.steps.len()).rev() {
        candidates.extend(without(plan, at));
        candidates.extend(joined(plan, at));
    }
    for at in (0..plan.steps.len()).rev() {
        let entries = entries(&plan.steps[at]).map_or(0, <[_]>::len);
        candidates.extend(
            (0..entries)
                .rev()
                .map(|entry| without_entry(plan, at, entry)),
        );
    }
    candidates
}

/// With lower positions, from each step on; with lower terms; with less data.
pub(super) fn lower(failed: &RunReport) -> Vec<Plan> {
    let plan = &failed.resolved;
    let mut candidates = vec![with_few_terms(plan)];
    for (at, step) in plan.steps.iter().enumerate() {
        let least = step_indexes(&mut step.clone())
            .into_iter()
            .map(|i| i.0)
            .min();
        let Some(first) = least.filter(|first| *first > 1) else {
            continue;
        };
        for by in [first - 1, first / 2, 1] {
            let mut lower = plan.clone();
            move_up(&mut lower.steps[at..], first - by, by);
            candidates.push(lower);
        }
    }
    for (at, step) in plan.steps.iter().enumerate() {
        for (entry, now) in entries(step).unwrap_or_default().iter().enumerate() {
            for bytes in super::load::lower(now.bytes, 0) {
                let mut less = plan.clone();
                if let Some(entries) = entries_mut(&mut less.steps[at]) {
                    entries[entry].bytes = bytes;
                }
                candidates.push(less);
            }
        }
    }
    candidates
}

/// Without the step, and the next append where it began.
fn without(plan: &Plan, at: usize) -> Option<Plan> {
    let first = match &plan.steps[at].action {
        Action::Store(StoreOp::Append { entries, .. }) => entries.first()?.index.0,
        Action::Store(StoreOp::Install { .. }) => end_of_log(&plan.steps[..at]) + 1,
        _ => return None,
    };
    let later = plan.steps[at + 1..].iter().find_map(entries);
    let next = later.and_then(<[_]>::first)?.index.0;
    let mut fewer = plan.clone();
    fewer.steps.remove(at);
    move_up(&mut fewer.steps[at..], first, next.checked_sub(first)?);
    Some(fewer)
}

/// The last index after these steps, as far as they say.
fn end_of_log(steps: &[Step]) -> u64 {
    let ends = steps.iter().rev().find_map(|step| match &step.action {
        Action::Store(StoreOp::Append { entries, .. }) => entries.last().map(|entry| entry.index),
        Action::Store(StoreOp::Install { last, .. }) => Some(*last),
        _ => None,
    });
    ends.map_or(0, |index| index.0)
}

/// The append and the next step as one, if that goes on where this one ends.
fn joined(plan: &Plan, at: usize) -> Option<Plan> {
    let (end, next) = (entries(&plan.steps[at])?.last()?, plan.steps.get(at + 1)?);
    let more = entries(next)?;
    let follows = |first: &StoreEntry| first.index == end.index.next() && first.term >= end.term;
    if !more.first().is_some_and(follows) {
        return None;
    }
    let mut fewer = plan.clone();
    fewer.steps.remove(at + 1);
    entries_mut(&mut fewer.steps[at])?.extend(more);
    Some(fewer)
}

/// Without one entry of an append; the last one's step goes with it.
fn without_entry(plan: &Plan, at: usize, entry: usize) -> Plan {
    let mut fewer = plan.clone();
    let Some(entries) = entries_mut(&mut fewer.steps[at]) else {
        return fewer;
    };
    let gone = entries.remove(entry).index.0;
    let empty = entries.is_empty();
    move_up(&mut fewer.steps[at..], gone, 1);
    if empty {
        fewer.steps.remove(at);
    }
    fewer
}

/// The terms as they are ordered: the first is 1, the next 2.
fn with_few_terms(plan: &Plan) -> Plan {
    let mut fewer = plan.clone();
    let mut terms: Vec<Term> = Vec::new();
    for step in &mut fewer.steps {
        terms.extend(step_terms(step).into_iter().map(|term| *term));
    }
    terms.sort_unstable();
    terms.dedup();
    for step in &mut fewer.steps {
        for term in step_terms(step) {
            let rank = terms.partition_point(|other| *other < *term);
            *term = Term(rank as u64 + 1);
        }
    }
    fewer
}

/// Takes `by` from every index above `first`, so far as it stays there.
fn move_up(steps: &mut [Step], first: u64, by: u64) {
    for index in steps.iter_mut().flat_map(step_indexes) {
        if index.0 > first {
            *index = Index(index.0.saturating_sub(by).max(first));
        }
    }
}

fn entries(step: &Step) -> Option<&[StoreEntry]> {
    match &step.action {
        Action::Store(StoreOp::Append { entries, .. }) => Some(entries),
        _ => None,
    }
}

fn entries_mut(step: &mut Step) -> Option<&mut Vec<StoreEntry>> {
    match &mut step.action {
        Action::Store(StoreOp::Append { entries, .. }) => Some(entries),
        _ => None,
    }
}

fn step_indexes(step: &mut Step) -> Vec<&mut Index> {
    match &mut step.action {
        Action::Store(StoreOp::Append { entries, .. }) => {
            entries.iter_mut().map(|entry| &mut entry.index).collect()
        }
        Action::Store(
            StoreOp::Truncate { from: index }
            | StoreOp::Save { upto: index, .. }
            | StoreOp::Install { last: index, .. },
        ) => vec![index],
        _ => Vec::new(),
    }
}

fn step_terms(step: &mut Step) -> Vec<&mut Term> {
    match &mut step.action {
        Action::Store(StoreOp::Append { entries, .. }) => {
            entries.iter_mut().map(|entry| &mut entry.term).collect()
        }
        Action::Store(StoreOp::HardState { term, .. } | StoreOp::Install { term, .. }) => {
            vec![term]
        }
        _ => Vec::new(),
    }
}
