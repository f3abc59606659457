//! Snapshots on their way out, to followers that fell behind the log.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::ids::NodeId;
use crate::raft::message::Body;
use crate::raft::{Message, SnapshotRead};
use crate::store::{SnapshotReader, Store};

/// The snapshots that followers are reading: a newer snapshot must not make
/// them start again, so each keeps its own open. One at the most per member.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    open: BTreeMap<NodeId, Transfer>,
}

#[derive(Debug)]
struct Transfer {
    reader: SnapshotReader,
    idle_ticks: u32,
}

impl Transfers {
    /// The message that the core asked for. At most two file operations.
    pub fn read(&mut self, store: &Store, from: NodeId, read: &SnapshotRead) -> Result<Message> {
        let held = self
            .open
            .remove(&read.to)
            .map(|transfer| transfer.reader)
            .filter(|reader| reader.meta().last_index == read.last_index);
        let reader = match held {
            Some(reader) => reader,
            None => {
                let current = store.open_snapshot()?;
                // The log's beginning is gone, or the core would send entries.
                current.expect("what was purged from the log is in a snapshot")
            }
        };
        let wanted =
            reader.meta().last_index == read.last_index && read.offset <= reader.data_len();
        let offset = if wanted { read.offset } else { 0 };
        let data = reader.read(offset)?;
        let body = Body::Snapshot {
            meta: reader.meta().clone(),
            offset,
            done: offset + data.len() as u64 == reader.data_len(),
            data,
        };
        // Kept also after the last piece, which may get lost.
        let transfer = Transfer {
            reader,
            idle_ticks: 0,
        };
        self.open.insert(read.to, transfer);
        Ok(Message {
            from,
            to: read.to,
            term: read.term,
            body,
        })
    }

    /// Time passes: what was not asked for in `idle_ticks_max` is closed, for
    /// it holds the space of a snapshot that may be replaced already.
    pub fn tick(&mut self, idle_ticks_max: u32) {
        self.open.retain(|_, transfer| {
            transfer.idle_ticks += 1;
            transfer.idle_ticks <= idle_ticks_max
        });
    }
}
