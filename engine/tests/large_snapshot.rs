//! A snapshot that is larger than the memory it may take: saved, read and
//! installed, each in a stream.
//!
//! Alone in its process, because the heap that is counted is everybody's.

#![allow(unsafe_code, reason = "an allocator is")]

#[path = "support/heap.rs"]
mod heap;

use std::path::Path;
use std::sync::Arc;

use afterimage_engine::fs::OsFs;
use afterimage_engine::store::{Options, SnapshotSource, Store};
use afterimage_engine::threads::SystemEnv;
use afterimage_engine::{Host, Index, Membership, NodeId, SnapshotMeta, Term};

use heap::peak;

/// The state, in bytes. Not a whole number of chunks.
const STATE: usize = (256 << 20) + 12_345;
/// What a leader sends at once, in bytes: no divisor of a chunk either.
const PIECE: usize = 100_000;
/// More than this is never on the heap, in bytes, besides one chunk.
const HEAP: usize = 4 << 20;

/// A state that is nowhere: its bytes are made when they are asked for.
#[derive(Default)]
struct Made {
    at: usize,
    crc: crc32fast::Hasher,
}

impl Made {
    /// Up to `max` bytes more; `false` once that was everything.
    fn take(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        let from = out.len();
        let n = max.min(STATE - self.at);
        // Eight bytes a number, no two of them alike, so that no two chunks are.
        let behind = self.at % 8;
        for number in self.at / 8..(self.at + n).div_ceil(8) {
            let mixed = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            out.extend_from_slice(&mixed.to_le_bytes());
        }
        out.drain(from..from + behind);
        out.truncate(from + n);
        self.crc.update(&out[from..]);
        self.at += n;
        self.at < STATE
    }
}

impl SnapshotSource for Made {
    fn read(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        self.take(out, max)
    }
}

fn crc_of_all() -> u32 {
    let mut made = Made::default();
    let mut piece = Vec::new();
    while made.take(&mut piece, 64 << 10) {
        piece.clear();
    }
    made.crc.finalize()
}

fn open(dir: &Path) -> Store {
    let host = Host {
        fs: Arc::new(OsFs),
        env: Arc::new(SystemEnv::unobserved().unwrap()),
    };
    let (store, _) = Store::open(host, dir, Options::default()).run().unwrap();
    store
}

fn meta() -> SnapshotMeta {
    SnapshotMeta {
        last_index: Index(1000),
        last_term: Term(3),
        membership: Membership {
            voters: vec![NodeId(1), NodeId(2), NodeId(3)],
            learners: Vec::new(),
        },
    }
}

/// Reads all of it, which checks each chunk's CRC; the CRC of the whole.
fn read(store: &Store, mut visit: impl FnMut(u64, Vec<u8>)) -> u32 {
    let reader = store.open_snapshot().unwrap().unwrap();
    let mut crc = crc32fast::Hasher::new();
    let mut at = 0;
    while at < reader.data_len() {
        let piece = reader.read(at).unwrap();
        crc.update(&piece);
        let from = at;
        at += piece.len() as u64;
        visit(from, piece);
    }
    assert_eq!(at, STATE as u64);
    crc.finalize()
}

/// Streams one store's snapshot into another, piece by piece.
fn send(from: &Store, to: &Store) {
    let mut install = to.install(meta());
    read(from, |at, chunk| {
        for (i, piece) in chunk.chunks(PIECE).enumerate() {
            assert!(install.push(at + (i * PIECE) as u64, piece.to_vec(), false));
            while install.has_work() {
                install.step().unwrap();
            }
        }
    });
    assert!(install.push(install.wanted(), Vec::new(), true));
    while install.outcome().is_none() {
        install.step().unwrap();
    }
    assert!(install.outcome().unwrap().taken);
}

#[test]
fn a_snapshot_larger_than_the_heap_is_saved_read_and_installed() {
    // The bound means something: what is held is counted.
    let (held, heap) = peak(|| std::hint::black_box(vec![1u8; 2 * HEAP]));
    assert!((2 * HEAP..3 * HEAP).contains(&heap), "{heap}");
    drop(held);

    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let expected = crc_of_all();
    let bound = HEAP + Options::default().chunk_bytes;

    let leader = open(&dir.path().join("leader"));
    let (saved, heap) = peak(|| {
        let save = leader.save_snapshot(meta(), Box::new(Made::default()));
        save.run().unwrap()
    });
    assert!(saved);
    assert!(heap < bound, "a save takes {heap} bytes");

    let (crc, heap) = peak(|| read(&leader, |_, _| {}));
    assert_eq!(crc, expected);
    assert!(heap < bound, "a read takes {heap} bytes");

    let follower = open(&dir.path().join("follower"));
    let ((), heap) = peak(|| send(&leader, &follower));
    assert!(heap < bound, "an install takes {heap} bytes");
    drop(leader);

    // What is durable, and not what is remembered.
    drop(follower);
    let (follower, heap) = peak(|| open(&dir.path().join("follower")));
    assert!(heap < bound, "an open takes {heap} bytes");
    assert_eq!(read(&follower, |_, _| {}), expected);
    assert_eq!(follower.snapshot(), Some(meta()));
}
