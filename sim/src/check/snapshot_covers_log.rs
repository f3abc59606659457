//! snapshot-covers-log: the log starts at or below the snapshot's end + 1, and
//! everything can be read.

use afterimage_engine::Index;

use super::{Harm, Judge, Model, broken};
use crate::trace::{Contents, Record};
use crate::verdict::{Invariant::SnapshotCoversLog as RULE, Violation};

#[derive(Clone)]
pub struct SnapshotCoversLog;

impl Judge for SnapshotCoversLog {
    fn record(&mut self, record: &Record, model: &Model) -> Result<(), Violation> {
        let (Some(contents), Some((id, node))) = (record.what.contents(), model.node_of(record))
        else {
            return Ok(());
        };
        // Of a bad disk, see `corruption-reported`.
        if contents.corrupt && node.harm != Harm::None {
            return Ok(());
        }
        check(contents).or_else(|what| broken(RULE, format!("n{id}: {what}")))
    }
}

fn check(contents: &Contents) -> Result<(), String> {
    if let Some(why) = &contents.unreadable {
        return Err(format!("the store can't be read back: {why}"));
    }
    let covered = contents.snapshot.map_or(Index(0), |(last, ..)| last);
    if contents.first_index > covered.next() {
        return Err(format!(
            "the log starts at {}, the snapshot ends at {covered}",
            contents.first_index
        ));
    }
    if contents.last_index < covered {
        return Err(format!(
            "the log ends at {}, before the snapshot's end {covered}",
            contents.last_index
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::RULE;

    fn start() -> Stream {
        Stream::new()
            .up(1, empty())
            .append(1, &[e(1, 1), e(1, 2), e(1, 3), e(1, 4)])
            .boot(1)
    }

    #[test]
    fn the_log_continues_the_snapshot() {
        start()
            .up(1, snapshot(log(&[e(1, 2), e(1, 3)]), 2, 1, 7))
            .passes();
        start()
            .up(1, snapshot(log(&[e(1, 3), e(1, 4)]), 2, 1, 7))
            .passes();
        start()
            .up(1, snapshot(log(&[e(1, 4)]), 2, 1, 7))
            .breaks(RULE);
        start()
            .up(1, snapshot(log(&[e(1, 1)]), 2, 1, 7))
            .breaks(RULE);
        // Kafka #12653: a log that starts above 1 without a snapshot.
        start().up(1, log(&[e(1, 2)])).breaks(RULE);
    }

    #[test]
    fn everything_can_be_read() {
        let mut contents = log(&[e(1, 1)]);
        contents.unreadable = Some("snapshot: bad data".to_owned());
        start().up(1, contents).breaks(RULE);
    }
}
