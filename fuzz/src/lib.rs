//! What the targets share: a directory in memory that holds the input.

#[path = "../../engine/tests/decode/memory.rs"]
mod memory;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use afterimage_engine::format::SECTOR;
use afterimage_engine::inspect::Inspector;
use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Options, Store};
use afterimage_engine::{Env, Error, Event, HardState, Host, NodeId, Term, format::Slot};

pub use memory::Memory;

/// The log that all files are of.
pub const LOG_ID: u64 = 7;
const DIR: &str = "/log";

#[derive(Default)]
struct Numbers(AtomicU64);

impl Env for Numbers {
    fn now_ms(&self) -> i64 {
        0
    }
    fn random(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
    fn observe(&self, _: Event) {}
}

/// Puts a right checksum under a file's first sector, if it has one.
pub fn seal(file: &mut [u8]) {
    if let Some(sector) = file.get_mut(..SECTOR) {
        let crc = crc32fast::hash(&sector[..SECTOR - 4]);
        sector[SECTOR - 4..].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Magic, version and log id of a file, and a right checksum: for inputs that
/// are to get past these.
pub fn head(file: &mut [u8], magic: &[u8; 8]) {
    if file.len() >= SECTOR {
        file[..8].copy_from_slice(magic);
        file[8..12].copy_from_slice(&1u32.to_le_bytes());
        file[16..24].copy_from_slice(&LOG_ID.to_le_bytes());
        seal(file);
    }
}

/// A directory with a whole hard state.
pub fn directory() -> Memory {
    let slot = |sequence| Slot {
        log_id: LOG_ID,
        sequence,
        hard_state: HardState {
            term: Term(3),
            vote: Some(NodeId(1)),
        },
        doubtful: false,
        other_crc: 0,
    };
    let disk = Memory::default();
    let slots = [slot(2).encode(), slot(3).encode()];
    disk.put("/log/hardstate", slots.concat());
    disk
}

/// Looks at a directory with every tool, then opens it and reads all of it.
pub fn exercise(disk: &Memory) {
    if let Ok(inspector) = Inspector::open(Arc::new(disk.clone()), Path::new(DIR)) {
        let nothing = |_: afterimage_engine::inspect::Item<'_>| Ok::<_, Error>(());
        inspector.dump(nothing).expect("memory does not fail");
        let verified = inspector.verify().expect("memory does not fail");
        let repair = inspector.propose().expect("memory does not fail");
        if verified.is_clean() {
            assert!(repair.actions.is_empty() && repair.unmended.is_empty());
        }
    }
    let host = Host {
        fs: Arc::new(disk.clone()),
        env: Arc::new(Numbers(AtomicU64::new(1 << 40))),
    };
    let opened = Store::open(host, Path::new(DIR), Options::default()).run();
    let Ok((store, _)) = opened else { return };
    let mut next = store.first_index();
    while next <= store.last_index() {
        match store.entries(next, 1000) {
            Ok(entries) => next = next + entries.len() as u64,
            Err(_) => break,
        }
    }
    if let Ok(Some(reader)) = store.open_snapshot() {
        let mut at = 0;
        while let Ok(piece) = reader.read(at)
            && !piece.is_empty()
        {
            at += piece.len() as u64;
        }
    }
}
