//! Histories as a store and its clients make them.

use super::super::history::{Call, Done, History, Model, Operation};
use crate::rng::SimRng;

/// What the clients do.
#[derive(Debug, Clone)]
pub struct Shape {
    pub model: Model,
    pub operations: usize,
    pub processes: usize,
    /// Of 100 operations, this many are reads; of the rest, this many are
    /// compare-and-sets or appends.
    pub reads: u64,
    pub special: u64,
    pub keys: u64,
    /// Values are drawn from so many; 0: each is new.
    pub values: u64,
    /// Of 1000, this many end as info, whether they took effect or not.
    pub unknown: u64,
    /// Of 100, this many are refused.
    pub refused: u64,
}

struct Open {
    at: usize,
    /// Whether it has taken effect yet, and what it saw.
    effect: Option<(bool, String)>,
}

/// A history of a store that takes every operation at one moment between its
/// beginning and its end (an unknown one perhaps long after that, or never).
pub fn linearizable(shape: &Shape, seed: u64) -> History {
    let mut rng = SimRng::new(seed, "history");
    let mut state = vec![shape.model.initial().to_owned(); shape.keys as usize];
    let mut history = History {
        model: shape.model,
        operations: Vec::new(),
        lines: 0,
    };
    let mut open: Vec<Option<Open>> = (0..shape.processes).map(|_| None).collect();
    let mut late: Vec<usize> = Vec::new();
    let mut fresh = 0;
    loop {
        let done = history.operations.len() == shape.operations;
        if done && open.iter().all(Option::is_none) {
            return history;
        }
        if !late.is_empty() && rng.below(40) == 0 {
            let at = late.swap_remove(rng.below(late.len() as u64) as usize);
            apply(&history.operations[at], &mut state);
        }
        let process = rng.below(shape.processes as u64) as usize;
        match open[process].take() {
            None if done => {}
            None => {
                history.lines += 1;
                let key = rng.below(shape.keys);
                open[process] = Some(Open {
                    at: history.operations.len(),
                    effect: None,
                });
                let call = draw(shape, &mut rng, &mut fresh);
                history.operations.push(Operation {
                    process: process.to_string(),
                    key: (shape.model == Model::Kv).then(|| key.to_string()),
                    call,
                    invoked: history.lines,
                    ended: None,
                });
            }
            Some(Open { at, effect: None }) => {
                let operation = &history.operations[at];
                let effect = Some(match rng.below(100) < shape.refused {
                    true => (false, String::new()),
                    false => apply(operation, &mut state),
                });
                if effect.as_ref().is_some_and(|(took, _)| *took)
                    || rng.below(1000) >= shape.unknown
                {
                    open[process] = Some(Open { at, effect });
                } else {
                    abandon(&mut history, at);
                }
            }
            Some(Open {
                at,
                effect: Some((took, saw)),
            }) => {
                history.lines += 1;
                let line = history.lines;
                let operation = &mut history.operations[at];
                let done = if rng.below(1000) < shape.unknown {
                    Done::Info
                } else if !took {
                    refuse(operation, &saw)
                } else {
                    Done::Ok
                };
                operation.ended = Some((line, done));
                if let Call::Read { seen } = &mut operation.call {
                    *seen = (done == Done::Ok).then_some(saw);
                }
                if done == Done::Info && !took && rng.below(2) == 0 {
                    late.push(at);
                }
            }
        }
    }
}

/// A client that died: its operation never ends.
fn abandon(history: &mut History, at: usize) {
    // Its process does not come back; the client goes on as another one.
    history.operations[at].process = (1_000_000 + at).to_string();
}

/// What did not take effect says so; a compare-and-set only if it saw why not.
fn refuse(operation: &Operation, saw: &str) -> Done {
    match &operation.call {
        Call::Cas { from, .. } if saw.is_empty() || saw == from => Done::Info,
        _ => Done::Fail,
    }
}

/// Whether it took effect, and what it saw.
fn apply(operation: &Operation, state: &mut [String]) -> (bool, String) {
    let key: usize = operation.key.as_ref().map_or(0, |key| key.parse().unwrap());
    let saw = state[key].clone();
    match &operation.call {
        Call::Read { .. } => {}
        Call::Write { value } => state[key] = value.clone(),
        Call::Append { value } => state[key] += value,
        Call::Cas { from, to } if saw == *from => state[key] = to.clone(),
        Call::Cas { .. } => return (false, saw),
    }
    (true, saw)
}

fn draw(shape: &Shape, rng: &mut SimRng, fresh: &mut u64) -> Call {
    let mut value = |rng: &mut SimRng| match shape.values {
        0 => {
            *fresh += 1;
            match shape.model {
                Model::Register => fresh.to_string(),
                Model::Kv => format!("{fresh},"),
            }
        }
        n => rng.below(n).to_string(),
    };
    if rng.below(100) < shape.reads {
        return Call::Read { seen: None };
    }
    match (shape.model, rng.below(100) < shape.special) {
        (_, false) => Call::Write { value: value(rng) },
        (Model::Kv, true) => Call::Append { value: value(rng) },
        (Model::Register, true) => {
            let to = value(rng);
            let from = match shape.values {
                0 => (fresh.saturating_sub(1 + rng.below(3))).to_string(),
                n => rng.below(n).to_string(),
            };
            Call::Cas { from, to }
        }
    }
}

/// Changes what one read saw to what another one saw, or to what somebody
/// wrote.
pub fn stale_read(history: &mut History, seed: u64) {
    let mut rng = SimRng::new(seed, "stale read");
    let mut pick = |which: fn(&Call) -> bool| {
        let fit: Vec<usize> = (0..history.operations.len())
            .filter(|at| which(&history.operations[*at].call))
            .collect();
        (!fit.is_empty()).then(|| fit[rng.below(fit.len() as u64) as usize])
    };
    let read = pick(|call| matches!(call, Call::Read { seen: Some(_) }));
    let source = pick(|call| match call {
        Call::Read { seen } => seen.is_some(),
        _ => true,
    });
    let (Some(read), Some(source)) = (read, source) else {
        return;
    };
    let seen = match &history.operations[source].call {
        Call::Read { seen } => seen.clone(),
        Call::Write { value } | Call::Append { value } | Call::Cas { to: value, .. } => {
            Some(value.clone())
        }
    };
    history.operations[read].call = Call::Read { seen };
}

/// Claims that an operation took effect of which nobody knew, or which did not.
pub fn false_claim(history: &mut History, seed: u64) {
    let mut rng = SimRng::new(seed, "false claim");
    let fit: Vec<usize> = (0..history.operations.len())
        .filter(|at| {
            let operation = &history.operations[*at];
            let ended = operation.ended.map(|(_, done)| done);
            !matches!(operation.call, Call::Read { .. })
                && matches!(ended, Some(Done::Fail | Done::Info))
        })
        .collect();
    if !fit.is_empty() {
        let at = fit[rng.below(fit.len() as u64) as usize];
        let operation = &mut history.operations[at];
        operation.ended = operation.ended.map(|(line, _)| (line, Done::Ok));
    }
}
