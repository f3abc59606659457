//! Client sessions: a retried command takes effect once (Raft thesis, 6.3).
//!
//! A command in the log is `client u64 | sequence u64 | body`, little-endian.
//! For each client the table remembers the last sequence number and its answer.
//! It is part of the replicated state: every replica must have the same table
//! after the same entry, so it stands in front of every snapshot and forgets
//! by log index, never by time.
//!
//! ```text
//! table   length u64 (bytes of the records), count u64, then the records by client
//! record  client u64, sequence u64, used u64 (index of the last use),
//!         answer length u64, answer
//! ```

use std::collections::{BTreeMap, btree_map};
use std::sync::Arc;

use crate::ids::Index;
use crate::store::ENTRY_BYTES_MAX;

const TABLE_HEADER: usize = 16;
const RECORD_HEADER: usize = 32;
const COMMAND_HEADER: usize = 16;
/// A request's body at the most, in bytes.
pub const BODY_BYTES_MAX: usize = ENTRY_BYTES_MAX - COMMAND_HEADER;

/// A client's command as it stands in an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command<'a> {
    pub client: u64,
    pub sequence: u64,
    pub body: &'a [u8],
}

impl<'a> Command<'a> {
    /// The entry's data.
    pub fn encode(&self) -> Arc<[u8]> {
        let mut data = Vec::with_capacity(COMMAND_HEADER + self.body.len());
        data.extend_from_slice(&self.client.to_le_bytes());
        data.extend_from_slice(&self.sequence.to_le_bytes());
        data.extend_from_slice(self.body);
        data.into()
    }

    /// `None` if the data is too short to be a command.
    pub fn decode(data: &'a [u8]) -> Option<Self> {
        let (client, rest) = data.split_first_chunk::<8>()?;
        let (sequence, body) = rest.split_first_chunk::<8>()?;
        Some(Command {
            client: u64::from_le_bytes(*client),
            sequence: u64::from_le_bytes(*sequence),
            body,
        })
    }
}

/// How much the table may hold. All replicas must agree on it, for it decides
/// who is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub clients_max: usize,
    /// Bytes of all answers together.
    pub answer_bytes_max: usize,
}

impl Limits {
    /// What every node uses. Changing it is a change of the replicated state.
    pub const DEFAULT: Limits = Limits {
        clients_max: 1 << 16,
        answer_bytes_max: 64 << 20,
    };
}

/// The last thing each client did.
///
/// When the table is full, the client that was quiet for longest (in entries)
/// is forgotten, and a retry of its last command would then apply again: a
/// command is exactly-once as long as its client gives up on it before
/// [`Limits::clients_max`] other clients have written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sessions {
    by_client: BTreeMap<u64, Session>,
    /// Who used which index: at most one client an entry.
    by_use: BTreeMap<Index, u64>,
    answer_bytes: usize,
    limits: Limits,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Session {
    sequence: u64,
    used: Index,
    answer: Arc<[u8]>,
}

/// What the table knows about a command before it is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// To be applied now.
    New,
    /// Already applied, with this answer.
    Duplicate(Arc<[u8]>),
    /// The client has since done something newer; this answer is forgotten.
    Stale,
}

impl Sessions {
    pub fn new(limits: Limits) -> Self {
        assert!(limits.clients_max > 0, "the newest client is always kept");
        Sessions {
            by_client: BTreeMap::new(),
            by_use: BTreeMap::new(),
            answer_bytes: 0,
            limits,
        }
    }

    /// How many clients are remembered.
    pub fn len(&self) -> usize {
        self.by_client.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_client.is_empty()
    }

    /// Meets the command in the entry at `index`. A duplicate counts as a use.
    pub fn meet(&mut self, index: Index, client: u64, sequence: u64) -> Seen {
        let Some(session) = self.by_client.get_mut(&client) else {
            return Seen::New;
        };
        if sequence > session.sequence {
            return Seen::New;
        }
        assert!(index > session.used, "entries are met once, in order");
        self.by_use.remove(&session.used);
        self.by_use.insert(index, client);
        session.used = index;
        if sequence == session.sequence {
            Seen::Duplicate(session.answer.clone())
        } else {
            Seen::Stale
        }
    }

