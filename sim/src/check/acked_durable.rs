//! acked-durable: what was acknowledged as durable is there after any crash.

use afterimage_engine::{Event, Index, SnapshotMeta};

use super::{Harm, Judge, Model, StoreModel, broken};
use crate::trace::{Contents, Record, What};
use crate::verdict::{Invariant::AckedDurable as RULE, Violation};

/// An entry counts from its `Durable` on until a truncation is asked for or a
/// durable snapshot covers it; the hard state and the snapshot count until a
/// newer one is durable.
#[derive(Clone)]
pub struct AckedDurable;

impl Judge for AckedDurable {
    fn record(&mut self, record: &Record, model: &Model) -> Result<(), Violation> {
        let Some((id, node)) = model.node_of(record) else {
            return Ok(());
        };
        let found = match &record.what {
            // Of a bad disk, see `corruption-reported`.
            What::Up(contents) | What::Read(contents) if node.harm == Harm::None => {
                check(&node.store, contents)
            }
            What::Engine(Event::SnapshotSaved { meta }) => check_newer(&node.store, meta),
            What::Engine(Event::SnapshotInstalled { meta, kept_suffix }) => {
                check_newer(&node.store, meta)
                    .and_then(|()| check_install(&node.store, meta, *kept_suffix))
            }
            _ => Ok(()),
        };
        found.or_else(|what| broken(RULE, format!("n{id}: {what}")))
    }
}

/// Whether everything that `store` acknowledged is in `contents`.
pub(super) fn check(store: &StoreModel, contents: &Contents) -> Result<(), String> {
    check_hard_state(store, contents)?;
    check_log(store, contents, store.durable_index())
}

/// Whether the snapshot is there, and every acknowledged entry behind it `upto`
/// an index.
pub(super) fn check_log(
    store: &StoreModel,
    contents: &Contents,
    upto: Index,
) -> Result<(), String> {
    check_snapshot(store, contents)?;
    if store.discarded_by(contents) {
        return Ok(());
    }
    check_cover(store, contents)?;
    let covered = contents.snapshot.map_or(Index(0), |(last, ..)| last);
    let mut needed = covered.next();
    let first = contents.entries.first().map_or(Index(1), |e| e.index);
    while needed <= store.durable_index().min(upto) {
        let expected = store.entry(needed);
        let offset = needed.0.checked_sub(first.0).map(|n| n as usize);
        let found = offset.and_then(|n| contents.entries.get(n)).copied();
        if expected.is_some() && found != expected {
            return Err(format!(
                "acked {}..{}, recovered {}: {needed} is {}{}",
                covered.next(),
                store.durable_index(),
                extent(contents),
                if found.is_some() { "another" } else { "gone" },
                contents
                    .unreadable
                    .as_ref()
                    .map_or_else(String::new, |why| format!(" ({why})")),
            ));
        }
        needed = needed.next();
    }
    Ok(())
}

pub(super) fn check_hard_state(store: &StoreModel, contents: &Contents) -> Result<(), String> {
    let (acked, found) = (store.hard_state(), contents.hard_state);
    if found.term < acked.term {
        return Err(format!(
            "acked term {}, recovered {}",
            acked.term, found.term
        ));
    }
    if found.term == acked.term && acked.vote.is_some() && found.vote != acked.vote {
        return Err(format!("the vote in term {} was lost", acked.term));
    }
    Ok(())
}

fn check_snapshot(store: &StoreModel, contents: &Contents) -> Result<(), String> {
    let Some(acked) = store.snapshot() else {
        return Ok(());
    };
    let Some((last_index, last_term, crc)) = contents.snapshot else {
        return Err(format!(
            "acked a snapshot up to {}, recovered none",
            acked.last_index
        ));
    };
    if last_index < acked.last_index {
        return Err(format!(
            "acked a snapshot up to {}, recovered one up to {last_index}",
            acked.last_index
        ));
    }
    let same = last_term == acked.last_term && acked.crc.is_none_or(|acked| acked == crc);
    if last_index == acked.last_index && !same {
        return Err(format!("the snapshot up to {last_index} is another"));
    }
    Ok(())
}

/// A snapshot that is newer than the last one promised stands for the acked
/// entries that it covers only if it is of the same history.
fn check_cover(store: &StoreModel, contents: &Contents) -> Result<(), String> {
    let Some((last_index, last_term, _)) = contents.snapshot else {
        return Ok(());
    };
    let acked = store.durable_index();
    let covers_acked = last_index > store.snapshot_index() && acked > store.snapshot_index();
    if covers_acked && store.term(last_index) != Some(last_term) {
        return Err(format!(
            "acked up to {acked}, recovered a snapshot {last_term}/{last_index} of another log"
        ));
    }
    Ok(())
}

fn check_newer(store: &StoreModel, meta: &SnapshotMeta) -> Result<(), String> {
    if meta.last_index < store.snapshot_index() {
        return Err(format!(
            "the snapshot up to {} was replaced by one up to {}",
            store.snapshot_index(),
            meta.last_index
        ));
    }
    Ok(())
}

/// An install whose end the log agrees with must leave what lies behind it:
/// the cluster may have committed it on this node's word.
fn check_install(store: &StoreModel, meta: &SnapshotMeta, kept_suffix: bool) -> Result<(), String> {
    let agrees = store.term(meta.last_index) == Some(meta.last_term);
    if !kept_suffix && agrees && store.durable_index() > meta.last_index {
        return Err(format!(
            "an install up to {} discarded acked entries up to {} that it agrees with",
            meta.last_index,
            store.durable_index()
        ));
    }
    Ok(())
}

