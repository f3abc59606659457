//! How many recoveries a second on one core: build the image that a crash left,
//! open the engine on it, read it back, judge. `cargo bench -p afterimage-sim`.
//!
//! The images are those of a log of ten entries in two segments with a snapshot,
//! well below 64 KiB. Each row leaves one more step out, so that the differences
//! say where the time goes. A figure is the best of many short rounds: the
//! others had the processor taken away.

#![allow(clippy::disallowed_methods)] // A benchmark reads the clock.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use afterimage_engine::store::{Batch, Options, SnapshotSource, Store};
use afterimage_engine::{
    Entry, EntryKind, Env, Event, Host, Index, Membership, NodeId, SnapshotMeta, Step, Term,
};
use afterimage_sim::check::Judges;
use afterimage_sim::disk::{Capture, CrashReport, Fates, Keep, SimFs};
use afterimage_sim::trace::{Contents, Record, What};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DIR: &str = "/raft";
const NODE: NodeId = NodeId(1);
const ENTRIES: u64 = 10;
const ROUNDS: usize = 60;
/// Fates drawn at each crash point.
const FATES: u64 = 30;

/// No two numbers are the same: temporary files are named by them.
#[derive(Debug)]
struct Quiet;

static NUMBERS: AtomicU64 = AtomicU64::new(1);

impl Env for Quiet {
    fn now_ms(&self) -> i64 {
        0
    }

    fn random(&self) -> u64 {
        NUMBERS.fetch_add(1, Ordering::Relaxed)
    }

    fn observe(&self, _: Event) {}
}

fn open(disk: &SimFs) -> Store {
    let host = Host {
        fs: disk.boot(),
        env: Arc::new(Quiet),
    };
    let options = Options {
        segment_bytes: 2048,
        ..Options::default()
    };
    let (store, _) = Store::open(host, Path::new(DIR), options)
        .run()
        .expect("no fault is injected");
    store
}

/// One image, as a choice among what was pending at a moment.
struct Image<'a> {
    capture: &'a Capture,
    keep: Keep,
}

impl Image<'_> {
    fn build(&self) -> SimFs {
        let disk = self.capture.disk.fork();
        disk.power_cut_unreported(&Fates::Explicit(self.keep.clone()));
        disk
    }
}

fn entry(index: u64) -> Entry {
    Entry {
        index: Index(index),
        term: Term(1),
        kind: EntryKind::Command,
        timestamp_ms: 0,
        data: vec![index as u8; 300].into(),
    }
}

fn workload() -> Vec<Capture> {
    let disk = SimFs::new(1);
    disk.capture(true);
    let store = open(&disk);
    let mut writer = store.writer();
    for index in 1..=ENTRIES {
        let batch = Batch {
            hard_state: None,
            entries: vec![entry(index)],
        };
        store.submit(batch).expect("it is open");
        while writer.step().expect("no fault is injected") == Step::Ran {}
    }
    let meta = SnapshotMeta {
        last_index: Index(8),
        last_term: Term(1),
        membership: Membership {
            voters: vec![NODE],
            learners: Vec::new(),
        },
    };
    let state = Box::new(Pages(3));
    store
        .save_snapshot(meta, state)
        .run()
        .expect("no fault is injected");
    let mut cleaner = store.cleaner();
    while cleaner.step().expect("no fault is injected") == Step::Ran {}
    disk.take_captures()
}

/// So many pages of state.
struct Pages(usize);

impl SnapshotSource for Pages {
    fn read(&mut self, out: &mut Vec<u8>, _: usize) -> bool {
        out.resize(out.len() + 4096, 9);
        self.0 -= 1;
        self.0 > 0
    }
}

/// Judges who saw the workload, as far as these images need it.
fn judges() -> Judges {
    let mut judges = Judges::of_a_store();
    let appended = Event::Appended {
        entries: (1..=ENTRIES).map(|index| entry(index).id()).collect(),
    };
    let empty = Contents {
        first_index: Index(1),
        ..Contents::default()
    };
    let before = [
        What::Boot { incarnation: 1 },
        What::Up(empty),
        What::Engine(appended),
    ];
    assert!(agree(&mut judges, before));
    judges
}

fn judged(judges: &Judges, contents: Contents) -> bool {
    let after = [
        What::PowerCut(CrashReport::default()),
        What::Boot { incarnation: 2 },
        What::Up(contents),
    ];
    agree(&mut judges.clone(), after)
}

fn agree(judges: &mut Judges, records: impl IntoIterator<Item = What>) -> bool {
    records.into_iter().all(|what| {
        let record = Record {
            time_us: 0,
            node: Some(NODE),
            what,
        };
        judges.record(&record).is_none()
    })
}

/// Microseconds of one, in the best round.
fn best(images: &[Image<'_>], work: impl Fn(&Image<'_>)) -> f64 {
    let round = || {
        let start = Instant::now();
        images.iter().for_each(&work);
        start.elapsed().as_secs_f64() * 1e6 / images.len() as f64
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

fn main() {
    let captures = workload();
    let images: Vec<Image<'_>> = captures
        .iter()
        .flat_map(|capture| {
            (0..FATES).map(move |seed| {
                let report = capture.disk.fork().power_cut(&Fates::Random(seed));
                Image {
                    capture,
                    keep: report.keep,
                }
            })
        })
        .collect();
    println!("{} images at {} crash points", images.len(), captures.len());
    let row = |what: &str, us: f64| println!("{what:<28}{us:>8.2} us{:>10.0} /s", 1e6 / us);
    row(
        "fork",
        best(&images, |i| drop(black_box(i.capture.disk.fork()))),
    );
    row(
        "build the image",
        best(&images, |i| drop(black_box(i.build()))),
    );
    row(
        "and open",
        best(&images, |i| drop(black_box(open(&i.build())))),
    );
    let read = |i: &Image<'_>| Contents::read(&open(&i.build())).expect("no fault is injected");
    row("and read back", best(&images, |i| drop(black_box(read(i)))));
    let judges = judges();
    row(
        "and judge",
        best(&images, |i| assert!(judged(&judges, read(i)))),
    );
}
