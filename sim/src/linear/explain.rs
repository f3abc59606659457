//! Why a history is not linearizable: the smallest prefix that fails, and the
//! operations in it that cannot be ordered.

use std::collections::BTreeSet;
use std::fmt;

use super::history::{Call, Done, History, Model, Operation};
use super::{CONFIGURATIONS_MAX, GaveUp, Part, unmade};

/// An explanation may cost so many configurations a step: it is to come at once.
const STEP_MAX: u64 = 50_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    pub model: Model,
    pub key: Option<String>,
    /// Up to this line the history has no linearization, up to the one before
    /// it has.
    pub line: usize,
    /// Operations that begin in this prefix, and how many of them end in it.
    pub operations: usize,
    pub completions: usize,
    /// The operation that ends in that line.
    pub last: Operation,
    /// These cannot be ordered, whatever the outcome of all others was; and
    /// could be, if the outcome of any one of them were unknown (or so it seems:
    /// the search for this is not endless). The last one is among them.
    pub stuck: Vec<Operation>,
}

/// The last line of the smallest prefix that fails, up to `end`. If some search
/// has to be given up, a prefix that fails, but perhaps not the smallest one.
pub(super) fn smallest_prefix(
    history: &History,
    operations: &[usize],
    end: usize,
) -> Result<Option<usize>, GaveUp> {
    let unknown = BTreeSet::new();
    let part = |end| Part {
        history,
        operations,
        end,
        unknown: &unknown,
    };
    // What needs no search bounds it.
    let end = match unmade::first(&part(end)) {
        Some(line) => line,
        None if part(end).linearizable(CONFIGURATIONS_MAX)? => return Ok(None),
        None => end,
    };
    // Only an end can rule out what was possible before.
    let mut ends: Vec<usize> = operations
        .iter()
        .filter_map(|at| history.operations[*at].ended_by(end))
        .filter(|(_, done)| *done != Done::Info)
        .map(|(line, _)| line)
        .collect();
    ends.sort_unstable();
    let fails = |line: &usize| matches!(part(*line).linearizable(STEP_MAX), Ok(false));
    let at = ends.partition_point(|line| !fails(line));
    Ok(ends.get(at).or(ends.last()).copied())
}

pub(super) fn explain(history: &History, operations: &[usize], line: usize) -> Explanation {
    let all = &history.operations;
    let ends_by = |o: &&Operation| o.ended_by(line).is_some();
    let ends_here = |o: &&Operation| o.ended.is_some_and(|(at, _)| at == line);
    let last = all.iter().find(ends_here).expect("a failing line ends one");
    let stuck = stuck(history, operations, line);
    Explanation {
        model: history.model,
        key: last.key.clone(),
        line,
        operations: all.iter().filter(|o| o.invoked <= line).count(),
        completions: all.iter().filter(ends_by).count(),
        last: last.clone(),
        stuck: stuck.into_iter().map(|at| all[at].clone()).collect(),
    }
}

/// Takes away the outcome of as many operations as possible, in halves, quarters
/// and so on, as long as what is left still fails.
fn stuck(history: &History, operations: &[usize], line: usize) -> Vec<usize> {
    let ends = |at: &usize| {
        let ended = history.operations[*at].ended_by(line);
        ended.is_some_and(|(_, done)| done != Done::Info)
    };
    let mut left: Vec<usize> = operations.iter().copied().filter(ends).collect();
    let mut unknown = BTreeSet::new();
    let mut size = left.len();
    while size > 0 {
        let mut kept = Vec::new();
        for chunk in left.chunks(size) {
            let mut more = unknown.clone();
            more.extend(chunk);
            let part = Part {
                history,
                operations,
                end: line,
                unknown: &more,
            };
            match part.linearizable(STEP_MAX) {
                Ok(false) => unknown = more,
                _ => kept.extend(chunk),
            }
        }
        left = kept;
        size /= 2;
    }
    left
}

/// `process 3 reads 7, lines 4 to 9`, for people.
impl Operation {
    pub fn describe(&self, model: Model) -> String {
        let failed = matches!(self.ended, Some((_, Done::Fail)));
        let (name, value) = (self.call.name(model), self.shown(model));
        let outcome = if failed { " fails" } else { "" };
        let lines = match self.ended {
            Some((line, _)) => format!("lines {} to {line}", self.invoked),
            None => format!("from line {}", self.invoked),
        };
        format!("process {}: {name} {value}{outcome}, {lines}", self.process)
    }

    fn shown(&self, model: Model) -> String {
        match (&self.call, model) {
            (Call::Cas { .. }, _) | (_, Model::Register) => self.call.value(),
            (_, Model::Kv) => format!("{:?}", self.call.value()),
        }
    }
}

/// One line.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(key) = &self.key {
            write!(f, "key {key:?}: ")?;
        }
        let stuck: Vec<String> = self.stuck.iter().map(|o| o.describe(self.model)).collect();
        write!(f, "cannot be ordered: {}", stuck.join("; "))
    }
}
