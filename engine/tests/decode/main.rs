//! The decoders, and everything that is built on them, on bytes that nobody
//! wrote: never a panic, never an allocation beyond the input's size, always an
//! end. The targets of `fuzz/` do the same for as long as you like.

mod counting;
mod memory;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use afterimage_engine::format::{
    CommitHint, Link, Parsed, RecordHeader, SECTOR, Sector, SegmentHeader, Slot, SnapshotHeader,
    decode_membership, parse_record,
};
use afterimage_engine::fs::Fs;
use afterimage_engine::inspect::Inspector;
use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Batch, Options, SnapshotSource, Store};
use afterimage_engine::{
    Entry, EntryKind, Env, Error, Event, HardState, Host, Index, Membership, NodeId, SnapshotMeta,
    Step, Term,
};
use proptest::collection::vec;
use proptest::prelude::*;

use counting::largest;
use memory::Memory;

const DIR: &str = "/log";
/// What the code allocates for itself, whatever the input: buffers to read into.
const OWN: usize = 160 << 10;

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

fn open(disk: &Memory) -> Result<Store, Error> {
    let host = Host {
        fs: Arc::new(disk.clone()),
        env: Arc::new(Numbers(AtomicU64::new(1 << 40))),
    };
    let options = Options {
        segment_bytes: 1500,
        chunk_bytes: 512,
        ..Options::default()
    };
    Ok(Store::open(host, Path::new(DIR), options).run()?.0)
}

struct Bytes(Vec<u8>);

impl SnapshotSource for Bytes {
    fn read(&mut self, out: &mut Vec<u8>, _: usize) -> bool {
        out.append(&mut self.0);
        false
    }
}

/// A directory with something of everything.
fn sample() -> Memory {
    let disk = Memory::default();
    let store = open(&disk).expect("a new store");
    let mut writer = store.writer();
    let mut append = |term: u64, from: u64, count: u64| {
        for index in from..from + count {
            let entry = Entry {
                index: Index(index),
                term: Term(term),
                kind: EntryKind::Command,
                timestamp_ms: 0,
                data: vec![index as u8; 60].into(),
            };
            let hard_state = Some(HardState {
                term: Term(term),
                vote: Some(NodeId(1)),
            });
            store
                .submit(Batch {
                    hard_state,
                    entries: vec![entry],
                })
                .expect("it fits");
            while writer.step().expect("memory does not fail") == Step::Ran {}
        }
    };
    append(1, 1, 25);
    append(2, 18, 8);
    let meta = SnapshotMeta {
        last_index: Index(9),
        last_term: Term(1),
        membership: Membership {
            voters: vec![NodeId(1), NodeId(2)],
            learners: vec![NodeId(3)],
        },
    };
    let saved = store.save_snapshot(meta, Box::new(Bytes(vec![7; 1200])));
    assert!(saved.run().expect("memory does not fail"));
    disk
}

/// All that looks at a directory; whatever it answers.
fn look(disk: &Memory) {
    let before = disk.contents();
    if let Ok(inspector) = Inspector::open(Arc::new(disk.clone()), Path::new(DIR)) {
        let mut items = 0u64;
        inspector
            .dump(|_| {
                items += 1;
                Ok::<_, Error>(())
            })
            .expect("memory does not fail");
        let bytes: usize = before.values().map(Vec::len).sum();
        assert!(
            items <= 100 + 3 * bytes as u64,
            "{items} items in {bytes} bytes"
        );
        inspector.verify().expect("memory does not fail");
        // A generation that is spoilt may be the last one.
        match inspector.propose() {
            Ok(_) | Err(Error::Misuse(_)) => {}
            Err(e) => panic!("memory does not fail: {e}"),
        }
    }
    assert_eq!(disk.contents(), before);
}

