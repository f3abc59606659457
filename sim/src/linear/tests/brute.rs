//! The definition of linearizability, tried out: every order of every subset.

use super::super::history::{Call, Done, History};

/// Is the history up to this line linearizable? Shares nothing with the search
/// but the history.
pub fn linearizable(history: &History, end: usize) -> bool {
    let mut keys: Vec<_> = history.operations.iter().map(|o| o.key.clone()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter().all(|key| {
        let operations: Vec<Placed> = history
            .operations
            .iter()
            .filter(|o| o.key == key && o.invoked <= end)
            .map(|o| Placed {
                call: &o.call,
                invoked: o.invoked,
                ended: o.ended.filter(|(line, _)| *line <= end),
            })
            .collect();
        order(&operations, 0, history.model.initial().to_owned())
    })
}

struct Placed<'a> {
    call: &'a Call,
    invoked: usize,
    ended: Option<(usize, Done)>,
}

impl Placed<'_> {
    /// Up to when it must have its place; for ever if it is unknown.
    fn deadline(&self) -> Option<usize> {
        match self.ended {
            Some((line, Done::Ok | Done::Fail)) => Some(line),
            _ => None,
        }
    }
}

/// `taken` has a bit for each operation that has its place before `state`.
fn order(operations: &[Placed], taken: u32, state: String) -> bool {
    let open = |at: &usize| taken >> at & 1 == 0;
    let deadline = (0..operations.len())
        .filter(open)
        .filter_map(|at| operations[at].deadline())
        .min();
    let Some(deadline) = deadline else {
        return true; // The rest may never take effect.
    };
    (0..operations.len())
        .filter(open)
        .filter(|at| operations[*at].invoked < deadline)
        .any(|at| match step(&operations[at], &state) {
            Some(next) => order(operations, taken | 1 << at, next),
            None => false,
        })
}

fn step(operation: &Placed, state: &str) -> Option<String> {
    let same = Some(state.to_owned());
    if let Some((_, Done::Fail)) = operation.ended {
        return match operation.call {
            Call::Cas { from, .. } if from == state => None,
            _ => same,
        };
    }
    match operation.call {
        Call::Read { seen: None } => same,
        Call::Read { seen: Some(seen) } => same.filter(|state| state == seen),
        Call::Write { value } => Some(value.clone()),
        Call::Append { value } => Some(format!("{state}{value}")),
        Call::Cas { from, to } => same.filter(|state| state == from).map(|_| to.clone()),
    }
}
