//! The spans and events of a store's life, as a subscriber sees them.

#[path = "support/no_sync.rs"]
mod no_sync;

use std::fmt::{Debug, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use afterimage_engine::store::{Batch, Options, Report, SnapshotSource, Store, Writer};
use afterimage_engine::threads::{SystemEnv, Tracer};
use afterimage_engine::{
    Entry, EntryKind, Error, Host, Index, Membership, SnapshotMeta, Step, Term,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};

use no_sync::no_sync;

/// Writes down what comes, a line each: `+name` and `-name` of a span.
#[derive(Clone, Default)]
struct Notes {
    lines: Arc<Mutex<Vec<String>>>,
    open: Arc<Mutex<Vec<(u64, &'static str)>>>,
    next: Arc<AtomicU64>,
}

#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.0.insert_str(0, &format!("{value:?}")),
            name => write!(self.0, " {name}={value:?}").unwrap(),
        }
    }
}

impl Notes {
    fn say(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }
}

impl Subscriber for Notes {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "afterimage" && *metadata.level() <= Level::DEBUG
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let name = span.metadata().name();
        self.open.lock().unwrap().push((id, name));
        self.say(format!("+{name}"));
        Id::from_u64(id)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        self.say(format!("{} {}", event.metadata().level(), line.0));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
    fn try_close(&self, id: Id) -> bool {
        let mut open = self.open.lock().unwrap();
        if let Some(at) = open.iter().position(|(other, _)| *other == id.into_u64()) {
            let (_, name) = open.remove(at);
            self.say(format!("-{name}"));
        }
        true
    }
}

fn open(broken: &Arc<AtomicBool>, dir: &Path) -> (Store, Report) {
    let env = Arc::new(SystemEnv::unobserved().unwrap());
    let fs = Arc::new(no_sync(broken.clone()));
    let options = Options {
        segment_bytes: 1024,
        ..Options::default()
    };
    let host = Tracer::host(Host { fs, env });
    Store::open(host, dir, options).run().unwrap()
}

fn append(store: &Store, writer: &mut Writer, index: u64) -> Result<(), Error> {
    let entry = Entry {
        index: Index(index),
        term: Term(1),
        kind: EntryKind::Command,
        timestamp_ms: 0,
        data: vec![1; 300].into(),
    };
    store.submit(Batch {
        hard_state: None,
        entries: vec![entry],
    })?;
    while writer.step()? != Step::Idle {}
    Ok(())
}

struct Nothing;

impl SnapshotSource for Nothing {
    fn read(&mut self, _: &mut Vec<u8>, _: usize) -> bool {
        false
    }
}

/// What was noted, without what is different each time.
#[track_caller]
fn check(notes: &Notes, expected: &[&str]) {
    assert_eq!(notes.take(), expected);
}

#[test]
fn a_stores_life_is_told() {
    let notes = Notes::default();
    tracing::subscriber::with_default(notes.clone(), || life(&notes));
}

fn life(notes: &Notes) {
    let dir = tempfile::tempdir().unwrap();
    let broken = Arc::new(AtomicBool::new(false));
    let (store, _) = open(&broken, dir.path());
    check(
        notes,
        &[
            "+recovery",
            "DEBUG no hard state, no log, no snapshot: a new store",
            "INFO recovered first_index=1 last_index=0 proven_index=0 commit_hint=0 term=0",
            "-recovery",
        ],
    );
    let mut writer = store.writer();
    for index in 1..=3 {
        append(&store, &mut writer, index).unwrap();
    }
    check(
        notes,
        &[
            "+roll",
            "DEBUG segment begun base=1 generation=1",
            "-roll",
            // The second append is in it, and of no interest.
            "+roll",
            "DEBUG segment begun base=3 generation=2",
            "-roll",
        ],
    );
    let meta = SnapshotMeta {
        last_index: Index(3),
        last_term: Term(1),
        membership: Membership::default(),
    };
    assert!(store.save_snapshot(meta, Box::new(Nothing)).run().unwrap());
    let mut cleaner = store.cleaner();
    while cleaner.has_work() {
        cleaner.step().unwrap();
    }
    check(
        notes,
        &[
            "+snapshot_save",
            "INFO snapshot saved last_index=3 last_term=1",
            "-snapshot_save",
            "+clean",
            "INFO purged first_index=3 segments=1",
            "-clean",
        ],
    );
    broken.store(true, Ordering::SeqCst);
    assert!(append(&store, &mut writer, 4).is_err());
    let poisoned =
        "ERROR a write or a sync failed: nothing is acknowledged until the store is opened again";
    check(notes, &[poisoned]);
    broken.store(false, Ordering::SeqCst);
    drop((writer, cleaner, store));
    let (store, report) = open(&broken, dir.path());
    let told = notes.take();
    assert_eq!(told.first().map(String::as_str), Some("+recovery"));
    assert!(told.contains(&format!("DEBUG {}", report.decisions[0])));
    let mut writer = store.writer();
    // With the record that was not synced then, the segment is full.
    let next = report.last_index.next().0;
    append(&store, &mut writer, next).unwrap();
    broken.store(true, Ordering::SeqCst);
    assert!(append(&store, &mut writer, next + 1).is_err());
    // A protocol that a failure cut off is not open for ever.
    assert!(notes.open.lock().unwrap().is_empty());
    assert_eq!(notes.take().last().map(String::as_str), Some("-roll"));
}
