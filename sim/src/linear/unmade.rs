//! What nobody can have written: a reason that needs no search.
//!
//! A search would find it, too, but only after it had tried every order of what
//! came before.

use std::collections::{BTreeMap, BTreeSet};

use super::Part;
use super::history::{Call, Done};

/// The line of the first end of an operation that saw a value which nothing that
/// had begun by then could have brought about.
pub(super) fn first(part: &Part) -> Option<usize> {
    let makers = Makers::of(part);
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
    let initial = part.history.model.initial();
    let unmade = seen.filter(|(line, value)| *value != initial && !makers.can(value, *line));
    unmade.map(|(line, _)| line).min()
}

/// Values, each with the line in which the first operation begins that may
/// bring it about.
#[derive(Default)]
struct Makers<'a> {
    whole: BTreeMap<&'a str, usize>,
    /// What is appended, and how long such pieces are.
    ends: BTreeMap<&'a str, usize>,
    lengths: BTreeSet<usize>,
}

impl<'a> Makers<'a> {
    fn of(part: &Part<'a>) -> Self {
        let mut makers = Makers::default();
        for at in part.operations {
            let operation = &part.history.operations[*at];
            // It is known to have had no effect.
            if matches!(operation.ended_by(part.end), Some((_, Done::Fail))) {
                continue;
            }
            let (map, value) = match &operation.call {
                Call::Read { .. } => continue,
                Call::Write { value } | Call::Cas { to: value, .. } => (&mut makers.whole, value),
                Call::Append { value } => {
                    makers.lengths.insert(value.len());
                    (&mut makers.ends, value)
                }
            };
            let begun = map.entry(value.as_str()).or_insert(operation.invoked);
            *begun = (*begun).min(operation.invoked);
        }
        makers
    }

    /// Whether something that begins before this line may leave the value.
    fn can(&self, value: &str, line: usize) -> bool {
        let begun = |map: &BTreeMap<&str, usize>, made: &str| {
            map.get(made).is_some_and(|invoked| *invoked < line)
        };
        let ends_with_a_piece = |length: &usize| {
            let start = value.len().checked_sub(*length);
            let end = start.and_then(|start| value.get(start..));
            end.is_some_and(|end| begun(&self.ends, end))
        };
        begun(&self.whole, value) || self.lengths.iter().any(ends_with_a_piece)
    }
}
