//! no-resurrection: nothing comes back that was never appended, or whose
//! truncation was acknowledged.

use afterimage_engine::{EntryId, Event, Index, SnapshotMeta};

use super::{Judge, Model, Span, StoreModel, broken};
use crate::trace::{Contents, Record, What};
use crate::verdict::{Invariant::NoResurrection as RULE, Violation};

/// What recovery finds is a prefix of a log that this store had at some moment
/// since its last durable truncation: never a mixture of two.
#[derive(Clone)]
pub struct NoResurrection;

impl Judge for NoResurrection {
    fn record(&mut self, record: &Record, model: &Model) -> Result<(), Violation> {
        let Some((id, node)) = model.node_of(record) else {
            return Ok(());
        };
        let found = match &record.what {
            What::Up(contents) => check(&node.store, contents),
            What::Read(contents) => check_read(&node.store, contents),
            What::Engine(Event::SnapshotInstalled {
                meta,
                kept_suffix: true,
            }) => check_kept(&node.store, meta),
            _ => Ok(()),
        };
        found.or_else(|what| broken(RULE, format!("n{id}: {what}")))
    }
}

/// Whether all of `contents` may be there.
pub(super) fn check(store: &StoreModel, contents: &Contents) -> Result<(), String> {
    let found = contents.hard_state;
    if !store.was_given(found) {
        return Err(format!(
            "term {} with a vote for {:?} was never written",
            found.term, found.vote
        ));
    }
    let stranger = contents.snapshot.filter(|s| !store.was_given_snapshot(*s));
    if let Some((last_index, last_term, _)) = stranger {
        return Err(format!(
            "the snapshot up to {last_term}/{last_index} has other bytes than were ever given"
        ));
    }
    let floor = if store.discarded_by(contents) {
        contents.snapshot.map_or(Index(0), |(last, ..)| last.next())
    } else {
        store.floor()
    };
    if let Some(entry) = contents.entries.iter().find(|e| e.index < floor) {
        return Err(format!(
            "{}/{} came back, although an install discarded the log before {floor}",
            entry.term, entry.index
        ));
    }
    // An install that discarded the log leaves nothing behind its end either.
    if store.discarded_by(contents)
        && let Some(entry) = contents.entries.first()
    {
        return Err(format!(
            "{}/{} came back behind a snapshot that it does not continue",
            entry.term, entry.index
        ));
    }
    let logs = store.possible_logs();
    // The log that agrees the longest tells the most.
    let strangers = logs.iter().map(|log| first_stranger(log, contents));
    let mut furthest: Option<&EntryId> = None;
    for stranger in strangers {
        let Some(entry) = stranger else {
            return Ok(());
        };
        if furthest.is_none_or(|f| f.index < entry.index) {
            furthest = Some(entry);
        }
    }
    furthest.map_or(Ok(()), |entry| {
        let expected = logs[0].get(entry.index).map_or_else(
            || format!("the log ended at {}", store.last_index()),
            |e| format!("{}/{} was there", e.term, e.index),
        );
        Err(format!(
            "{}/{} came back: {expected}, and no log since the last durable truncation had it",
            entry.term, entry.index
        ))
    })
}

/// While it runs, a store shows the newest log and nothing of an older one.
fn check_read(store: &StoreModel, contents: &Contents) -> Result<(), String> {
    check(store, contents)?;
    let stranger = store
        .possible_logs()
        .first()
        .and_then(|newest| first_stranger(newest, contents));
    stranger.map_or(Ok(()), |entry| {
        Err(format!(
            "{}/{} is read although it was replaced",
            entry.term, entry.index
        ))
    })
}

/// The first recovered entry that is not this log's.
fn first_stranger<'c>(log: &Span<EntryId>, contents: &'c Contents) -> Option<&'c EntryId> {
    // Below its first index the model no longer knows what was there: a
    // snapshot covers it twice over.
    let known = contents.entries.iter().filter(|e| e.index >= log.first());
    known
        .into_iter()
        .find(|entry| log.get(entry.index) != Some(entry))
}

