//! Directories that each version of the format left behind open for ever, and
//! hold what their listings say.
//!
//! `AFTERIMAGE_GOLDEN=write cargo test -p afterimage-engine --test golden` writes
//! those of the current version that are not there yet. What is there is never
//! written again: a change of the format gets a new number and a new directory.

#![allow(clippy::disallowed_methods, reason = "a test's own files are real")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use afterimage_engine::format::{SECTOR, VERSION};
use afterimage_engine::fs::{OsFs, OsReadOnly};
use afterimage_engine::inspect::Inspector;
use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Batch, Options, SnapshotSource, Store};
use afterimage_engine::{
    Entry, EntryKind, Env, Error, Event, HardState, Host, Index, Membership, NodeId, SnapshotMeta,
    Step, Term,
};

/// The directories, each with the version of the format that its files need.
const DIRECTORIES: [(u32, &str); 11] = [
    (1, "empty"),
    (1, "segments"),
    (1, "truncated"),
    (1, "snapshot-gap"),
    (1, "hard-states"),
    (1, "torn"),
    (1, "commit-hint"),
    (1, "trail"),
    (1, "snapshot-chunks"),
    (2, "unsynced"),
    (2, "unsynced-torn"),
];

const HARD_STATE: &str = "hardstate";

/// Numbers one after the other for entropy, so that all is the same each time.
#[derive(Default)]
struct Counting(AtomicU64);

impl Env for Counting {
    fn now_ms(&self) -> i64 {
        1_700_000_000_000
    }
    fn random(&self) -> u64 {
        let n = self.0.fetch_add(1, Ordering::Relaxed);
        n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
    fn observe(&self, _: Event) {}
}

fn open(dir: &Path) -> Result<(Store, afterimage_engine::store::Report), Error> {
    let host = Host {
        fs: Arc::new(OsFs),
        env: Arc::new(Counting::default()),
    };
    // Options that one directory was written with harm no other.
    let options = Options {
        segment_bytes: 1500,
        chunk_bytes: 512,
        trail_entries: 8,
        commit_hint_every: 10,
        ..Options::default()
    };
    Store::open(host, dir, options).run()
}

fn of_version(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/v{version}"))
}

/// A copy to work on: opening changes a directory.
fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.path().join(file.file_name())).unwrap();
    }
    to
}

/// What a directory holds, for people.
fn listing(dir: &Path) -> String {
    let (store, report) = open(dir).unwrap();
    let mut out = String::new();
    let HardState { term, vote } = report.hard_state;
    writeln!(out, "term {term} vote {vote:?}").unwrap();
    writeln!(out, "log {}..={}", report.first_index, report.last_index).unwrap();
    writeln!(out, "proven {}", report.proven_index).unwrap();
    writeln!(out, "torn {}", report.torn_tail.is_some()).unwrap();
    if report.commit_hint > Index(0) {
        writeln!(out, "committed {}", report.commit_hint).unwrap();
    }
    if let Some(reader) = store.open_snapshot().unwrap() {
        let mut crc = crc32fast::Hasher::new();
        let mut at = 0;
        while at < reader.data_len() {
            let piece = reader.read(at).unwrap();
            crc.update(&piece);
            at += piece.len() as u64;
        }
        let (meta, crc) = (reader.meta(), crc.finalize());
        writeln!(out, "snapshot {meta:?} {at} bytes {crc:08x}").unwrap();
    }
    let mut next = store.first_index();
    while next <= store.last_index() {
        let entry = &store.entries(next, 0).unwrap()[0];
        let (len, print) = (entry.data.len(), entry.fingerprint());
        let (index, term, kind) = (entry.index, entry.term, entry.kind);
        writeln!(out, "{index} term {term} {kind:?} {len} bytes {print:08x}").unwrap();
        next = next.next();
    }
    out
}

