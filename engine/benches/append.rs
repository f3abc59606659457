//! What durability costs beyond the disk: appends of 256 bytes on the real
//! filesystem, against the same bytes written and synced by a bare loop.
//!
//! ```text
//! cargo bench -p afterimage-engine [-- DIR]
//! ```
//!
//! A disk's speed changes from second to second, so the contestants take turns
//! in short rounds, and what counts is the ratio within a round; its median is
//! shown. `DIR` should be on the disk to measure: a tmpfs syncs nothing. The
//! machine should be idle: with every core busy each sync waits for a turn of
//! the scheduler, and the ratios say nothing.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use afterimage_engine::fs::OsFs;
use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Batch, Cleaner, Options, Preparer, Store, Writer};
use afterimage_engine::threads::{SystemEnv, Threads};
use afterimage_engine::{Entry, EntryKind, Host, Step, Term};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Data of one entry.
const BYTES: usize = 256;
/// A record around it, as the format has it: header, data, CRC, padding.
const FRAME: usize = (40 + BYTES + 4).next_multiple_of(8);
/// Rounds measured, after some that are not: at first nothing is prepared.
const ROUNDS: usize = 21;
const ROUNDS_UNMEASURED: usize = 3;
/// Small enough that rolls are part of what is measured.
const SEGMENT_BYTES: u64 = 8 << 20;

/// Entries that become durable together, and how often in a round.
const WORKLOADS: [(usize, usize); 2] = [(1, 500), (64, 100)];

fn main() -> Result<()> {
    // Cargo itself passes `--bench`.
    let dir = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let dir = dir.as_deref().unwrap_or(env!("CARGO_TARGET_TMPDIR"));
    println!("entries of {BYTES} B in {dir}, medians of {ROUNDS} interleaved rounds");
    for (batch, times) in WORKLOADS {
        let here = tempfile::tempdir_in(dir)?;
        compare(here.path(), batch, times)?;
    }
    Ok(())
}

fn compare(dir: &Path, batch: usize, times: usize) -> Result<()> {
    let mut raw = Raw::new(&dir.join("raw"), batch, times)?;
    let mut stepped = Stepped::new(&dir.join("stepped"))?;
    let mut threads = Threaded::new(&dir.join("threads"))?;
    let names = [
        "write + fdatasync into zeros",
        "store, stepped by the caller",
        "store on its own threads",
    ];
    let contestants: [&mut dyn Contestant; 3] = [&mut raw, &mut stepped, &mut threads];
    let mut took = [(); 3].map(|()| Vec::new());
    for round in 0..ROUNDS_UNMEASURED + ROUNDS {
        for turn in 0..contestants.len() {
            // Who begins changes: the first one pays for what came before.
            let who = (round + turn) % contestants.len();
            let time = contestants[who].round(batch, times)?;
            if round >= ROUNDS_UNMEASURED {
                took[who].push(time);
            }
        }
    }
    threads.close()?;

    println!("\n{batch} a sync:{:>34} {:>7}", "entries/s", "ratio");
    for (who, name) in names.into_iter().enumerate() {
        let entries = (batch * times) as f64;
        let rates = took[who].iter().map(|time| entries / time.as_secs_f64());
        let ratios = took[who]
            .iter()
            .zip(&took[0])
            .map(|(mine, raw)| raw.as_secs_f64() / mine.as_secs_f64());
        println!(
            "  {name:<30} {:>10.0} {:>7.2}",
            median(rates),
            median(ratios)
        );
    }
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

trait Contestant {
    /// Makes `batch` entries durable, `times` in a row; how long that took.
    fn round(&mut self, batch: usize, times: usize) -> Result<Duration>;
}

#[allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

/// A bare loop over a file that was filled with zeros and synced before, which
/// is the cheapest place to sync to.
struct Raw {
    file: File,
    at: u64,
}

impl Raw {
    #[allow(clippy::disallowed_methods, reason = "the baseline is the bare file")]
    fn new(path: &Path, batch: usize, times: usize) -> Result<Self> {
        let file = File::create(path)?;
        let round = vec![0; batch * times * FRAME];
        for n in 0..ROUNDS_UNMEASURED + ROUNDS {
            file.write_all_at(&round, (n * round.len()) as u64)?;
        }
        file.sync_all()?;
        Ok(Raw { file, at: 0 })
    }
}

impl Contestant for Raw {
    fn round(&mut self, batch: usize, times: usize) -> Result<Duration> {
        let bytes = vec![7; batch * FRAME];
        timed(|| {
            for _ in 0..times {
                self.file.write_all_at(&bytes, self.at)?;
                self.file.sync_data()?;
                self.at += bytes.len() as u64;
            }
            Ok(())
        })
    }
}

fn open(dir: &Path) -> Result<Store> {
    let host = Host {
        fs: Arc::new(OsFs),
        env: Arc::new(SystemEnv::unobserved()?),
    };
    let options = Options {
        segment_bytes: SEGMENT_BYTES,
        ..Options::default()
    };
    Ok(Store::open(host, dir, options).run()?.0)
}

fn next_batch(store: &Store, entries: usize) -> Batch {
    let data: Arc<[u8]> = [7; BYTES].into();
    let mut index = store.last_index();
    let entry = |_| {
        index = index.next();
        Entry {
            index,
            term: Term(1),
            kind: EntryKind::Command,
            timestamp_ms: 0,
            data: data.clone(),
        }
    };
    Batch {
        hard_state: None,
        entries: (0..entries).map(entry).collect(),
    }
}

/// The store's jobs run on the caller's thread: what the format and the
/// bookkeeping cost, without threads.
struct Stepped {
    store: Store,
    writer: Writer,
    preparer: Preparer,
    cleaner: Cleaner,
}

impl Stepped {
    fn new(dir: &Path) -> Result<Self> {
        let store = open(dir)?;
        Ok(Stepped {
            writer: store.writer(),
            preparer: store.preparer(),
            cleaner: store.cleaner(),
            store,
        })
    }
}

impl Contestant for Stepped {
    fn round(&mut self, batch: usize, times: usize) -> Result<Duration> {
        // What a background thread does while nobody waits.
        while self.preparer.step()? == Step::Ran {}
        while self.cleaner.step()? == Step::Ran {}
        timed(|| {
            for _ in 0..times {
                let ticket = self.store.submit(next_batch(&self.store, batch))?;
                while self.store.persisted() < ticket {
                    assert_eq!(self.writer.step()?, Step::Ran, "there is space");
                }
            }
            Ok(())
        })
    }
}

/// The production host: one caller that waits for each batch.
struct Threaded {
    threads: Threads,
}

impl Threaded {
    fn new(dir: &Path) -> Result<Self> {
        Ok(Threaded {
            threads: Threads::start(open(dir)?)?,
        })
    }
    fn close(self) -> Result<()> {
        Ok(self.threads.close()?)
    }
}

impl Contestant for Threaded {
    fn round(&mut self, batch: usize, times: usize) -> Result<Duration> {
        timed(|| {
            for _ in 0..times {
                let batch = next_batch(self.threads.store(), batch);
                self.threads.wait(self.threads.append(batch)?)?;
            }
            Ok(())
        })
    }
}