/// A suffix behind an entry that the snapshot contradicts is of another history.
fn check_kept(store: &StoreModel, meta: &SnapshotMeta) -> Result<(), String> {
    let agrees = store.term(meta.last_index) == Some(meta.last_term);
    if store.last_index() > meta.last_index && !agrees {
        return Err(format!(
            "an install up to {}/{} kept a suffix that does not continue it",
            meta.last_term, meta.last_index
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::RULE;
    use crate::verdict::Invariant;

    /// 1/1..4 durable; 2/3 and 2/4 replace the end, 3/4 replaces it again.
    fn twice_replaced() -> Stream {
        Stream::new()
            .up(1, empty())
            .append(1, &[e(1, 1), e(1, 2), e(1, 3), e(1, 4)])
            .durable(1, 4)
            .append(1, &[e(2, 3), e(2, 4)])
            .append(1, &[e(3, 4)])
    }

    #[test]
    fn every_log_since_the_last_durable_truncation_may_be_found() {
        for contents in [
            log(&[e(1, 1), e(1, 2), e(1, 3), e(1, 4)]),
            log(&[e(1, 1), e(1, 2), e(1, 3)]),
            log(&[e(1, 1), e(1, 2)]),
            log(&[e(1, 1), e(1, 2), e(2, 3)]),
            log(&[e(1, 1), e(1, 2), e(2, 3), e(2, 4)]),
            log(&[e(1, 1), e(1, 2), e(2, 3), e(3, 4)]),
        ] {
            twice_replaced().boot(1).up(1, contents).passes();
        }
    }

    #[test]
    fn a_snapshot_is_one_that_was_handed_over() {
        let found = || snapshot(log(&[e(1, 3)]), 2, 1, 7);
        let start = |crc: u32| {
            let start = Stream::new().up(1, empty());
            let start = start.append(1, &[e(1, 1), e(1, 2), e(1, 3)]).durable(1, 3);
            start.snapshot_given(1, 2, 1, crc)
        };
        start(7).boot(1).up(1, found()).passes();
        start(8).boot(1).up(1, found()).breaks(RULE);
        start(7)
            .snapshot_given(1, 2, 1, 8)
            .boot(1)
            .up(1, found())
            .passes();
        let other_end = start(7).snapshot_given(1, 3, 1, 9).boot(1);
        other_end
            .up(1, snapshot(log(&[e(1, 3)]), 2, 1, 9))
            .breaks(RULE);
    }

    #[test]
    fn a_hard_state_is_one_that_was_handed_over() {
        let start = || {
            let start = Stream::new().up(1, empty()).hard_state(1, 2, None);
            start.submitted(1, 3, Some(2)).boot(1)
        };
        start().up(1, voted(empty(), 2, None)).passes();
        start().up(1, voted(empty(), 3, Some(2))).passes();
        start().up(1, voted(empty(), 3, None)).breaks(RULE);
        start().up(1, voted(empty(), 4, None)).breaks(RULE);
        // Nobody knows what an old store was given.
        let first = Stream::new().up(1, voted(empty(), 7, Some(1)));
        first.clone().passes();
        first.boot(1).up(1, voted(empty(), 8, Some(1))).breaks(RULE);
    }

    #[test]
    fn a_running_store_shows_its_newest_log() {
        let newest = [e(1, 1), e(1, 2), e(2, 3), e(3, 4)];
        twice_replaced().read_back(1, log(&newest)).passes();
        let older = [e(1, 1), e(1, 2), e(2, 3), e(2, 4)];
        twice_replaced().read_back(1, log(&older)).breaks(RULE);
    }

    #[test]
    fn a_mixture_of_two_logs_is_none() {
        for contents in [
            log(&[e(1, 1), e(1, 2), e(1, 3), e(2, 4)]),
            log(&[e(1, 1), e(1, 2), e(1, 3), e(3, 4)]),
            log(&[e(1, 1), e(1, 2), e(2, 3), e(1, 4)]),
        ] {
            twice_replaced().boot(1).up(1, contents).breaks(RULE);
        }
    }

    #[test]
    fn a_durable_truncation_ends_the_old_log() {
        let old = log(&[e(1, 1), e(1, 2), e(1, 3)]);
        let middle = log(&[e(1, 1), e(1, 2), e(2, 3), e(2, 4)]);
        let once = twice_replaced().truncated(1, 3).boot(1);
        once.clone().up(1, old.clone()).breaks(RULE);
        once.up(1, middle.clone()).passes();
        let twice = twice_replaced().truncated(1, 3).truncated(1, 4).boot(1);
        twice.clone().up(1, middle).breaks(RULE);
        twice.up(1, log(&[e(1, 1), e(1, 2), e(2, 3)])).passes();
        // A replacement that is durable ends it just as well.
        let covered = twice_replaced().durable(1, 3).boot(1);
        covered.clone().up(1, old).breaks(Invariant::AckedDurable);
        let stale = log(&[e(1, 1), e(1, 2), e(2, 3), e(2, 4)]);
        covered.up(1, stale).passes();
    }

    #[test]
    fn never_appended_is_never_found() {
        let stream = Stream::new().up(1, empty()).append(1, &[e(1, 1)]).boot(1);
        stream.clone().up(1, log(&[e(1, 1)])).passes();
        stream.clone().up(1, log(&[forged(1, 1)])).breaks(RULE);
        stream.up(1, log(&[e(1, 1), e(1, 2)])).breaks(RULE);
    }

    #[test]
    fn what_was_lost_once_stays_lost() {
        let stream = Stream::new()
            .up(1, empty())
            .append(1, &[e(1, 1), e(1, 2)])
            .durable(1, 1)
            .power_cut(1)
            .boot(1)
            .up(1, log(&[e(1, 1)]))
            .killed(1)
            .boot(1);
        stream.clone().up(1, log(&[e(1, 1)])).passes();
        stream.up(1, log(&[e(1, 1), e(1, 2)])).breaks(RULE);
    }

    #[test]
    fn a_discarding_install_ends_the_whole_log() {
        let stream = Stream::new()
            .up(1, empty())
            .append(1, &[e(1, 1), e(1, 2), e(1, 3)])
            .durable(1, 3)
            .installed(1, 2, 2, false)
            .boot(1);
        let nothing = snapshot(empty_from(3), 2, 2, 7);
        stream.clone().up(1, nothing.clone()).passes();
        // dqlite-raft #373
        let behind = snapshot(log(&[e(1, 3)]), 2, 2, 7);
        stream.clone().up(1, behind.clone()).breaks(RULE);
        let below = snapshot(log(&[e(1, 1), e(1, 2)]), 2, 2, 7);
        stream.clone().up(1, below.clone()).breaks(RULE);
        let again = stream.up(1, nothing).boot(1);
        again.up(1, below).breaks(RULE);
        // The same where the install did not live to say that it is durable.
        let silent = Stream::new()
            .up(1, empty())
            .append(1, &[e(1, 1), e(1, 2), e(1, 3)])
            .truncate(1, 3)
            .boot(1);
        silent.up(1, behind).breaks(RULE);
    }

    #[test]
    fn an_install_keeps_only_what_continues_it() {
        let stream = Stream::new()
            .up(1, empty())
            .append(1, &[e(1, 1), e(1, 2), e(1, 3)]);
        stream.clone().installed(1, 2, 1, true).passes();
        stream.installed(1, 2, 2, true).breaks(RULE);
    }

    #[test]
    fn segments_below_the_snapshot_may_come_back_as_they_were() {
        let saved = Stream::new()
            .up(1, empty())
            .append(1, &[e(1, 1), e(1, 2), e(1, 3)])
            .durable(1, 3)
            .saved(1, 2, 1)
            .boot(1)
            .up(1, snapshot(log(&[e(1, 3)]), 2, 1, 7))
            .boot(1);
        let all = snapshot(log(&[e(1, 1), e(1, 2), e(1, 3)]), 2, 1, 7);
        saved.clone().up(1, all).passes();
        let other = snapshot(log(&[e(1, 1), forged(1, 2), e(1, 3)]), 2, 1, 7);
        saved.up(1, other).breaks(RULE);
    }
}
