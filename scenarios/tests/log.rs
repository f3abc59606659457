//! `log dump|verify|repair` from outside, on real directories.
#![cfg(madsim)]
#![allow(clippy::disallowed_methods, reason = "a test's own files are real")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use afterimage_engine::fs::{Fs, OsFs};
use afterimage_engine::store::{Batch, Options, Store};
use afterimage_engine::threads::SystemEnv;
use afterimage_engine::{Entry, EntryKind, HardState, Host, Index, NodeId, Step, Term};
use serde_json::Value;
use tempfile::TempDir;

const ENTRIES: u64 = 40;

/// Held while a directory's lock is, and while a process begins: between its fork
/// and its exec it has whatever files this one has open, and so holds their locks.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A log in several segments, in `log` of a directory of its own.
struct Rig(TempDir);

impl Rig {
    fn new() -> Self {
        let rig = Rig(tempfile::tempdir().expect("a directory"));
        let host = Host {
            fs: Arc::new(OsFs),
            env: Arc::new(SystemEnv::unobserved().expect("entropy")),
        };
        let options = Options {
            segment_bytes: 2000,
            ..Options::default()
        };
        let alone = alone();
        let (store, _) = Store::open(host, &rig.dir(), options).run().expect("opens");
        let mut writer = store.writer();
        for index in 1..=ENTRIES {
            let term = Term(1 + index / 20);
            let entry = Entry {
                index: Index(index),
                term,
                kind: EntryKind::Command,
                timestamp_ms: 0,
                data: vec![index as u8; 100].into(),
            };
            let hard_state = Some(HardState {
                term,
                vote: Some(NodeId(2)),
            });
            let entries = vec![entry];
            store
                .submit(Batch {
                    hard_state,
                    entries,
                })
                .expect("it fits");
            while writer.step().expect("the disk is well") == Step::Ran {}
        }
        drop((writer, store, alone));
        rig
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("log")
    }

    /// Runs in the directory above the log.
    fn run(&self, line: &str) -> Output {
        let alone = alone();
        let child = Command::new(env!("CARGO_BIN_EXE_afterimage"))
            .args(line.split_whitespace())
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        drop(alone);
        child.wait_with_output().expect("it ends")
    }

    #[track_caller]
    fn json(&self, line: &str, status: i32) -> Value {
        let output = self.run(&format!("{line} --json -"));
        assert_eq!(output.status.code(), Some(status), "{line}: {output:?}");
        serde_json::from_slice(&output.stdout).expect("standard output is JSON alone")
    }

    /// Content of the files, but for the lock.
    fn files(&self, dir: &str) -> BTreeMap<String, Vec<u8>> {
        let names = fs::read_dir(self.0.path().join(dir)).expect("a directory");
        let names = names.map(|entry| entry.expect("a name").path());
        names
            .filter(|path| !path.ends_with("LOCK"))
            .map(|path| {
                let name = path.file_name().expect("a name").to_string_lossy();
                (name.into_owned(), fs::read(&path).expect("readable"))
            })
            .collect()
    }

    /// The segment at this place in the order of bases.
    fn segment(&self, at: usize) -> String {
        let names = self.files("log").into_keys();
        names
            .filter(|name| name.ends_with(".seg"))
            .nth(at)
            .expect("a segment")
    }

    fn flip(&self, name: &str, at: u64) {
        let path = self.dir().join(name);
        let mut bytes = fs::read(&path).expect("readable");
        bytes[at as usize] ^= 0x10;
        fs::write(&path, bytes).expect("written");
    }
}

#[track_caller]
fn refused(output: &Output, expected: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.contains(expected), "{told}");
}

#[test]
fn a_dump_has_everything_in_text_and_in_one_document() {
    let rig = Rig::new();
    let before = rig.files("log");
    let dump = rig.json("log dump log", 0);
    let slots = dump["hard_state"].as_array().expect("slots");
    assert_eq!(slots.len(), 2);
    let counts = slots.iter().find(|slot| slot["counts"] == true);
    assert_eq!(counts.expect("one of them")["vote"], 2);
    assert_eq!(dump["snapshot"], Value::Null);
    let segments = dump["segments"].as_array().expect("segments");
    assert!(segments.len() > 2, "{dump}");
    let records = segments
        .iter()
        .flat_map(|s| s["records"].as_array().expect("records"));
    let indexes: Vec<_> = records
        .filter(|record| record["what"] == "record")
        .map(|record| record["index"].as_u64().expect("a number"))
        .collect();
    assert_eq!(indexes, (1..=ENTRIES).collect::<Vec<_>>());
    assert_eq!(segments[0]["base"], 1);
    assert_eq!(segments[0]["until"], segments[1]["base"]);

    let text = rig.run("log dump log");
    assert_eq!(text.status.code(), Some(0));
    let text = String::from_utf8(text.stdout).expect("text");
    assert!(text.contains(&rig.segment(1)), "{text}");
    assert!(text.lines().count() > ENTRIES as usize, "{text}");
    assert_eq!(rig.files("log"), before);
}