/// Writes the directory of this name as this version does.
fn write(name: &str, dir: &Path) {
    let (store, _) = open(dir).unwrap();
    match name {
        "empty" => {}
        "segments" => append(&store, 1, 30),
        "truncated" => {
            append(&store, 1, 20);
            replace(&store, 2, 12, 4);
            replace(&store, 3, 6, 9);
        }
        "snapshot-gap" => {
            append(&store, 1, 12);
            install(&store, 40);
            replace(&store, 7, 41, 5);
        }
        "hard-states" => {
            for (term, vote) in [(1, Some(3)), (2, None), (5, Some(u64::MAX))] {
                let vote = vote.map(NodeId);
                let term = Term(term);
                submit(&store, Some(HardState { term, vote }), Vec::new());
            }
        }
        "torn" => append(&store, 1, 9),
        "commit-hint" => {
            append(&store, 1, 16);
            hint(&store, 12);
            append(&store, 17, 8);
            // Not so much more that it would be noted.
            hint(&store, 20);
        }
        "trail" => {
            append(&store, 1, 30);
            save(&store, 24, vec![24; 40]);
            let mut cleaner = store.cleaner();
            while cleaner.has_work() {
                cleaner.step().unwrap();
            }
            assert!((Index(2)..=Index(17)).contains(&store.first_index()));
        }
        "snapshot-chunks" => {
            append(&store, 1, 3);
            // No two chunks are alike, and the last one is not whole.
            let data = (0..5 * 512 + 100).map(|i| (i / 100) as u8);
            save(&store, 3, data.collect());
        }
        "unsynced" | "unsynced-torn" => {
            append(&store, 1, 5);
            for index in 6..=30 {
                store.submit_unsynced(vec![entry(1, index)]).unwrap();
                write_all(&store);
            }
        }
        _ => panic!("nobody knows {name}"),
    }
    drop(store);
    if name == "unsynced-torn" {
        let mut segments = segments_of(dir);
        assert!(segments.len() > 3, "{segments:?}");
        let third = segments.swap_remove(2);
        fs::remove_file(third).unwrap();
    }
    if name == "torn" {
        let segment = segment_of(dir);
        let file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
        file.set_len(file.metadata().unwrap().len() - 60).unwrap();
    }
    fs::remove_file(dir.join("LOCK")).unwrap();
}

fn submit(store: &Store, hard_state: Option<HardState>, entries: Vec<Entry>) {
    store
        .submit(Batch {
            hard_state,
            entries,
        })
        .unwrap();
    write_all(store);
}

fn write_all(store: &Store) {
    let mut writer = store.writer();
    while writer.step().unwrap() == Step::Ran {}
}

fn hint(store: &Store, committed: u64) {
    store.hint_commit(Index(committed));
    let mut hinter = store.hinter();
    while hinter.has_work() {
        assert_eq!(hinter.step().unwrap(), Step::Ran);
    }
}

fn append(store: &Store, from: u64, count: u64) {
    replace(store, 1, from, count);
}

fn replace(store: &Store, term: u64, from: u64, count: u64) {
    for index in from..from + count {
        submit(store, None, vec![entry(term, index)]);
    }
}

fn entry(term: u64, index: u64) -> Entry {
    Entry {
        index: Index(index),
        term: Term(term),
        kind: [EntryKind::Blank, EntryKind::Command, EntryKind::Membership][index as usize % 3],
        timestamp_ms: 1000 * index as i64,
        data: [index as u8, term as u8].repeat(index as usize * 3).into(),
    }
}

struct Bytes(Vec<u8>);

impl SnapshotSource for Bytes {
    fn read(&mut self, out: &mut Vec<u8>, _: usize) -> bool {
        out.append(&mut self.0);
        false
    }
}

fn meta(last: u64) -> SnapshotMeta {
    SnapshotMeta {
        last_index: Index(last),
        last_term: Term(1),
        membership: Membership {
            voters: vec![NodeId(1), NodeId(2), NodeId(3)],
            learners: vec![NodeId(9)],
        },
    }
}

fn save(store: &Store, last: u64, data: Vec<u8>) {
    let save = store.save_snapshot(meta(last), Box::new(Bytes(data)));
    assert!(save.run().unwrap());
}

/// First one of our own, then a leader's that discards the log.
fn install(store: &Store, last: u64) {
    save(store, 8, vec![8; 700]);
    let mut install = store.install(meta(last));
    assert!(install.push(0, vec![40; 1300], true));
    while install.outcome().is_none() {
        install.step().unwrap();
    }
}

/// The newest segment.
fn segment_of(dir: &Path) -> PathBuf {
    segments_of(dir).pop().unwrap()
}

/// All segments, oldest first.
fn segments_of(dir: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(dir).unwrap();
    let paths = names.map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "seg"))
        .collect();
    segments.sort();
    segments
}

