//! Where the log ends: a bad record at the end of the last segment is a torn
//! tail, and goes, unless a record behind it says that it was durable. Then
//! nothing is touched. Records of all sizes, so that they cross the pieces in
//! which the segment is read; what is expected is read off the bytes.

#![allow(clippy::disallowed_methods, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use afterimage_engine::format::{Parsed, RecordHeader, SECTOR, SegmentHeader, parse_record};
use afterimage_engine::fs::OsFs;
use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Batch, Options, Report, Store};
use afterimage_engine::threads::SystemEnv;
use afterimage_engine::{Corruption, Entry, EntryKind, Error, Host, Index, Step, Term};
use proptest::collection::vec;
use proptest::prelude::*;

fn open(dir: &Path) -> Result<(Store, Report), Error> {
    let host = Host {
        fs: Arc::new(OsFs),
        env: Arc::new(SystemEnv::unobserved().unwrap()),
    };
    let options = Options {
        segment_bytes: 64 << 20, // all in one
        ..Options::default()
    };
    Store::open(host, dir, options).run()
}

/// One batch, one sync; each entry of so many bytes.
fn append(store: &Store, sizes: &[usize]) {
    let first = store.last_index().0 + 1;
    let entry = |(index, &size): (u64, &usize)| Entry {
        index: Index(index),
        term: Term(1),
        kind: EntryKind::Command,
        timestamp_ms: 0,
        data: vec![index as u8; size].into(),
    };
    let batch = Batch {
        hard_state: None,
        entries: (first..).zip(sizes).map(entry).collect(),
    };
    store.submit(batch).unwrap();
    let mut writer = store.writer();
    while writer.step().unwrap() == Step::Ran {}
}

fn segment(dir: &Path) -> PathBuf {
    let paths = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let mut segments = paths.filter(|path| path.extension().is_some_and(|e| e == "seg"));
    let segment = segments.next().unwrap();
    assert_eq!(segments.next(), None);
    segment
}

/// Each record and where it begins.
fn records(bytes: &[u8]) -> Vec<(usize, RecordHeader)> {
    let header = SegmentHeader::decode(bytes.first_chunk().unwrap());
    let nonce = header.unwrap().unwrap().nonce;
    let mut records = Vec::new();
    let mut at = SECTOR;
    while let Parsed::Record { header, .. } =
        parse_record(&bytes[at..], (bytes.len() - at) as u64, nonce)
    {
        records.push((at, header));
        at += header.frame_len();
    }
    records
}

fn sizes() -> impl Strategy<Value = Vec<Vec<usize>>> {
    let size = prop_oneof![
        6 => 0..200usize,
        3 => 0..20_000usize,
        1 => 200_000..700_000usize,
    ];
    vec(vec(size, 1..7), 2..16)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_durable_is_refused_and_what_was_not_is_cut(
        batches in sizes(),
        bad in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..8u8), 1..3),
        cut in proptest::option::weighted(0.3, any::<prop::sample::Index>()),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open(dir.path()).unwrap();
        for batch in &batches {
            append(&store, batch);
        }
        drop(store);
        let path = segment(dir.path());
        let whole = fs::read(&path).unwrap();
        let written = records(&whole);
        prop_assert_eq!(written.len(), batches.iter().flatten().count());

        let mut bytes = whole.clone();
        for (which, at, bit) in &bad {
            let (from, header) = which.get(&written);
            bytes[from + at.index(header.frame_len())] ^= 1 << bit;
        }
        if let Some(cut) = cut {
            let (from, header) = written.last().unwrap();
            bytes.truncate(SECTOR + cut.index(from + header.frame_len() - SECTOR));
        }
        fs::write(&path, &bytes).unwrap();

        let is_good = |(from, header): &(usize, RecordHeader)| {
            let frame = *from..from + header.frame_len();
            bytes.get(frame.clone()) == Some(&whole[frame])
        };
        let last = written.iter().position(|record| !is_good(record));
        let last = last.unwrap_or(written.len());
        let behind = written.iter().skip(last).filter(|record| is_good(record));
        let floor = behind.map(|(_, header)| header.sync_floor).max();
        let index = Index(last as u64 + 1);
        let was_durable = floor.is_some_and(|floor| floor >= index);
        let end = written.get(last).map(|(from, _)| *from as u64);
        match open(dir.path()) {
            Err(Error::Corrupt { path: named, offset, what: Corruption::DurableRecord }) => {
                prop_assert!(was_durable, "{} was refused", index);
                prop_assert_eq!((named, Some(offset)), (path.clone(), end));
                prop_assert_eq!(fs::read(&path).unwrap(), bytes, "it was touched");
            }
            Err(e) => prop_assert!(false, "{}", e),
            Ok((store, report)) => {
                prop_assert!(!was_durable, "{} was cut", index);
                prop_assert_eq!(store.last_index(), index.prev());
                // Bytes of a record, or an end as clean as any.
                let rest = end.map_or(&[][..], |end| bytes.get(end as usize..).unwrap_or(&[]));
                let is_torn = rest.iter().any(|byte| *byte != 0);
                let torn = is_torn.then(|| (path.clone(), end.unwrap()));
                prop_assert_eq!(report.torn_tail, torn);
                prop_assert_eq!(report.ambiguous_tail, is_torn);
                for (entry, size) in (1..index.0).zip(batches.iter().flatten()) {
                    let data = store.entry(Index(entry)).unwrap().data;
                    prop_assert_eq!(data.len(), *size);
                    prop_assert!(data.iter().all(|byte| *byte == entry as u8));
                }
            }
        }
    }
}

/// What is behind a bad record is looked through in pieces of 1 MiB. One record
/// there says that the bad one was durable: it begins at the end of a piece, in
/// the next one, or goes beyond its own.
#[test]
fn one_record_is_proof_enough_wherever_it_stands() {
    const PIECE: usize = 1 << 20;
    const FRAME: usize = 44;
    let at_the_border = (0..=64).step_by(8).map(|back| (PIECE - back - FRAME, 10));
    let beyond = [
        (10, PIECE + 1000),
        (PIECE / 2, PIECE),
        (2 * PIECE + 1000, 10),
    ];
    for (bad, proof) in at_the_border.chain(beyond) {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open(dir.path()).unwrap();
        for size in [10, bad, proof] {
            append(&store, &[size]);
        }
        drop(store);
        let path = segment(dir.path());
        let mut bytes = fs::read(&path).unwrap();
        let (at, _) = records(&bytes)[1];
        bytes[at + 41] ^= 1;
        fs::write(&path, &bytes).unwrap();
        match open(dir.path()) {
            Err(Error::Corrupt { offset, .. }) => assert_eq!(offset, at as u64),
            other => panic!("{bad}, {proof}: {other:?}"),
        }
    }
}
