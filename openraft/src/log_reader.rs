//! Reads the log and the vote while they are written.

use std::fmt;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use afterimage_engine::raft::LogView;
use afterimage_engine::store::Store;
use afterimage_engine::{Entry, Error, Index};
use openraft::alias::VoteOf;
use openraft::type_config::TypeConfigExt;
use openraft::{OptionalSend, RaftLogReader};

use crate::acks::Acks;
use crate::config::{Config, to_index};
use crate::error::to_io;
use crate::hands::Hands;
use crate::log_store::purged;
use crate::{payload, vote};

/// Read from a file at once, in bytes: the engine reads up to a number of
/// bytes, not up to an index, so this is also what may be read in vain.
const PIECE_BYTES: usize = 256 << 10;
/// At most so much goes into one message to a follower, in bytes, but for an
/// entry that is larger.
const LIMITED_BYTES: usize = 1 << 20;

/// A handle for reading; there may be many.
pub struct LogReader<C: Config> {
    /// Keeps the callbacks coming, should the log's own handle go first.
    _acks: Arc<Acks<C>>,
    hands: Arc<Hands>,
}

impl<C: Config> LogReader<C> {
    pub(crate) fn new(acks: Arc<Acks<C>>, hands: Arc<Hands>) -> Self {
        LogReader { _acks: acks, hands }
    }

    /// The entries in `from..end` that the log has; only the first few if they
    /// have more than `max_bytes`.
    async fn read(&self, from: Index, end: Index, max_bytes: usize) -> io::Result<Vec<C::Entry>> {
        let store = self.hands.store();
        let cached = store.cached_entries(from.max(first(store)), end, max_bytes);
        let entries = match cached {
            Some(entries) => entries,
            None => {
                let hands = self.hands.clone();
                C::spawn_blocking(move || read(hands.store(), from, end, max_bytes))
                    .await?
                    .map_err(to_io)?
            }
        };
        entries.iter().map(payload::from_entry::<C>).collect()
    }
}

/// The first entry that was not purged.
fn first(store: &Store) -> Index {
    to_index(purged(store).map_or(0, |id| id.index + 1))
}

fn read(store: &Store, from: Index, end: Index, max_bytes: usize) -> Result<Vec<Entry>, Error> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    let mut next = from.max(first(store));
    while next < end && bytes < max_bytes {
        let piece = match store.entries(next, PIECE_BYTES.min(max_bytes - bytes)) {
            Ok(piece) => piece,
            Err(Error::Unavailable { .. }) => break,
            // Purged meanwhile: all that was read of it is gone, too.
            Err(Error::Purged { .. }) if first(store) > next => {
                entries.clear();
                next = first(store);
                continue;
            }
            Err(e) => return Err(e),
        };
        bytes += piece.iter().map(|entry| entry.data.len()).sum::<usize>();
        next = next + piece.len() as u64;
        entries.extend(piece);
    }
    entries.retain(|entry| entry.index < end);
    Ok(entries)
}

impl<C: Config> RaftLogReader<C> for LogReader<C> {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<C::Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + fmt::Debug + OptionalSend,
    {
        let from = match range.start_bound() {
            Bound::Included(&index) => to_index(index),
            Bound::Excluded(&index) => to_index(index.saturating_add(1)),
            Bound::Unbounded => to_index(0),
        };
        let end = match range.end_bound() {
            Bound::Included(&index) => to_index(index.saturating_add(1)),
            Bound::Excluded(&index) => to_index(index),
            Bound::Unbounded => Index(u64::MAX),
        };
        self.read(from, end, usize::MAX).await
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<C::Entry>, io::Error> {
        self.read(to_index(start), to_index(end), LIMITED_BYTES)
            .await
    }

    async fn read_vote(&mut self) -> Result<Option<VoteOf<C>>, io::Error> {
        Ok(vote::from_hard_state(self.hands.store().hard_state()))
    }
}

impl<C: Config> fmt::Debug for LogReader<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogReader").finish_non_exhaustive()
    }
}
