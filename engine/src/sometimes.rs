//! Places on the engine's way that no event shows, and that a test should have
//! been at: a campaign that never was there has not tested what stands there.
//!
//! Each is marked in the code by `sometimes!`, and counted for each thread by
//! itself. Without the feature `sometimes` the mark is nothing.

#[cfg(feature = "sometimes")]
use std::cell::Cell;

/// Says that the engine is at this spot; or only if a condition holds, which is
/// not looked at without the feature.
macro_rules! sometimes {
    ($spot:ident) => {
        sometimes!($spot, true)
    };
    ($spot:ident, $when:expr) => {
        if cfg!(feature = "sometimes") && $when {
            $crate::sometimes::reach($crate::sometimes::Spot::$spot);
        }
    };
}
pub(crate) use sometimes;

macro_rules! spots {
    ($($(#[$doc:meta])* $spot:ident $name:literal)*) => {
        /// A place that is marked.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Spot {
            $($(#[$doc])* $spot,)*
        }

        impl Spot {
            pub const ALL: &[Spot] = &[$(Spot::$spot,)*];

            /// In kebab case, as in a report.
            pub fn name(self) -> &'static str {
                match self {
                    $(Spot::$spot => $name,)*
                }
            }
        }
    };
}

spots! {
    // --- recovery
    /// A bad record with nothing newer behind it was cut off.
    TornTailCut "torn-tail-cut"
    /// A tail was cut before, and nothing was appended since.
    CutTailFoundAgain "cut-tail-found-again"
    /// More segments than the last one were not proven durable.
    UnprovenSegments "unproven-segments"
    /// The torn tail had whole segments in it, and a newer one hides them.
    TornSegmentsCut "torn-segments-cut"
    /// A copied tail was so large that an empty segment was begun behind it.
    TailCopySealed "tail-copy-sealed"
    /// Records that were not proven durable were written again.
    TailCopied "tail-copied"
    /// A segment was there that a newer one hides.
    HiddenSegment "hidden-segment-found"
    /// A segment was there that an installed snapshot has declared dead.
    DeadSegment "dead-segment-found"
    /// An open took away some of the segments that nobody needs.
    GarbageLimited "garbage-limited-by-open"
    /// Segments were missing between others, and the snapshot covers the gap.
    GapCovered "gap-covered-by-snapshot"
    /// The log ended below the snapshot, and began anew behind it.
    LogBegunAnew "log-begun-anew"
    /// A temporary file of the last process was removed.
    TemporaryRemoved "temporary-file-removed"
    /// A write of the hard state had stopped in the middle of its slot: the older
    /// one counts.
    HardStateTorn "hard-state-slot-torn"
    /// A slot of the hard state was bad, and the other one was accepted.
    HardStateFellBack "hard-state-fell-back"
    /// The open that created the store had not come to its end.
    BirthCutShort "birth-cut-short"
    /// The commit hint told what was committed.
    HintUsed "commit-hint-used"
    /// The commit hint was torn.
    HintTorn "commit-hint-torn"
    // --- writer
    /// One group had more than one batch.
    GroupOfBatches "group-of-batches"
    /// A batch replaced entries of another one of its group.
    GroupReplacesItself "group-replaces-itself"
    /// A group that had found the disk full is tried again.
    GroupAfterStall "group-after-stall"
    /// Of what became durable, something was replaced in the queue already.
    DurableHeldBack "durable-held-back"
    /// A segment began in a file that was prepared.
    PreparedUsed "prepared-segment-used"
    /// A group was written through.
    WrittenThrough "written-through"
    /// A segment was begun without a sync of the one before.
    RolledUnsynced "rolled-unsynced"
    /// One sync covered several segments.
    SyncOfSegments "sync-of-segments"
    /// So much was unsynced that nobody needed to ask for it.
    SyncedForRoom "synced-for-room"
    /// A file of a segment that failed on its way was left to the cleaner.
    SegmentGivenUp "segment-given-up"
    // --- cleaner, readers
    /// A reader kept segments that the snapshot covers.
    PurgeHeldByReader "purge-held-by-reader"
    /// The trail kept segments that the snapshot covers.
    PurgeHeldByTrail "purge-held-by-trail"
    /// An unlink failed, and what is left stays garbage.
    CleanedInPart "cleaned-in-part"
    /// What a reader had read last was replaced.
    ReaderReplaced "reader-replaced"
    /// A snapshot took the place of what a reader was about to read.
    ReaderPurged "reader-purged"
    // --- snapshots
    /// A save came to its end behind a newer snapshot.
    SaveOvertaken "save-overtaken"
    /// An install waited for the writer before it looked at the log.
    InstallWaited "install-waited-for-writer"
    /// A piece came that was not the next one.
    PieceOutOfOrder "piece-out-of-order"
    /// The entries were faster than the snapshot.
    PiecesSuperfluous "pieces-superfluous"
    /// A snapshot was sent whose log is gone: another one is begun.
    TransferBegunAgain "transfer-begun-again"
    /// Entries came while an install was finished.
    AppendDuringInstall "append-during-install"
    // --- raft
    /// A read was asked of a leader that did not know yet what is committed.
    EarlyRead "read-before-own-commit"
    /// A quorum had an entry of an older term, which alone commits nothing.
    OldTermWaits "old-term-not-counted"
    /// A leader gave up, for it had heard of no quorum.
    QuorumLost "leader-lost-quorum"
    /// A vote was not given to disturb no live leader.
    VoteInLease "vote-ignored-in-lease"
    /// Who is no voter by what it knows gave its vote.
    VoteByStranger "vote-by-non-voter"
    /// A member whose removal is not committed campaigned.
    RemovedCampaigns "removed-member-campaigns"
    /// A leader that handed over goes on.
    HandoverGivenUp "handover-given-up"
}

impl Spot {
    /// Whether only a store by itself comes there. A replica of the simulator accepts
    /// no bad slot; it has no reader of its log, saves what it has durable, and
    /// nothing while a snapshot comes in; and it leaves no append unsynced.
    pub fn is_of_a_store_alone(self) -> bool {
        matches!(
            self,
            Spot::HardStateFellBack
                | Spot::LogBegunAnew
                | Spot::UnprovenSegments
                | Spot::TornSegmentsCut
                | Spot::TailCopySealed
                | Spot::RolledUnsynced
                | Spot::SyncOfSegments
                | Spot::SyncedForRoom
                | Spot::PurgeHeldByReader
                | Spot::ReaderReplaced
                | Spot::ReaderPurged
                | Spot::SaveOvertaken
        )
    }

    /// Whether it takes a Raft to come there.
    pub fn is_of_raft(self) -> bool {
        self >= Spot::PieceOutOfOrder
    }
}

#[cfg(feature = "sometimes")]
thread_local! {
    static REACHED: [Cell<u64>; Spot::ALL.len()] =
        const { [const { Cell::new(0) }; Spot::ALL.len()] };
}

#[cfg(feature = "sometimes")]
pub(crate) fn reach(spot: Spot) {
    REACHED.with(|counts| {
        let count = &counts[spot as usize];
        count.set(count.get() + 1);
    });
}

#[cfg(not(feature = "sometimes"))]
pub(crate) fn reach(_: Spot) {}

/// How often this thread was at each spot since it last asked.
#[cfg(feature = "sometimes")]
pub fn take() -> impl Iterator<Item = (Spot, u64)> {
    let count = |spot: Spot| REACHED.with(|counts| counts[spot as usize].take());
    Spot::ALL.iter().map(move |&spot| (spot, count(spot)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_in_kebab_case() {
        let names: BTreeSet<&str> = Spot::ALL.iter().map(|spot| spot.name()).collect();
        assert_eq!(names.len(), Spot::ALL.len());
        let allowed = |c: char| c.is_ascii_lowercase() || c == '-';
        assert!(names.iter().all(|name| name.chars().all(allowed)));
    }

    #[cfg(feature = "sometimes")]
    #[test]
    fn a_thread_counts_for_itself_and_from_where_it_last_asked() {
        let counted = || -> Vec<_> { take().filter(|(_, count)| *count > 0).collect() };
        let at = |torn: bool| {
            sometimes!(HintUsed);
            sometimes!(HintTorn, torn);
        };
        at(false);
        at(true);
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(counted(), []));
        });
        assert_eq!(counted(), [(Spot::HintUsed, 2), (Spot::HintTorn, 1)]);
        assert_eq!(counted(), []);
    }
}