    /// Remembers the answer of the command that was applied at `index`, and
    /// forgets the longest quiet clients if need be.
    pub fn record(&mut self, index: Index, client: u64, sequence: u64, answer: Arc<[u8]>) {
        let session = Session {
            sequence,
            used: index,
            answer,
        };
        self.answer_bytes += session.answer.len();
        if let Some(old) = self.by_client.insert(client, session) {
            assert!(sequence > old.sequence && index > old.used);
            self.answer_bytes -= old.answer.len();
            self.by_use.remove(&old.used);
        }
        let taken = self.by_use.insert(index, client);
        assert!(taken.is_none(), "one command an entry");
        while self.over_limits() && self.by_client.len() > 1 {
            self.forget_oldest();
        }
    }

    fn over_limits(&self) -> bool {
        self.by_client.len() > self.limits.clients_max
            || self.answer_bytes > self.limits.answer_bytes_max
    }

    fn forget_oldest(&mut self) {
        if let Some((_, client)) = self.by_use.pop_first()
            && let Some(session) = self.by_client.remove(&client)
        {
            self.answer_bytes -= session.answer.len();
        }
        assert_eq!(self.by_use.len(), self.by_client.len());
    }

    /// The table as it is now, to be read while later commands are applied.
    pub fn freeze(&self) -> Frozen {
        let length = self.by_client.len() * RECORD_HEADER + self.answer_bytes;
        Frozen {
            header: Some([length as u64, self.by_client.len() as u64]),
            // Clones share the answers.
            records: self.by_client.clone().into_iter(),
        }
    }
}

/// A table on its way into a snapshot.
#[derive(Debug)]
pub struct Frozen {
    header: Option<[u64; 2]>,
    records: btree_map::IntoIter<u64, Session>,
}

impl Frozen {
    /// Appends at least one item and up to about `max` bytes to `out`; `false`
    /// once everything was given.
    pub fn read(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        let begin = out.len();
        if let Some([length, count]) = self.header.take() {
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(&count.to_le_bytes());
        }
        while out.len() - begin < max {
            let Some((client, session)) = self.records.next() else {
                break;
            };
            for field in [
                client,
                session.sequence,
                session.used.0,
                session.answer.len() as u64,
            ] {
                out.extend_from_slice(&field.to_le_bytes());
            }
            out.extend_from_slice(&session.answer);
        }
        self.records.len() > 0
    }
}

/// A table on its way out of a snapshot, in pieces of any size.
#[derive(Debug)]
pub struct Decoder {
    sessions: Sessions,
    /// What came of the item under way; never more than one item.
    item: Vec<u8>,
    /// Bytes and records that are still to come, once the header is there.
    left: Option<(u64, u64)>,
}

impl Decoder {
    pub fn new(limits: Limits) -> Self {
        Decoder {
            sessions: Sessions::new(limits),
            item: Vec::new(),
            left: None,
        }
    }

