//! Which members count at which point of the log.

use std::collections::BTreeMap;

use crate::entry::{Entry, EntryKind, Membership};
use crate::error::{Error, Result};
use crate::format::decode_membership;
use crate::ids::Index;

/// The memberships that the log and the snapshot below it hold, each by the
/// index from which on it counts. It counts as soon as it is in the log,
/// committed or not, and no longer once it is truncated (Raft thesis, 4.1).
#[derive(Debug)]
pub(super) struct Members {
    /// Never empty. The first one is the snapshot's, or at index 0 the one that
    /// the member was configured with.
    by_index: BTreeMap<Index, Membership>,
    /// Those behind here do not count: only a planted bug says so.
    counts_upto: Option<Index>,
}

impl Members {
    pub(super) fn new(base: Index, membership: Membership) -> Self {
        Members {
            by_index: BTreeMap::from([(base, membership)]),
            counts_upto: None,
        }
    }

    /// The one that counts: the newest, whether committed or not.
    pub(super) fn current(&self) -> &Membership {
        self.counting().1
    }

    /// The same, and from where on it counts.
    pub(super) fn counting(&self) -> (Index, &Membership) {
        let upto = self.counts_upto.unwrap_or(Index(u64::MAX));
        let newest = self.by_index.range(..=upto).next_back();
        let (&index, membership) = newest.unwrap_or_else(|| self.last());
        (index, membership)
    }

    /// For a planted bug: what stands behind `index` does not count yet.
    pub(super) fn count_upto(&mut self, index: Index) {
        self.counts_upto = Some(index);
    }

    /// From where on the newest one counts. Committed up to here, a change is done.
    pub(super) fn changed_at(&self) -> Index {
        *self.last().0
    }

    /// The one before the current one, if it isn't forgotten.
    pub(super) fn former(&self) -> Option<&Membership> {
        let mut newest_first = self.by_index.values().rev();
        newest_first.nth(1)
    }

    /// The one that counts with the log up to `index`.
    pub(super) fn at(&self, index: Index) -> &Membership {
        let upto = self.by_index.range(..=index).next_back();
        upto.expect("a snapshot behind that index took its place").1
    }

    fn last(&self) -> (&Index, &Membership) {
        self.by_index
            .last_key_value()
            .expect("there is a first one")
    }

    /// These entries are in the log now.
    pub(super) fn appended(&mut self, entries: &[Entry]) -> Result<()> {
        for entry in entries {
            if entry.kind == EntryKind::Membership {
                assert!(entry.index > self.changed_at(), "truncated before");
                self.by_index.insert(entry.index, decode(entry)?);
            }
        }
        Ok(())
    }

    /// The entries from `from` on are gone, and what they changed is undone.
    pub(super) fn truncate_suffix(&mut self, from: Index) {
        let base = *self.by_index.first_key_value().expect("never empty").0;
        assert!(base < from, "a snapshot stands for what is committed");
        self.by_index.split_off(&from);
    }

    /// A snapshot stands for everything up to `last`.
    pub(super) fn snapshot_installed(
        &mut self,
        last: Index,
        membership: Membership,
        kept_suffix: bool,
    ) {
        self.by_index = if kept_suffix {
            self.by_index.split_off(&last.next())
        } else {
            BTreeMap::new()
        };
        self.by_index.insert(last, membership);
    }

    /// Nobody will ask for an index before `index` again.
    pub(super) fn forget_before(&mut self, index: Index) {
        if let Some((&base, _)) = self.by_index.range(..=index).next_back() {
            self.by_index = self.by_index.split_off(&base);
        }
    }
}

/// The log is checksummed, so only a host that wrote entries past the core can
/// have put something else here.
fn decode(entry: &Entry) -> Result<Membership> {
    decode_membership(&entry.data)
        .filter(is_sane)
        .ok_or(Error::Misuse(
            "a change of the membership in the log makes no sense: it was not proposed by this Raft",
        ))
}

/// Somebody votes, and everybody is there once, in order.
fn is_sane(membership: &Membership) -> bool {
    let Membership { voters, learners } = membership;
    let ascending = |ids: &[_]| ids.is_sorted_by(|a, b| a < b);
    !voters.is_empty()
        && ascending(voters)
        && ascending(learners)
        && !voters.iter().any(|id| learners.contains(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{NodeId, Term};
    use crate::snapshot::encode_membership;

    fn voters(ids: &[u64]) -> Membership {
        Membership {
            voters: ids.iter().copied().map(NodeId).collect(),
            learners: Vec::new(),
        }
    }

    fn change(index: u64, membership: &Membership) -> Entry {
        Entry {
            index: Index(index),
            term: Term(1),
            kind: EntryKind::Membership,
            timestamp_ms: 0,
            data: encode_membership(membership).into(),
        }
    }

    /// Behind a snapshot that ends at 5: changes at 7 and 9.
    fn members() -> Members {
        let mut members = Members::new(Index(5), voters(&[1]));
        let entries = [change(7, &voters(&[1, 2])), change(9, &voters(&[1, 2, 3]))];
        members.appended(&entries).unwrap();
        members
    }

    #[test]
    fn a_membership_counts_from_its_entry_on() {
        let members = members();
        for (index, expected) in [(5, 1), (6, 1), (7, 2), (8, 2), (9, 3), (99, 3)] {
            assert_eq!(members.at(Index(index)).voters.len(), expected, "{index}");
        }
        assert_eq!(members.current(), &voters(&[1, 2, 3]));
        assert_eq!(members.former(), Some(&voters(&[1, 2])));
    }

    #[test]
    fn a_truncated_change_is_undone() {
        for (from, expected) in [(10, 3), (9, 2), (8, 2), (7, 1), (6, 1)] {
            let mut members = members();
            members.truncate_suffix(Index(from));
            assert_eq!(members.current().voters.len(), expected, "{from}");
        }
    }

    #[test]
    fn a_snapshot_takes_the_place_of_what_it_covers() {
        let new = voters(&[8]);
        for (last, kept_suffix, expected) in [
            (6, true, vec![6, 7, 9]),
            (7, true, vec![7, 9]),
            (9, true, vec![9]),
            (6, false, vec![6]),
        ] {
            let mut members = members();
            members.snapshot_installed(Index(last), new.clone(), kept_suffix);
            let left: Vec<u64> = members.by_index.keys().map(|index| index.0).collect();
            assert_eq!(left, expected);
            assert_eq!(members.at(Index(last)), &new);
        }
    }

    #[test]
    fn what_is_forgotten_is_only_what_nobody_asks_for() {
        for (before, expected) in [(5, 5), (6, 5), (7, 7), (8, 7), (9, 9), (20, 9)] {
            let mut members = members();
            members.forget_before(Index(before));
            let base = members.by_index.first_key_value().unwrap();
            assert_eq!(base.0, &Index(expected));
            assert_eq!(members.current(), &voters(&[1, 2, 3]));
        }
    }

    #[test]
    fn a_change_that_makes_no_sense_is_refused() {
        let learner = |voter, learner| Membership {
            voters: vec![NodeId(voter)],
            learners: vec![NodeId(learner)],
        };
        for bad in [voters(&[]), voters(&[2, 1]), voters(&[1, 1]), learner(1, 1)] {
            assert!(members().appended(&[change(10, &bad)]).is_err(), "{bad:?}");
        }
        let mut garbage = change(10, &learner(1, 2));
        members().appended(&[garbage.clone()]).unwrap();
        garbage.data = [1, 2, 3].into();
        assert!(members().appended(&[garbage]).is_err());
    }
}
