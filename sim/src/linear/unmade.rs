//! What nobody can have written: a reason that needs no search.
//!
//! A search would find it, too, but only after it had tried every order of what
//! came before.

use std::collections::{BTreeMap, BTreeSet};

use super::Part;
use super::history::{Call, Done};

/// The line from which on it is known that an operation saw a value which nothing
/// that had begun by its end could have brought about.
pub(super) fn first(part: &Part) -> Option<usize> {
    let makers = Makers::of(part);
    let initial = part.history.model.initial();
    let seen = part.operations.iter().filter_map(|at| {
        let operation = &part.history.operations[*at];
        let (line, done) = operation.ended_by(part.end)?;
        let believed = done == Done::Ok && !part.unknown.contains(at);
        match &operation.call {
            Call::Read { seen: Some(value) } | Call::Cas { from: value, .. } if believed => {
                Some((line, value.as_str()))
            }
            _ => None,
        }
    });
    let seen = seen.filter(|(_, value)| *value != initial);
    seen.filter_map(|(line, value)| makers.missing(value, line))
        .min()
}

/// An operation that may bring a value about.
#[derive(Clone, Copy)]
struct Maker {
    invoked: usize,
    /// The line that says that it had no effect; until then it may have had.
    failed: Option<usize>,
}

/// Values, with what may bring them about.
#[derive(Default)]
struct Makers<'a> {
    whole: BTreeMap<&'a str, Vec<Maker>>,
    /// What is appended, and how long such pieces are.
    ends: BTreeMap<&'a str, Vec<Maker>>,
    lengths: BTreeSet<usize>,
}

impl<'a> Makers<'a> {
    fn of(part: &Part<'a>) -> Self {
        let mut makers = Makers::default();
        for at in part.operations {
            let operation = &part.history.operations[*at];
            let failed = match operation.ended_by(part.end) {
                Some((line, Done::Fail)) if !part.unknown.contains(at) => Some(line),
                _ => None,
            };
            let (map, value) = match &operation.call {
                Call::Read { .. } => continue,
                Call::Write { value } | Call::Cas { to: value, .. } => (&mut makers.whole, value),
                Call::Append { value } => {
                    makers.lengths.insert(value.len());
                    (&mut makers.ends, value)
                }
            };
            let invoked = operation.invoked;
            let of_value = map.entry(value.as_str()).or_default();
            of_value.push(Maker { invoked, failed });
        }
        makers
    }

    /// The line from which on nothing that began before `line` can have left the
    /// value: at the earliest `line` itself, later if something might have until
    /// it failed. `None`: something can.
    fn missing(&self, value: &str, line: usize) -> Option<usize> {
        let pieces = self.lengths.iter().filter_map(|length| {
            let start = value.len().checked_sub(*length)?;
            self.ends.get(value.get(start..)?)
        });
        let makers = self.whole.get(value).into_iter().chain(pieces).flatten();
        let mut begun = makers.filter(|maker| maker.invoked < line);
        begun.try_fold(line, |known, maker| Some(known.max(maker.failed?)))
    }
}