    /// Takes the next piece of the stream. Returns its rest, which belongs to
    /// whoever comes after the table.
    pub fn push<'a>(&mut self, mut piece: &'a [u8]) -> Result<&'a [u8], String> {
        while !self.is_complete() {
            let needed = self.item_len()?;
            let missing = needed - self.item.len();
            let (taken, rest) = piece.split_at(missing.min(piece.len()));
            self.item.extend_from_slice(taken);
            piece = rest;
            if taken.len() < missing {
                break;
            }
            // The header of a record tells how much more there is of it.
            if self.item_len()? == needed {
                self.end_item()?;
            }
        }
        Ok(piece)
    }

    /// The table, if all of it was there.
    pub fn finish(self) -> Result<Sessions, String> {
        if self.is_complete() {
            Ok(self.sessions)
        } else {
            Err("the table of client sessions is cut off".into())
        }
    }

    fn is_complete(&self) -> bool {
        self.left == Some((0, 0))
    }

    fn field(&self, n: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.item[n * 8..][..8]);
        u64::from_le_bytes(bytes)
    }

    /// The length of the item under way, as far as it is known.
    fn item_len(&self) -> Result<usize, String> {
        let Some((bytes, records)) = self.left else {
            return Ok(TABLE_HEADER);
        };
        let len = if self.item.len() < RECORD_HEADER {
            Some(RECORD_HEADER as u64)
        } else {
            self.field(3).checked_add(RECORD_HEADER as u64)
        };
        // Checked before anything is kept, so that a wild length costs nothing.
        match len {
            Some(len) if len <= bytes && records > 0 => Ok(len as usize),
            _ => Err(format!(
                "a client session is longer than its table: {bytes} bytes and {records} records left"
            )),
        }
    }

    fn end_item(&mut self) -> Result<(), String> {
        self.left = Some(match self.left {
            None => (self.field(0), self.field(1)),
            Some((bytes, records)) => {
                self.end_record()?;
                (bytes - self.item.len() as u64, records - 1)
            }
        });
        self.item.clear();
        Ok(())
    }

    fn end_record(&mut self) -> Result<(), String> {
        let client = self.field(0);
        let session = Session {
            sequence: self.field(1),
            used: Index(self.field(2)),
            answer: self.item[RECORD_HEADER..].into(),
        };
        let last = self.sessions.by_client.last_key_value();
        if last.is_some_and(|(&last, _)| last >= client) {
            return Err(format!("client {client} is out of order"));
        }
        if let Some(other) = self.sessions.by_use.insert(session.used, client) {
            return Err(format!(
                "clients {other} and {client} both used index {}",
                session.used
            ));
        }
        self.sessions.answer_bytes += session.answer.len();
        self.sessions.by_client.insert(client, session);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALL: Limits = Limits {
        clients_max: 4,
        answer_bytes_max: 40,
    };

    /// Applies `commands` of (client, sequence); what each came to, the answer
    /// of a fresh one being its index.
    fn check(commands: &[(u64, u64)], expected: &[Option<u64>]) -> Sessions {
        let mut sessions = Sessions::new(SMALL);
        let got: Vec<_> = (1..)
            .zip(commands)
            .map(|(n, &(client, sequence))| run(&mut sessions, Index(n), client, sequence))
            .collect();
        assert_eq!(got, expected);
        sessions
    }

    fn run(sessions: &mut Sessions, index: Index, client: u64, sequence: u64) -> Option<u64> {
        let answer = match sessions.meet(index, client, sequence) {
            Seen::New => {
                let answer: Arc<[u8]> = index.0.to_le_bytes().into();
                sessions.record(index, client, sequence, answer.clone());
                answer
            }
            Seen::Duplicate(answer) => answer,
            Seen::Stale => return None,
        };
        Some(u64::from_le_bytes(answer[..].try_into().unwrap()))
    }

    fn encode(sessions: &Sessions, max: usize) -> Vec<u8> {
        let (mut frozen, mut out) = (sessions.freeze(), Vec::new());
        while frozen.read(&mut out, max) {}
        out
    }

    #[test]
    fn a_command_applies_once() {
        check(
            &[(7, 1), (7, 1), (8, 1), (7, 2), (7, 1), (7, 2)],
            &[Some(1), Some(1), Some(3), Some(4), None, Some(4)],
        );
    }

    #[test]
    fn sequences_may_have_gaps() {
        check(&[(7, 5), (7, 9), (7, 5)], &[Some(1), Some(2), None]);
    }

    #[test]
    fn the_longest_quiet_client_is_forgotten() {
        // Client 1 is used again at 5, so that client 2 goes when 5 comes.
        let sessions = check(
            &[(1, 1), (2, 1), (3, 1), (4, 1), (1, 1), (5, 1), (2, 1)],
            &[
                Some(1),
                Some(2),
                Some(3),
                Some(4),
                Some(1),
                Some(6),
                Some(7),
            ],
        );
        assert_eq!(sessions.len(), 4);
        assert!(sessions.by_client.contains_key(&1));
        assert!(!sessions.by_client.contains_key(&3));
    }

    #[test]
    fn the_answers_are_bounded_but_the_newest_stays() {
        let mut sessions = Sessions::new(SMALL);
        sessions.record(Index(1), 1, 1, [0; 30].into());
        sessions.record(Index(2), 2, 1, [0; 30].into());
        assert_eq!((sessions.len(), sessions.answer_bytes), (1, 30));
        sessions.record(Index(3), 3, 1, [0; 99].into());
        assert_eq!((sessions.len(), sessions.answer_bytes), (1, 99));
        assert_eq!(sessions.meet(Index(4), 1, 1), Seen::New);
    }

    #[test]
    fn a_damaged_table_is_refused() {
        let good = encode(&check(&[(1, 1), (2, 1)], &[Some(1), Some(2)]), 9);
        let damaged = |at: usize, value: u64| {
            let mut bytes = good.clone();
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            let mut decoder = Decoder::new(SMALL);
            match decoder.push(&bytes) {
                Ok(_) => decoder.finish().err(),
                Err(error) => Some(error),
            }
        };
        assert_eq!(damaged(0, 80), None, "the undamaged table is accepted");
        for (at, value) in [
            (0, 79),              // shorter than its records
            (0, 81),              // longer
            (8, 1),               // fewer records
            (8, 3),               // more
            (16, 2),              // the same client twice
            (32, 2),              // the same index twice
            (40, u64::MAX),       // a wild answer length
            (40, (1 << 40) + 32), // one that would cost memory
        ] {
            assert!(damaged(at, value).is_some(), "{value} at {at}");
        }
        for len in 0..good.len() {
            let mut decoder = Decoder::new(SMALL);
            assert!(decoder.push(&good[..len]).unwrap().is_empty());
            assert!(decoder.finish().is_err(), "cut at {len}");
        }
    }

    #[test]
    fn a_short_entry_is_no_command() {
        let command = Command {
            client: 3,
            sequence: 4,
            body: b"x",
        };
        let data = command.encode();
        assert_eq!(Command::decode(&data), Some(command));
        assert_eq!(Command::decode(&data[..15]), None);
    }

    proptest! {
        /// A replica that restored the table half way, from pieces of any
        /// size, goes on like one that never did.
        #[test]
        fn a_restored_table_goes_on_alike(
            commands in prop::collection::vec((0u64..8, 0u64..6), 1..60),
            half in 0usize..60,
            read_max in 1usize..80,
            split in 1usize..50,
            tail in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut stayed = Sessions::new(SMALL);
            let mut restored = None;
            for (n, &(client, sequence)) in (1..).zip(&commands) {
                if n == half {
                    let mut stream = encode(&stayed, read_max);
                    stream.extend_from_slice(&tail);
                    let (mut decoder, mut rest) = (Decoder::new(SMALL), Vec::new());
                    for piece in stream.chunks(split) {
                        rest.extend_from_slice(decoder.push(piece).unwrap());
                    }
                    prop_assert_eq!(&rest, &tail);
                    restored = Some(decoder.finish().unwrap());
                }
                let index = Index(n as u64);
                let answer = run(&mut stayed, index, client, sequence);
                if let Some(restored) = &mut restored {
                    prop_assert_eq!(run(restored, index, client, sequence), answer);
                    prop_assert_eq!(&*restored, &stayed);
                }
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::new(SMALL);
            let accepted = decoder.push(&bytes).is_ok();
            prop_assert!(accepted || !bytes.is_empty());
        }
    }
}