#[test]
fn directories_of_every_version_open_and_hold_what_they_did() {
    if std::env::var("AFTERIMAGE_GOLDEN").is_ok_and(|v| v == "write") {
        write_golden();
    }
    let mut bytes = 0;
    for (version, name) in DIRECTORIES {
        let golden = of_version(version);
        let expected = fs::read_to_string(golden.join(format!("{name}.txt"))).unwrap();
        let copy = copy(&golden.join(name));
        let verified = Inspector::open(Arc::new(OsReadOnly), copy.path())
            .and_then(|inspector| inspector.verify())
            .unwrap();
        let torn = name.ends_with("torn");
        assert_eq!(verified.is_clean(), !torn, "v{version} {name}");
        for _ in 0..2 {
            let found = listing(copy.path());
            // What was torn is gone after the first open, and all is proven.
            let line = |line: &&str| !line.starts_with("proven") && !line.starts_with("torn");
            let lines = |text: &str| {
                text.lines()
                    .filter(line)
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            assert_eq!(lines(&found), lines(&expected), "v{version} {name}");
            assert!(torn || !found.contains("torn true"), "v{version} {name}");
        }
        let files = fs::read_dir(golden.join(name)).unwrap();
        bytes += files
            .map(|f| f.unwrap().metadata().unwrap().len())
            .sum::<u64>();
    }
    assert!(
        bytes < 100_000,
        "{bytes}: they stay in the repository for ever"
    );
}

#[test]
fn this_version_still_writes_what_its_directories_hold() {
    for (version, name) in DIRECTORIES {
        let dir = tempfile::tempdir().unwrap();
        write(name, dir.path());
        let expected = of_version(version).join(format!("{name}.txt"));
        let expected = fs::read_to_string(expected).unwrap();
        // Byte by byte, for entropy and time are the same each time; but for the
        // hard state: in the older directories no slot has the CRC of the other.
        let golden = of_version(version).join(name);
        let (mut found, mut pinned) = (files(dir.path()), files(&golden));
        assert_ne!(found.remove(HARD_STATE), None);
        assert_ne!(pinned.remove(HARD_STATE), None);
        assert_eq!(newest_version(&found), version, "{name}");
        assert_eq!(found, pinned, "{name}");
        assert_eq!(listing(dir.path()), as_told_today(&expected), "{name}");
    }
}

/// The lists are older than the rule that a snapshot proves what it covers.
fn as_told_today(list: &str) -> String {
    let number = |before: &str| -> Option<u64> {
        let (_, rest) = list.split_once(before)?;
        rest.split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    };
    let proven = number("proven ").expect("each list says it");
    let covered = number("SnapshotMeta { last_index: ").unwrap_or(0);
    let line = format!("proven {proven}\n");
    list.replace(&line, &format!("proven {}\n", proven.max(covered)))
}

/// All files of a directory, by name.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap());
    let named = |file: fs::DirEntry| file.file_name().into_string().unwrap();
    let files = files.map(|file| (fs::read(file.path()).unwrap(), named(file)));
    let files = files.map(|(bytes, name)| (name, bytes));
    files.collect()
}

/// The highest version that a file of a directory names.
fn newest_version(files: &BTreeMap<String, Vec<u8>>) -> u32 {
    let named = files.values().filter_map(|bytes| bytes.get(8..12));
    let versions = named.map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap()));
    versions.max().unwrap_or(1)
}

fn write_golden() {
    for (version, name) in DIRECTORIES {
        let to = of_version(version);
        let golden = to.join(name);
        if golden.exists() {
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        write(name, dir.path());
        fs::create_dir_all(&golden).unwrap();
        for file in fs::read_dir(dir.path()).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), golden.join(file.file_name())).unwrap();
        }
        let listing = listing(copy(&golden).path());
        fs::write(to.join(format!("{name}.txt")), listing).unwrap();
    }
}

/// Says version `VERSION + 1` in one sector, under a right checksum.
fn raise_version(file: &Path, sector: usize) {
    let mut bytes = fs::read(file).unwrap();
    let sector = &mut bytes[sector * SECTOR..][..SECTOR];
    sector[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
    let crc = crc32fast::hash(&sector[..SECTOR - 4]);
    sector[SECTOR - 4..].copy_from_slice(&crc.to_le_bytes());
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_newer_version_is_refused_by_name_and_left_alone() {
    let gap = of_version(1).join("snapshot-gap");
    let hinted = of_version(1).join("commit-hint");
    let newest = segment_of(&gap);
    let newest = newest.file_name().unwrap().to_str().unwrap();
    for (golden, name, sector) in [
        (&gap, "hardstate", 0),
        (&gap, "hardstate", 1),
        (&gap, "snapshot", 0),
        (&gap, newest, 0),
        (&hinted, "commit", 0),
    ] {
        let copy = copy(golden);
        let file = copy.path().join(name);
        raise_version(&file, sector);
        let before = fs::read(&file).unwrap();
        let refused = open(copy.path()).unwrap_err();
        assert!(
            matches!(&refused, Error::Version { path, found, known }
                if *path == file && *found == VERSION + 1 && *known == VERSION),
            "{refused:?}"
        );
        let said = refused.to_string();
        for part in [name, &format!("version {}", VERSION + 1), "newer build"] {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(fs::read(&file).unwrap(), before);
        // The tools say so, and offer no way around it.
        let inspector = Inspector::open(Arc::new(OsReadOnly), copy.path()).unwrap();
        let problems = inspector.verify().unwrap().problems;
        assert!(
            problems[0].what.to_string().contains("version"),
            "{problems:?}"
        );
        assert!(!inspector.propose().unwrap().is_possible());
    }
}
