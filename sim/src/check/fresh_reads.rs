//! fresh-reads: a read is at least as new as the latest operation on its key
//! that was completed before it began, and shows what was written.

use std::collections::BTreeMap;

use afterimage_engine::node::Reply;

use super::{Judge, Model, broken};
use crate::trace::{Operation, Record, What};
use crate::verdict::{Invariant::FreshReads as RULE, Violation};

/// The version of a value is the log index of its put: the order of the log is
/// the order of the register, so no search for a linearization is needed.
#[derive(Default, Clone)]
pub struct FreshReads {
    /// By client and sequence number.
    pending: BTreeMap<(u64, u64), Pending>,
    /// Every put that was ever asked for, by its value.
    puts: BTreeMap<u64, Put>,
    /// The value of each version seen.
    values: BTreeMap<u64, u64>,
    /// The newest version that a completed operation has shown, by key.
    newest: BTreeMap<u32, u64>,
}

#[derive(Clone)]
enum Pending {
    Put {
        value: u64,
    },
    Get {
        key: u32,
        /// The newest version shown when it began.
        floor: u64,
    },
}

#[derive(Clone)]
struct Put {
    key: u32,
    /// Once an answer told.
    version: Option<u64>,
}

impl Judge for FreshReads {
    fn record(&mut self, record: &Record, _: &Model) -> Result<(), Violation> {
        match &record.what {
            What::Invoke {
                client,
                sequence,
                operation,
                ..
            } => {
                self.invoke((*client, *sequence), operation);
                Ok(())
            }
            What::Reply {
                client,
                sequence,
                reply: Reply::Done(body),
            } => self
                .done((*client, *sequence), body)
                .or_else(|what| broken(RULE, format!("c{client}#{sequence}: {what}"))),
            _ => Ok(()),
        }
    }
}

impl FreshReads {
    fn invoke(&mut self, id: (u64, u64), operation: &Operation) {
        // Asked again: the operation began with the first attempt.
        if self.pending.contains_key(&id) {
            return;
        }
        let pending = match *operation {
            Operation::Put { key, value } => {
                let version = None;
                self.puts.entry(value).or_insert(Put { key, version });
                Pending::Put { value }
            }
            Operation::Get { key } => Pending::Get {
                key,
                floor: self.newest.get(&key).copied().unwrap_or(0),
            },
        };
        self.pending.insert(id, pending);
    }

    fn done(&mut self, id: (u64, u64), body: &[u8]) -> Result<(), String> {
        // A second answer to the same operation tells nothing new.
        let Some(pending) = self.pending.remove(&id) else {
            return Ok(());
        };
        let (words, rest) = body.as_chunks::<8>();
        let word = |i: usize| u64::from_le_bytes(words[i]);
        match pending {
            Pending::Put { value } if words.len() == 1 && rest.is_empty() => {
                self.show(word(0), value, None)
            }
            Pending::Get { key, floor } if words.len() == 2 && rest.is_empty() => {
                let (version, value) = (word(0), word(1));
                if version < floor {
                    return Err(format!(
                        "read version {version} of k{key}, {floor} was shown before it began"
                    ));
                }
                if version == 0 {
                    return Ok(());
                }
                self.show(version, value, Some(key))
            }
            _ => Err(format!("an answer of {} bytes", body.len())),
        }
    }

    /// An answer shows that `value` is what version `version` holds.
    fn show(&mut self, version: u64, value: u64, read_from: Option<u32>) -> Result<(), String> {
        let Some(put) = self.puts.get_mut(&value) else {
            return Err(format!("read {value}, which nobody wrote"));
        };
        if let Some(key) = read_from.filter(|key| *key != put.key) {
            return Err(format!(
                "read {value} of k{key}, it was written to k{}",
                put.key
            ));
        }
        let known = *put.version.get_or_insert(version);
        if known != version {
            return Err(format!("{value} is version {known} and version {version}"));
        }
        let other = *self.values.entry(version).or_insert(value);
        if other != value {
            return Err(format!("version {version} is {other} and {value}"));
        }
        let newest = self.newest.entry(put.key).or_default();
        *newest = version.max(*newest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::RULE;

    /// 10 was written to k1 as version 5, 11 as version 7.
    fn start() -> Stream {
        Stream::new()
            .put(1, 1, 1, 10)
            .wrote(1, 1, 5)
            .put(1, 2, 1, 11)
            .wrote(1, 2, 7)
    }

    #[test]
    fn a_read_sees_completed_writes() {
        start().get(2, 1, 1).read(2, 1, 7, 11).passes();
        start().get(2, 1, 1).read(2, 1, 5, 10).breaks(RULE);
        start().get(2, 1, 1).read(2, 1, 0, 0).breaks(RULE);
        start().get(2, 1, 2).read(2, 1, 0, 0).passes();
    }

    #[test]
    fn a_write_under_way_may_be_seen_or_not() {
        let before = || Stream::new().put(1, 1, 1, 10).get(2, 1, 1).wrote(1, 1, 5);
        before().read(2, 1, 0, 0).passes();
        before().read(2, 1, 5, 10).passes();
        before().get(2, 1, 1).read(2, 1, 0, 0).passes();
        before().get(2, 2, 1).read(2, 2, 0, 0).breaks(RULE);
    }

    #[test]
    fn reads_do_not_go_back() {
        let start = || {
            Stream::new()
                .put(1, 1, 1, 10)
                .get(2, 1, 1)
                .read(2, 1, 5, 10)
                .get(3, 1, 1)
        };
        start().read(3, 1, 5, 10).passes();
        start().read(3, 1, 0, 0).breaks(RULE);
    }

    #[test]
    fn a_read_shows_what_was_written() {
        start().get(2, 1, 1).read(2, 1, 9, 12).breaks(RULE);
        start().get(2, 1, 1).read(2, 1, 9, 11).breaks(RULE);
        start().get(2, 1, 2).read(2, 1, 7, 11).breaks(RULE);
        start().put(2, 1, 1, 12).wrote(2, 1, 7).breaks(RULE);
        start().put(2, 1, 1, 12).wrote(2, 1, 8).passes();
    }

    #[test]
    fn a_second_answer_is_the_first_one() {
        start().wrote(1, 2, 7).passes();
        start().get(2, 1, 1).answer(2, 1, vec![0; 9]).breaks(RULE);
    }
}
