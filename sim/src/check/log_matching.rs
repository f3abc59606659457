//! log-matching: two logs that agree on an entry's index and term agree on all
//! before it (Raft thesis, figure 3.2).

use std::collections::BTreeMap;

use afterimage_engine::{EntryId, Event, Index, Term};

use super::{Judge, Model, StoreModel, broken};
use crate::trace::{Record, What};
use crate::verdict::{Invariant::LogMatching as RULE, Violation};

/// By induction it is enough that an entry's index and term name its content
/// and the term of the entry before it. (What recovery finds was appended
/// before, or it breaks `no-resurrection`.) Forgotten below what every node has a
/// snapshot of.
#[derive(Default, Clone)]
pub struct LogMatching {
    known: BTreeMap<(Index, Term), Known>,
}

#[derive(Clone)]
struct Known {
    fingerprint: u32,
    /// `None`: it was only seen at the start of a log.
    before: Option<Term>,
}

impl Judge for LogMatching {
    fn record(&mut self, record: &Record, model: &Model) -> Result<(), Violation> {
        let Some((id, node)) = model.node_of(record) else {
            return Ok(());
        };
        let found = match &record.what {
            What::Engine(Event::Appended { entries }) => self.appended(&node.store, entries),
            What::Engine(Event::SnapshotSaved { .. } | Event::SnapshotInstalled { .. }) => {
                let keep = (model.snapshot_everywhere(), Term(0));
                self.known = self.known.split_off(&keep);
                Ok(())
            }
            _ => Ok(()),
        };
        found.or_else(|what| broken(RULE, format!("n{id}: {what}")))
    }
}

impl LogMatching {
    fn appended(&mut self, store: &StoreModel, entries: &[EntryId]) -> Result<(), String> {
        let first = entries.first().map_or(Index(1), |e| e.index);
        self.check(store.term(first.prev()), entries)
    }

    fn check(&mut self, mut before: Option<Term>, entries: &[EntryId]) -> Result<(), String> {
        for entry in entries {
            let known = self
                .known
                .entry((entry.index, entry.term))
                .or_insert(Known {
                    fingerprint: entry.fingerprint,
                    before,
                });
            let name = format_args!("{}/{}", entry.term, entry.index);
            if known.fingerprint != entry.fingerprint {
                return Err(format!("{name} is two entries"));
            }
            match (known.before, before) {
                (Some(one), Some(other)) if one != other => {
                    return Err(format!(
                        "{name} follows an entry of term {one} and one of term {other}"
                    ));
                }
                (None, Some(_)) => known.before = before,
                _ => {}
            }
            before = Some(entry.term);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::RULE;

    fn start() -> Stream {
        Stream::new().append(1, &[e(1, 1), e(1, 2), e(3, 3)])
    }

    #[test]
    fn index_and_term_name_the_content() {
        start().append(2, &[e(1, 1), e(2, 2)]).passes();
        start().append(2, &[e(1, 1), forged(1, 2)]).breaks(RULE);
    }

    #[test]
    fn index_and_term_name_everything_before() {
        start().append(2, &[e(1, 1), e(1, 2), e(3, 3)]).passes();
        start().append(2, &[e(1, 1), e(2, 2), e(3, 3)]).breaks(RULE);
        // Learned later: a log that starts in the middle.
        start()
            .installed(2, 2, 1, false)
            .append(2, &[e(3, 3)])
            .passes();
        start()
            .installed(2, 2, 2, false)
            .append(2, &[e(3, 3)])
            .breaks(RULE);
    }
}