/// Opens it, and reads all of it, if it opens.
fn use_it(disk: &Memory) {
    let Ok(store) = open(disk) else { return };
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

#[track_caller]
fn check(disk: &Memory) {
    let contents = disk.contents();
    let input: usize = contents.values().map(Vec::len).sum();
    let most = largest(|| look(disk));
    assert!(
        most <= 2 * input + OWN,
        "looking at {input} bytes took {most}"
    );
    let most = largest(|| use_it(disk));
    assert!(most <= 2 * input + OWN, "opening {input} bytes took {most}");
}

/// A right checksum for whatever is in a sector.
fn seal(sector: &mut [u8]) {
    let crc = crc32fast::hash(&sector[..SECTOR - 4]);
    sector[SECTOR - 4..].copy_from_slice(&crc.to_le_bytes());
}

/// A sector that gets past the checksum, the magic and the version.
fn headed(mut bytes: Vec<u8>, magic: &[u8; 8]) -> Sector {
    bytes.resize(SECTOR, 0);
    bytes[..8].copy_from_slice(magic);
    bytes[8..12].copy_from_slice(&1u32.to_le_bytes());
    seal(&mut bytes);
    bytes.try_into().expect("sized above")
}

/// A way to spoil a file.
#[derive(Debug, Clone)]
enum Spoil {
    Set(Vec<u8>),
    Cut,
    Append(Vec<u8>),
    /// Moves what follows.
    Insert(Vec<u8>),
    /// Sets bytes of a field, and then the sector's checksum.
    Field(Vec<u8>),
}

fn spoil() -> impl Strategy<Value = Spoil> {
    let bytes = || vec(any::<u8>(), 1..80);
    let number = prop::sample::select(vec![0, 1, 7, 511, 1 << 31, u64::MAX >> 1, u64::MAX]);
    prop_oneof![
        2 => bytes().prop_map(Spoil::Set),
        1 => Just(Spoil::Cut),
        1 => bytes().prop_map(Spoil::Append),
        1 => bytes().prop_map(Spoil::Insert),
        3 => number.prop_map(|n: u64| Spoil::Field(n.to_le_bytes().to_vec())),
        1 => vec(any::<u8>(), 1..9).prop_map(Spoil::Field),
    ]
}

fn apply(bytes: &mut Vec<u8>, at: prop::sample::Index, how: &Spoil) {
    let at = if bytes.is_empty() {
        0
    } else {
        at.index(bytes.len())
    };
    match how {
        Spoil::Set(with) => {
            let n = with.len().min(bytes.len() - at);
            bytes[at..at + n].copy_from_slice(&with[..n]);
        }
        Spoil::Cut => bytes.truncate(at),
        Spoil::Append(with) => bytes.extend(with),
        Spoil::Insert(with) => drop(bytes.splice(at..at, with.iter().copied())),
        Spoil::Field(with) => {
            // Of the header, where the fields are.
            let at = 12 + at % 80 / 4 * 4;
            if let Some(sector) = bytes.get_mut(..SECTOR) {
                sector[at..at + with.len()].copy_from_slice(with);
                seal(sector);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn single_decoders_take_any_bytes(
        bytes in vec(any::<u8>(), 0..700),
        available in any::<u64>(),
        nonce in any::<u64>(),
    ) {
        let most = largest(|| {
            if let Parsed::Need(n) = parse_record(&bytes, available, nonce) {
                assert!(n as u64 <= available.max(40));
            }
            for start in bytes.windows(40).step_by(8) {
                let _ = RecordHeader::decode(start.try_into().expect("40 bytes"), nonce);
            }
            let _ = decode_membership(&bytes);
        });
        prop_assert!(most <= 2 * bytes.len() + 64, "{} of {}", most, bytes.len());
        let most = largest(|| {
            let _ = SegmentHeader::decode(&headed(bytes.clone(), b"AFTIMSEG"));
            let _ = Slot::decode(&headed(bytes.clone(), b"AFTIM-HS"));
            let _ = CommitHint::decode(&headed(bytes.clone(), b"AFTIM-CI"));
            if let Ok(Some(header)) = SnapshotHeader::decode(&headed(bytes.clone(), b"AFTIMSNP")) {
                assert!(header.membership_len <= 1 << 20);
            }
        });
        prop_assert!(most <= 2 * SECTOR + bytes.len(), "{}", most);
    }

    #[test]
    fn a_directory_of_any_bytes_is_looked_at_and_opened(
        slots in vec(any::<u8>(), 0..1100),
        header in vec(any::<u8>(), 12..100),
        records in vec(any::<u8>(), 0..3000),
        snapshot in prop::option::of(vec(any::<u8>(), 12..2000)),
        sealed in any::<bool>(),
    ) {
        let disk = Memory::default();
        let mut hard_state = slots;
        if sealed {
            let fields = hard_state.split_off(hard_state.len().min(100));
            hard_state = headed(hard_state, b"AFTIM-HS").to_vec();
            hard_state.extend(fields);
        }
        disk.put("/log/hardstate", hard_state);
        let mut segment = headed(header, b"AFTIMSEG").to_vec();
        segment.extend(records);
        if sealed {
            // So that the name is right, and of this log.
            let id: [u8; 8] = disk.contents()["/log/hardstate"][16..24].try_into().expect("8");
            segment[16..24].copy_from_slice(&id);
            segment[24..40].fill(0);
            (segment[24], segment[32]) = (1, 1);
            seal(&mut segment[..SECTOR]);
        }
        disk.put("/log/log-00000000000000000001-0000000000000001.seg", segment);
        if let Some(mut bytes) = snapshot {
            let rest = bytes.split_off(bytes.len().min(100));
            let mut file = headed(bytes, b"AFTIMSNP").to_vec();
            file.extend(rest);
            disk.put("/log/snapshot", file);
        }
        check(&disk);
    }

    #[test]
    fn a_spoilt_directory_is_looked_at_and_opened(
        spoils in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), spoil()), 1..4),
    ) {
        let disk = sample();
        for (file, at, how) in spoils {
            let contents = disk.contents();
            let names: Vec<_> = contents.keys().filter(|name| !name.ends_with("LOCK")).collect();
            let name = names[file.index(names.len())];
            let mut bytes = contents[name].clone();
            apply(&mut bytes, at, &how);
            disk.put(name, bytes);
        }
        check(&disk);
    }
}

/// A header that says that a gigabyte follows, under a right checksum: a reader
/// must not believe it before it has looked at the file's length.
#[test]
fn a_length_is_not_believed_before_the_files_own() {
    let disk = sample();
    let contents = disk.contents();
    let (name, bytes) = contents
        .iter()
        .find(|(name, _)| name.ends_with("-0000000000000001.seg"))
        .expect("the first segment");
    let mut bytes = bytes.clone();
    let nonce = u64::from_le_bytes(bytes[40..48].try_into().expect("8 bytes"));
    let record = &mut bytes[SECTOR..SECTOR + 40];
    claim(record, 1 << 30, nonce);
    let first = record.first_chunk().expect("40 bytes");
    let decoded = RecordHeader::decode(first, nonce).expect("it looks like a record");
    assert!(decoded.data_len > 1 << 29);
    // More than is read at once: the file's end does not come in sight by itself.
    bytes.resize(20_000, 0);
    disk.put(name, bytes);
    let store = open(&disk).expect("it is in a sealed segment");
    let most = largest(|| assert!(store.entries(Index(1), 1).is_err()));
    assert!(most <= OWN, "{most}");
    drop(store);
    check(&disk);
}

/// The same behind the end of the log, where an open looks for records.
#[test]
fn a_length_behind_the_end_is_not_believed() {
    let disk = sample();
    drop(open(&disk).expect("as it was written"));
    let contents = disk.contents();
    let segments = contents.iter().filter(|(name, _)| name.ends_with(".seg"));
    let (name, bytes) = segments.max_by_key(|(name, _)| *name).expect("the newest");
    let mut bytes = bytes.clone();
    let nonce = u64::from_le_bytes(bytes[40..48].try_into().expect("8 bytes"));
    let first = bytes[SECTOR..SECTOR + 40].to_vec();
    let end = bytes.len().next_multiple_of(8);
    bytes.resize(end + 20_000, 0);
    let record = &mut bytes[end + 800..end + 840];
    record.copy_from_slice(&first);
    claim(record, 1 << 30, nonce);
    disk.put(name, bytes);
    let input: usize = disk.contents().values().map(Vec::len).sum();
    let most = largest(|| drop(open(&disk)));
    assert!(most <= 2 * input + OWN, "{most}");
}

/// And of the membership in a snapshot.
#[test]
fn the_length_of_a_membership_is_not_believed() {
    let disk = sample();
    let contents = disk.contents();
    let snapshot = contents.iter().find(|(name, _)| name.ends_with("snapshot"));
    let (name, bytes) = snapshot.expect("there is one");
    let mut bytes = bytes.clone();
    bytes[60..64].copy_from_slice(&(1u32 << 20).to_le_bytes());
    seal(&mut bytes[..SECTOR]);
    disk.put(name, bytes);
    check(&disk);
}

/// A length for a record's header, with a right CRC.
fn claim(header: &mut [u8], len: u32, nonce: u64) {
    header[..4].copy_from_slice(&len.to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&nonce.to_le_bytes());
    crc.update(&header[..6]);
    crc.update(&header[8..]);
    header[6..8].copy_from_slice(&(crc.finalize() as u16).to_le_bytes());
}

#[test]
fn the_sample_is_whole() {
    let disk = sample();
    let fs: Arc<dyn Fs> = Arc::new(disk.clone());
    let inspector = Inspector::open(fs, Path::new(DIR)).expect("a log directory");
    let verified = inspector.verify().expect("memory does not fail");
    assert!(verified.is_clean(), "{verified:#?}");
    assert!(
        verified.segments > 2 && verified.records > 20,
        "{verified:#?}"
    );
    check(&disk);
}

/// A header whose number is beyond the limit is none: an addition to it could
/// overflow. The limit itself is one, and so is the least.
#[test]
fn the_numbers_of_a_header_have_limits() {
    const MAX: u64 = u64::MAX >> 1;
    let segment = |at: usize, number: u64| {
        let header = SegmentHeader {
            log_id: 1,
            base: Index(3),
            generation: 2,
            nonce: 7,
            prev: Link::default(),
            floor: Index(2),
            created_at_ms: 0,
        };
        let sector = with_number(header.encode(), at, number);
        SegmentHeader::decode(&sector).unwrap().is_some()
    };
    let (base, generation, end) = (24, 32, 64);
    for (at, least) in [(base, 1), (generation, 1), (end, 0)] {
        assert!(segment(at, least) && segment(at, MAX));
        assert!(least == 0 || !segment(at, 0));
        assert!(!segment(at, MAX + 1) && !segment(at, u64::MAX));
    }
    // Two records lie before the base.
    let unproven = |count: u64| segment(76, count);
    assert!(unproven(0) && unproven(2) && !unproven(3) && !unproven(u64::from(u32::MAX)));
    let slot = |number: u64| {
        let slot = headed(vec![0; SECTOR], b"AFTIM-HS");
        Slot::decode(&with_number(slot, 24, number))
            .unwrap()
            .is_some()
    };
    assert!(slot(0) && slot(MAX) && !slot(MAX + 1) && !slot(u64::MAX));
    let hint = |number: u64| {
        let hint = CommitHint {
            log_id: 1,
            index: Index(0),
        };
        let hint = with_number(hint.encode(), 24, number);
        CommitHint::decode(&hint).unwrap().is_some()
    };
    assert!(hint(0) && hint(MAX) && !hint(MAX + 1) && !hint(u64::MAX));
    let snapshot = |at: usize, number: u64| {
        let mut header = headed(vec![0; SECTOR], b"AFTIMSNP");
        header[12] = 1; // the size of a chunk
        let header = with_number(header, at, number);
        SnapshotHeader::decode(&header).unwrap().is_some()
    };
    let (last_index, min_generation) = (24, 40);
    for at in [last_index, min_generation] {
        assert!(snapshot(at, 0) && snapshot(at, MAX));
        assert!(!snapshot(at, MAX + 1) && !snapshot(at, u64::MAX));
    }
    let membership = |len: u32| {
        let mut header = headed(vec![0; SECTOR], b"AFTIMSNP");
        header[12] = 1;
        header[60..64].copy_from_slice(&len.to_le_bytes());
        seal(&mut header);
        SnapshotHeader::decode(&header).unwrap().is_some()
    };
    assert!(membership(1 << 20) && !membership((1 << 20) + 1));
}

fn with_number(mut sector: Sector, at: usize, number: u64) -> Sector {
    sector[at..at + 8].copy_from_slice(&number.to_le_bytes());
    seal(&mut sector);
    sector
}
