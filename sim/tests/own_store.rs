//! How somebody else's store is explored: a small key-value store of one file a
//! key. Its first version forgets two syncs, and the explorer shows each.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use afterimage_sim::explore::{Acks, Explore, Explored, Level, Outcome};
use afterimage_sim::fs::{FileExt, Fs, FsExt, SyncMode};

/// A value a file, replaced by renaming a new one over it.
struct Kv {
    fs: Arc<dyn Fs>,
    syncs: Syncs,
}

/// Which syncs the store remembers.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Syncs {
    None,
    /// The file's, before the rename.
    File,
    /// The directory's as well, after it.
    FileAndName,
}

impl Kv {
    fn put(&self, key: &str, value: &str) -> io::Result<()> {
        let tmp = PathBuf::from(format!("{key}.tmp"));
        let file = match self.fs.create_new(&tmp) {
            // What a crash left of an earlier try.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                self.fs.unlink(&tmp)?;
                self.fs.create_new(&tmp)?
            }
            file => file?,
        };
        file.write_all_at(value.as_bytes(), 0)?;
        if self.syncs >= Syncs::File {
            file.sync(SyncMode::Data)?;
        }
        self.fs.rename(&tmp, Path::new(key))?;
        if self.syncs >= Syncs::FileAndName {
            self.fs.sync_dir(Path::new("."))?;
        }
        Ok(())
    }

    fn get(&self, key: &str) -> io::Result<Option<String>> {
        match self.fs.read(Path::new(key)) {
            Ok(value) => Ok(Some(String::from_utf8_lossy(&value).into_owned())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}

const VALUES: [&str; 3] = ["one", "two", "three"];

fn fill(fs: Arc<dyn Fs>, syncs: Syncs, acks: &Acks<&'static str>) -> Outcome {
    let kv = Kv { fs, syncs };
    for value in VALUES {
        kv.put("key", value)?;
        acks.ack(value);
    }
    Ok(())
}

/// The last value that was acknowledged, or a newer one.
fn check(fs: Arc<dyn Fs>, acked: &[&str]) -> Outcome {
    let syncs = Syncs::FileAndName;
    let kv = Kv { fs, syncs };
    let found = kv.get("key")?;
    let possible = &VALUES[acked.len().saturating_sub(1)..];
    let nothing_acked = acked.is_empty() && found.is_none();
    if !nothing_acked && !possible.iter().any(|v| found.as_deref() == Some(*v)) {
        return Err(format!("acknowledged {:?}, found {found:?}", acked.last()).into());
    }
    // It goes on from there.
    kv.put("key", VALUES[2])?;
    Ok(())
}

fn explore(syncs: Syncs) -> Explored {
    Explore::new()
        .level(Level::All)
        .run(|fs, acks| fill(fs, syncs, acks), check)
}

#[track_caller]
fn failure(explored: Explored) -> String {
    explored.failure.expect("it forgets a sync").to_string()
}

#[test]
fn a_rename_without_syncs_loses_what_was_acknowledged() {
    insta::assert_snapshot!(failure(explore(Syncs::None)), @r#"
    acknowledged Some("one"), found None
      .1   create     key.tmp
      .2   write      key.tmp @0+3
      .3   rename     key.tmp -> key
      ack             "one"
      .4   create     key.tmp  CRASH before
      CRASH           lost=4 kept=0
           lost  .1    create        key.tmp
           lost  .2    sector 0      key @0+3 nameless
           lost  .2    size          key 0 -> 3 nameless
           lost  .3    rename        key.tmp -> key
      check
      FAIL            acknowledged Some("one"), found None
    see it again: AFTERIMAGE_REPLAY='4:none' cargo test a_rename_without_syncs_loses_what_was_acknowledged
    "#);
}

#[test]
fn a_rename_is_not_durable_by_itself() {
    insta::assert_snapshot!(failure(explore(Syncs::File)), @r#"
    acknowledged Some("one"), found None
      .1   create     key.tmp
      .2   write      key.tmp @0+3
      .3   sync       key.tmp
      .4   rename     key.tmp -> key
      ack             "one"
      .5   create     key.tmp  CRASH before
      CRASH           lost=2 kept=0
           lost  .1    create        key.tmp
           lost  .4    rename        key.tmp -> key
      check
      FAIL            acknowledged Some("one"), found None
    see it again: AFTERIMAGE_REPLAY='5:none' cargo test a_rename_is_not_durable_by_itself
    "#);
}

#[test]
fn with_both_syncs_nothing_is_lost() {
    let explored = explore(Syncs::FileAndName);
    explored.assert();
    // It was tried: at each of 14 operations, and in each recovery.
    assert!(explored.counts.recoveries > 100, "{:?}", explored.counts);
}

#[test]
fn chance_finds_it_too() {
    let run = |syncs| {
        let workload = move |fs: Arc<dyn Fs>, acks: &Acks<_>| fill(fs, syncs, acks);
        Explore::new().run_seeds(500, workload, check)
    };
    assert!(run(Syncs::None).failure.is_some());
    assert!(run(Syncs::File).failure.is_some());
    run(Syncs::FileAndName).assert();
}

#[test]
fn a_workload_that_fails_or_panics_is_told() {
    let explored = Explore::new().run(
        |fs, _: &Acks<u8>| {
            fs.open(Path::new("nothing"))?;
            Ok(())
        },
        |_, _| Ok(()),
    );
    let failure = explored.failure.expect("it fails");
    assert!(failure.what.contains("before any crash"), "{failure}");

    let explored = Explore::new().run(
        |fs, _: &Acks<u8>| {
            fs.create_new(Path::new("file"))?;
            Ok(())
        },
        |fs, _| match fs.open(Path::new("file")) {
            Ok(_) => panic!("it is there"),
            Err(_) => Ok(()),
        },
    );
    let failure = explored.failure.expect("the check panics");
    assert!(failure.what.contains("it is there"), "{failure}");
}

/// The counts and the failure are the same for any number of threads.
#[test]
fn threads_change_nothing() {
    let run = |jobs| {
        let explored = Explore::new()
            .jobs(jobs)
            .run(|fs, acks| fill(fs, Syncs::File, acks), check);
        (explored.counts, failure(explored))
    };
    assert_eq!(run(1), run(3));
}
