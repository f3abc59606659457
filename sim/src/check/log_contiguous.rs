//! log-contiguous: indexes have no gap, terms never decrease.

use afterimage_engine::{EntryId, Event, Index, Term};

use super::{Judge, Model, StoreModel, broken};
use crate::trace::{Contents, Record, What};
use crate::verdict::{Invariant::LogContiguous as RULE, Violation};

/// Both of what is appended and of what is recovered.
#[derive(Clone)]
pub struct LogContiguous;

impl Judge for LogContiguous {
    fn record(&mut self, record: &Record, model: &Model) -> Result<(), Violation> {
        let Some((id, node)) = model.node_of(record) else {
            return Ok(());
        };
        let found = match &record.what {
            What::Engine(Event::Appended { entries }) => check_appended(&node.store, entries),
            What::Up(contents) => check_contents(contents),
            What::Read(contents) => {
                check_contents(contents).and_then(|()| check_end(&node.store, contents))
            }
            _ => Ok(()),
        };
        found.or_else(|what| broken(RULE, format!("n{id}: {what}")))
    }
}

fn check_appended(store: &StoreModel, entries: &[EntryId]) -> Result<(), String> {
    let Some(first) = entries.first() else {
        return Ok(());
    };
    let end = store.last_index().max(store.snapshot_index());
    if first.index > end.next() {
        return Err(format!("{} was appended to a log up to {end}", first.index));
    }
    check_run(store.term(first.index.prev()), first.index, entries)
}

fn check_contents(contents: &Contents) -> Result<(), String> {
    let before = contents
        .snapshot
        .filter(|(last, ..)| *last == contents.first_index.prev())
        .map(|(_, term, _)| term);
    check_run(before, contents.first_index, &contents.entries)?;
    let end = contents
        .entries
        .last()
        .map_or(contents.first_index.prev(), |e| e.index);
    // Where reading stopped early, the end is another rule's matter.
    if contents.unreadable.is_none() && end != contents.last_index {
        return Err(format!(
            "the last index is {}, but the entries end at {end}",
            contents.last_index
        ));
    }
    Ok(())
}

/// While it runs, a store shows all that was appended.
fn check_end(store: &StoreModel, contents: &Contents) -> Result<(), String> {
    let end = store.last_index().max(store.snapshot_index());
    if contents.last_index != end {
        return Err(format!(
            "the log was appended up to {end} and reads up to {}",
            contents.last_index
        ));
    }
    Ok(())
}

/// One after the other from `first` on, behind an entry of the term `before`.
fn check_run(before: Option<Term>, first: Index, entries: &[EntryId]) -> Result<(), String> {
    let (mut term, mut index) = (before.unwrap_or_default(), first);
    for entry in entries {
        if entry.index != index {
            return Err(format!("{} stands where {index} should", entry.index));
        }
        if entry.term < term {
            return Err(format!("{}/{index} follows term {term}", entry.term));
        }
        (term, index) = (entry.term, index.next());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::RULE;

    fn check_append(entries: &[afterimage_engine::EntryId], holds: bool) {
        let stream = Stream::new()
            .up(1, empty())
            .append(1, &[e(1, 1), e(2, 2)])
            .append(1, entries);
        if holds {
            stream.passes();
        } else {
            stream.breaks(RULE);
        }
    }

    #[test]
    fn appends_continue_the_log() {
        check_append(&[e(2, 3), e(3, 4)], true);
        check_append(&[e(1, 2)], true);
        check_append(&[e(2, 4)], false);
        check_append(&[e(1, 3)], false);
        check_append(&[e(3, 3), e(2, 4)], false);
        check_append(&[e(3, 3), e(3, 5)], false);
    }

    #[test]
    fn a_running_store_shows_all_that_was_appended() {
        let start = || Stream::new().up(1, empty()).append(1, &[e(1, 1), e(1, 2)]);
        start().read_back(1, log(&[e(1, 1), e(1, 2)])).passes();
        start().read_back(1, log(&[e(1, 1)])).breaks(RULE);
    }

    #[test]
    fn recovered_logs_have_no_gap() {
        let start = || {
            Stream::new()
                .up(1, empty())
                .append(1, &[e(1, 1), e(2, 2), e(2, 3)])
                .saved(1, 1, 1)
                .boot(1)
        };
        let whole = snapshot(log(&[e(1, 1), e(2, 2), e(2, 3)]), 1, 1, 7);
        start().up(1, whole.clone()).passes();
        let mut short = whole.clone();
        short.entries.pop();
        start().up(1, short.clone()).breaks(RULE);
        // What can't be read is reported under the rule that it breaks.
        short.unreadable = Some("bad record".to_owned());
        start()
            .up(1, short)
            .breaks(crate::verdict::Invariant::SnapshotCoversLog);
        let mut shifted = whole;
        shifted.first_index = afterimage_engine::Index(2);
        start().up(1, shifted).breaks(RULE);
    }
}