#[test]
fn what_is_wrong_is_named_and_mended_after_a_backup() {
    let rig = Rig::new();
    let clean = rig.json("log verify log", 0);
    assert_eq!(clean["clean"], true);
    assert_eq!(clean["last_index"], ENTRIES);
    assert_eq!(clean["records"], ENTRIES);

    // The second record of the second segment: 512 + 144 + some of its data.
    let name = rig.segment(1);
    rig.flip(&name, 512 + 144 + 60);
    let before = rig.files("log");
    let report = rig.json("log verify log", 1);
    let problem = &report["problems"][0];
    let file = problem["file"].as_str().expect("a path");
    assert!(file.ends_with(&name), "{problem}");
    assert_eq!(problem["offset"], 512 + 144);
    assert_eq!(problem["effect"], "lurks");
    assert!(
        problem["remedy"]
            .as_str()
            .is_some_and(|r| r.contains("backup"))
    );

    let proposal = rig.json("log repair log", 1);
    let first_lost = proposal["loss"]["from"].as_u64().expect("a loss");
    assert_eq!(proposal["done"], false);
    assert_eq!(proposal["loss"]["to"], ENTRIES);
    assert_eq!(proposal["actions"][0]["before"], first_lost);
    assert_eq!(
        rig.files("log"),
        before,
        "it changed something without --yes"
    );
    let text = rig.run("log repair log");
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    for part in ["may have been acknowledged", "nothing was changed", "--yes"] {
        assert!(text.contains(part), "{text}");
    }

    let done = rig.json("log repair log --yes", 0);
    assert_eq!(done["done"], true);
    assert_eq!(done["after"]["clean"], true);
    assert_eq!(done["after"]["last_index"], first_lost - 1);
    assert_eq!(rig.files("log.before-repair"), before);
    let backup = done["backup"].as_str().expect("a path");
    assert!(backup.ends_with("log.before-repair"), "{backup}");
    assert_eq!(rig.json("log verify log", 0)["last_index"], first_lost - 1);
    // Nothing is left to do, and the backup is not touched.
    assert_eq!(
        rig.json("log repair log --yes", 0)["actions"],
        Value::Array(Vec::new())
    );

    rig.flip(&rig.segment(0), 600);
    let before = rig.files("log");
    refused(
        &rig.run("log repair log --yes --json x"),
        "log.before-repair",
    );
    assert_eq!(rig.files("log"), before, "there was no backup of this");
}

#[test]
fn what_cannot_be_mended_is_left_alone() {
    let rig = Rig::new();
    rig.flip("hardstate", 3);
    rig.flip("hardstate", 600);
    let before = rig.files("log");
    let report = rig.json("log verify log", 1);
    assert_eq!(report["opens"], false);
    let report = rig.json("log repair log --yes", 1);
    assert_eq!(report["possible"], false);
    assert_eq!(report["done"], false);
    assert_eq!(rig.files("log"), before);
    assert!(!rig.0.path().join("log.before-repair").exists());
}

#[test]
fn a_directory_that_is_held_or_is_none_is_status_2() {
    let rig = Rig::new();
    let me = format!("process {}", std::process::id());
    let lock = OsFs.lock(&rig.dir().join("LOCK")).expect("it is free");
    for line in [
        "log dump log",
        "log verify log",
        "log repair log",
        "log repair log --yes",
    ] {
        refused(&rig.run(line), &me);
    }
    drop(lock);
    fs::create_dir(rig.0.path().join("empty")).expect("created");
    for line in [
        "log dump empty",
        "log verify empty",
        "log repair empty --yes",
    ] {
        refused(&rig.run(line), "not a log directory");
    }
    refused(&rig.run("log verify nowhere"), "nowhere");
    refused(&rig.run("log verify"), "DIR");
    assert!(
        is_empty(&rig.0.path().join("empty")),
        "not even a lock file"
    );
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).expect("a directory").next().is_none()
}
