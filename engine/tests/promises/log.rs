//! What goes into the log: what is refused, and what is written together.

use super::*;

#[test]
fn a_batch_that_would_break_the_log_is_refused_and_the_next_best_is_taken() {
    let rig = Rig::with_ten();
    rig.save(2, 4, 10);
    let before = rig.store.status();
    let submit = |batch| rig.store.submit(batch);
    is_refused(submit(entries(2, 12..=12)), "gap behind the log");
    is_refused(submit(entries(3, 4..=5)), "snapshot covers");
    is_refused(submit(entries(1, 11..=11)), "below that of the one before");
    let gap = vec![entry(2, 11, 1), entry(2, 13, 1)];
    is_refused(submit(batch(gap)), "have a gap");
    let back = vec![entry(3, 11, 1), entry(2, 12, 1)];
    is_refused(submit(batch(back)), "decrease");
    assert_eq!(rig.store.status(), before);
    rig.written(batch(vec![entry(2, 11, 1), entry(3, 12, 1)]));
    rig.written(entries(4, 5..=5));
    assert_eq!(rig.store.last_index(), Index(5));
    assert!(!rig.store.is_poisoned());
    assert_eq!(rig.reopened().terms(5..=5), [4]);
}

#[test]
fn a_truncation_goes_down_to_the_snapshot_and_no_further() {
    let rig = Rig::with_ten();
    rig.save(2, 4, 10);
    let truncate = |from| rig.store.truncate_suffix(Index(from));
    is_refused(truncate(0), "no entry 0");
    is_refused(truncate(1), "snapshot covers");
    is_refused(truncate(4), "snapshot covers");
    for beyond in [11, 12, 1000] {
        rig.until(truncate(beyond).unwrap());
        assert_eq!(rig.store.last_index(), Index(10), "nothing to drop");
    }
    rig.until(truncate(10).unwrap());
    assert_eq!(rig.store.last_index(), Index(9));
    rig.until(truncate(5).unwrap());
    assert_eq!(rig.store.last_index(), Index(4));
    assert_eq!(rig.store.status().cached_bytes, 400);
    assert_eq!(rig.reopened().store.last_index(), Index(4));
}

/// Also where nothing is left to tell the term of.
#[test]
fn a_truncation_below_an_installed_snapshot_is_refused() {
    let rig = Rig::with_ten();
    let mut install = install(&rig, 20);
    install.push(0, vec![1; 10], true);
    finish(&mut install);
    for from in [1, 10, 20] {
        is_refused(rig.store.truncate_suffix(Index(from)), "snapshot covers");
    }
    rig.until(rig.store.truncate_suffix(Index(21)).unwrap());
    assert_eq!(rig.store.last_index(), Index(20));
}

/// Batches that came while nobody wrote are one group: each counts, in order.
#[test]
fn what_waits_is_written_together() {
    let rig = Rig::with_ten();
    rig.seen.lock().unwrap().clear();
    let mut last = Ticket::default();
    for batch in [
        entries(2, 11..=13),
        hard_state(3),
        entries(3, 12..=14),
        hard_state(4),
        entries(4, 9..=9),
        entries(4, 10..=12),
    ] {
        last = rig.store.submit(batch).unwrap();
    }
    assert_eq!(rig.store.durable_index(), Index(8), "the rest was replaced");
    rig.until(last);
    let groups = rig
        .seen
        .lock()
        .unwrap()
        .iter()
        .filter(|e| is_durable(e))
        .count();
    assert_eq!(groups, 1);
    assert_eq!(rig.store.durable_index(), Index(12));
    let rig = rig.reopened();
    assert_eq!(rig.terms(8..=12), [2, 4, 4, 4, 4]);
    assert_eq!(rig.store.hard_state().term, Term(4));
    assert_eq!(rig.store.last_index(), Index(12));
}

fn is_durable(event: &Event) -> bool {
    matches!(event, Event::Durable { .. })
}

/// A group has an end, so that whoever came first does not wait for all.
#[test]
fn large_batches_are_not_all_one_group() {
    let rig = Rig::new();
    let mebibytes = |index, n: usize| batch(vec![entry(1, index, n << 20)]);
    for (index, n) in [(1, 3), (2, 3), (3, 1), (4, 9), (5, 1)] {
        rig.store.submit(mebibytes(index, n)).unwrap();
    }
    let mut writer = rig.store.writer();
    while writer.step().unwrap() == Step::Ran {}
    let seen = rig.seen.lock().unwrap();
    let ends: Vec<u64> = (seen.iter())
        .filter_map(|event| match event {
            Event::Durable { index } => Some(index.0),
            _ => None,
        })
        .collect();
    // Up to 4 MiB where no segment has more room; a larger one has its own.
    assert_eq!(ends, [1, 3, 4, 5]);
}

/// What is durable of a log whose end is replaced while it is written.
#[test]
fn what_is_being_replaced_is_not_called_durable() {
    let rig = Rig::with_ten();
    let mut writer = rig.store.writer();
    let first = rig.store.submit(entries(2, 11..=14)).unwrap();
    assert_eq!(writer.step().unwrap(), Step::Ran, "under way");
    rig.store.submit(entries(3, 13..=13)).unwrap();
    while rig.store.persisted() < first {
        writer.step().unwrap();
    }
    assert_eq!(rig.store.durable_index(), Index(12));
    while writer.step().unwrap() == Step::Ran {}
    assert_eq!(rig.store.durable_index(), Index(13));
}