fn extent(contents: &Contents) -> String {
    match (contents.entries.first(), contents.entries.last()) {
        (Some(first), Some(last)) => format!("{}..{}", first.index, last.index),
        _ => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::RULE;

    fn acked() -> Stream {
        Stream::new()
            .up(1, empty())
            .append(1, &[e(1, 1), e(1, 2), e(1, 3)])
            .durable(1, 2)
            .power_cut(1)
            .boot(1)
    }

    #[test]
    fn acked_entries_survive() {
        acked().up(1, log(&[e(1, 1), e(1, 2)])).passes();
        acked().up(1, log(&[e(1, 1), e(1, 2), e(1, 3)])).passes();
        acked().up(1, log(&[e(1, 1)])).breaks(RULE);
        acked().up(1, empty()).breaks(RULE);
    }

    #[test]
    fn nothing_is_promised_before_durable() {
        let stream = Stream::new().up(1, empty()).append(1, &[e(1, 1)]);
        stream.boot(1).up(1, empty()).passes();
    }

    #[test]
    fn what_recovery_reported_stays() {
        let recovered = log(&[e(1, 1), e(1, 2), e(1, 3)]);
        let stream = acked().up(1, recovered.clone()).killed(1).boot(1);
        stream.clone().up(1, recovered).passes();
        stream.up(1, log(&[e(1, 1), e(1, 2)])).breaks(RULE);
    }

    #[test]
    fn a_requested_truncation_releases_the_suffix_and_no_more() {
        let stream = Stream::new()
            .up(1, empty())
            .append(1, &[e(1, 1), e(1, 2), e(1, 3)])
            .durable(1, 3)
            .truncate(1, 3)
            .boot(1);
        stream.clone().up(1, log(&[e(1, 1), e(1, 2)])).passes();
        stream
            .clone()
            .up(1, log(&[e(1, 1), e(1, 2), e(1, 3)]))
            .passes();
        stream.up(1, log(&[e(1, 1)])).breaks(RULE);
    }

    #[test]
    fn a_durable_index_that_ignores_the_truncation_is_a_claim() {
        // d-engine #351: the durable index was not lowered.
        let stream = Stream::new()
            .up(1, empty())
            .append(1, &[e(1, 1), e(1, 2)])
            .durable(1, 2)
            .append(1, &[e(2, 2)])
            .durable(1, 2)
            .power_cut(1)
            .boot(1);
        stream.clone().up(1, log(&[e(1, 1), e(2, 2)])).passes();
        stream.up(1, log(&[e(1, 1), e(1, 2)])).breaks(RULE);
    }

    #[test]
    fn the_hard_state_survives() {
        // All of these may have reached the disk; one must be there.
        let stream = Stream::new()
            .up(1, empty())
            .hard_state(1, 2, Some(2))
            .submitted(1, 3, None)
            .hard_state(1, 3, Some(2))
            .submitted(1, 4, None)
            .power_cut(1)
            .boot(1);
        stream.clone().up(1, voted(empty(), 3, Some(2))).passes();
        stream.clone().up(1, voted(empty(), 4, None)).passes();
        stream.clone().up(1, voted(empty(), 3, None)).breaks(RULE);
        stream.up(1, voted(empty(), 2, Some(2))).breaks(RULE);
    }

    #[test]
    fn a_snapshot_covers_and_survives() {
        let stream = acked_three().saved(1, 2, 1).power_cut(1).boot(1);
        let whole = snapshot(log(&[e(1, 1), e(1, 2), e(1, 3)]), 2, 1, 7);
        let purged = snapshot(log(&[e(1, 3)]), 2, 1, 7);
        stream.clone().up(1, whole.clone()).passes();
        stream.clone().up(1, purged.clone()).passes();
        stream
            .clone()
            .up(1, snapshot(empty_from(3), 2, 1, 7))
            .breaks(RULE);
        stream.clone().up(1, log(&[e(1, 3)])).breaks(RULE);
        let again = stream.up(1, whole).boot(1);
        again.clone().up(1, purged).passes();
        again.up(1, snapshot(log(&[e(1, 3)]), 2, 1, 8)).breaks(RULE);
    }

    #[test]
    fn an_older_snapshot_never_replaces_a_newer_one() {
        acked_three().saved(1, 2, 1).saved(1, 3, 1).passes();
        acked_three().saved(1, 3, 1).saved(1, 2, 1).breaks(RULE);
    }

    #[test]
    fn an_install_keeps_what_it_agrees_with() {
        acked_three().installed(1, 2, 1, true).passes();
        acked_three().installed(1, 2, 1, false).breaks(RULE);
        acked_three().installed(1, 2, 2, false).passes();
        acked_three().installed(1, 9, 2, false).passes();
    }

    #[test]
    fn an_install_may_become_durable_without_saying_so() {
        let discarded = snapshot(empty_from(10), 9, 2, 7);
        let announced = || acked_three().truncate(1, 10);
        let crash = |stream: Stream| stream.power_cut(1).boot(1).up(1, discarded.clone());
        crash(announced()).passes();
        // It never said so; or it failed, and the log went on.
        crash(acked_three()).breaks(RULE);
        let went_on = announced().append(1, &[e(1, 4)]).durable(1, 4);
        crash(went_on).breaks(RULE);
        // Its end agrees with the log: then the log stays.
        let lost = snapshot(empty_from(3), 2, 1, 7);
        acked_three().power_cut(1).boot(1).up(1, lost).breaks(RULE);
    }

    fn acked_three() -> Stream {
        Stream::new()
            .up(1, empty())
            .append(1, &[e(1, 1), e(1, 2), e(1, 3)])
            .durable(1, 3)
    }
}
