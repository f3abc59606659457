//! W7: the last 1,000 entries are replaced; the older half is purged while
//! appends go on.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::large::fill;
use crate::log::{Log, Payload, Payloads, Result};
use crate::ours::Ours;
use crate::peers::RaftEngine;
use crate::raw::{RawZero, zeros};
use crate::rounds::{interleave, print, quantile, timed};
use crate::settings::Settings;

const REPLACED: usize = 1_000;
/// Between two truncations: they come with a new leader. Time to prepare.
const PAUSE: Duration = Duration::from_millis(200);
/// Appends measured at least, with the purge and without.
const APPENDS: usize = 500;
const SEGMENT: u64 = 64 << 20;

pub fn run(settings: &Settings) -> Result<()> {
    truncate(settings)?;
    purge(settings)
}

fn truncate(settings: &Settings) -> Result<()> {
    let dir = tempfile::tempdir_in(&settings.dir)?;
    let place = |name: &str| -> Result<PathBuf> {
        let path = dir.path().join(name);
        std::fs::create_dir(&path)?;
        Ok(path)
    };
    let raw: Box<dyn Log> = Box::new(RawFile::new(&place("raw")?)?);
    let mut logs = vec![
        ("raw, file cut", raw),
        ("ours", Box::new(Ours::open(&place("ours")?)?)),
    ];
    if settings.wants("raft-engine") {
        let engine = RaftEngine::open(&place("raft-engine")?)?.past_the_first_file()?;
        logs.push(("raft-engine, prefilled", Box::new(engine)));
    }
    let names: Vec<_> = logs.iter().map(|(name, _)| *name).collect();
    let payloads = Payloads::new(1 << 10);
    let rows = interleave(&names, 2, settings.rounds, |who| {
        let log = &*logs[who].1;
        log.append_durable(0, &payloads.batch(1, REPLACED))?;
        std::thread::sleep(PAUSE);
        let entry = payloads.get(2);
        timed(|| log.replace_last(REPLACED, &entry))
    })?;
    let title = format!("W7: the last {REPLACED} entries replaced by another one");
    print(&title, "times/s", 1.0, &rows);
    Ok(())
}

/// A file that is cut and synced.
struct RawFile {
    file: File,
    len: Mutex<u64>,
}

impl RawFile {
    fn new(dir: &Path) -> Result<Self> {
        Ok(RawFile {
            file: File::create_new(dir.join("raw"))?,
            len: Mutex::new(0),
        })
    }

    fn write(&self, from: u64, entries: &[Payload]) -> Result<()> {
        let bytes = entries.concat();
        self.file.write_all_at(&bytes, from)?;
        self.file.sync_data()?;
        *self.len.lock().unwrap_or_else(PoisonError::into_inner) = from + bytes.len() as u64;
        Ok(())
    }

    fn len(&self) -> u64 {
        *self.len.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for RawFile {
    fn append_durable(&self, _writer: usize, entries: &[Payload]) -> Result<()> {
        self.write(self.len(), entries)
    }

    fn replace_last(&self, count: usize, entry: &Payload) -> Result<()> {
        let from = self.len() - (count * entry.len()) as u64;
        self.file.set_len(from)?;
        self.write(from, std::slice::from_ref(entry))
    }
}

/// How long each append took in seconds, without a purge and during one: a list
/// for each round.
#[derive(Default)]
struct Latencies {
    quiet: Vec<Vec<f64>>,
    during: Vec<Vec<f64>>,
}

impl Latencies {
    fn print(&self, name: &str) {
        let line =
            |rounds: &[Vec<f64>]| [0.5, 0.99, 1.0].map(|q| 1e6 * quantile(&rounds.concat(), q));
        let ([a, b, c], [d, e, f]) = (line(&self.quiet), line(&self.during));
        println!("  {name:<22} {a:>8.0}{b:>8.0}{c:>8.0} |      {d:>8.0}{e:>8.0}{f:>8.0}");
    }

    /// How much the p99 rises, and that against the median of an append (which
    /// is one sync): within each round, as all ratios.
    fn print_rise(&self, name: &str) {
        let rounds = self.quiet.iter().zip(&self.during);
        let rises: Vec<_> = rounds
            .map(|(quiet, during)| {
                let rise = quantile(during, 0.99) - quantile(quiet, 0.99);
                (1e6 * rise, rise / quantile(quiet, 0.5))
            })
            .collect();
        let (us, syncs): (Vec<_>, Vec<_>) = rises.into_iter().unzip();
        let [a, b, c] = [0.25, 0.5, 0.75].map(|q| quantile(&us, q));
        let [d, e, f] = [0.25, 0.5, 0.75].map(|q| quantile(&syncs, q));
        println!("  {name:<22} {b:>8.0} us ({a:.0}..{c:.0}); {e:.1} syncs ({d:.1}..{f:.1})");
    }
}

fn purge(settings: &Settings) -> Result<()> {
    let names = ["raw, files unlinked", "ours"];
    let mut latencies = [Latencies::default(), Latencies::default()];
    let rows = interleave(&names, 1, settings.rounds.min(7), |who| {
        let here = tempfile::tempdir_in(&settings.dir)?;
        let dir = here.path();
        let seen = &mut latencies[who];
        if who == 0 {
            let old: Vec<_> = (0..(settings.mib << 20) / SEGMENT / 2)
                .map(|n| dir.join(n.to_string()))
                .collect();
            for path in &old {
                zeros(path, SEGMENT)?;
            }
            let log = RawZero::new(dir, 0)?;
            return measured(&log, seen, || unlink(dir, &old));
        }
        let log = Ours::open(dir)?;
        fill(&log, settings.mib)?;
        log.sync()?;
        // Perhaps the first of a segment: what that brings with it is no purge's doing.
        log.append_durable(0, &Payloads::new(256).batch(1, 1))?;
        log.wait_until_prepared();
        let took = measured(&log, seen, || log.purge(settings.mib << 9))?;
        log.close()?;
        Ok(took)
    })?;
    let title = format!(
        "W7: half of {} MiB purged while appends go on",
        settings.mib
    );
    print(&title, "times/s", 1.0, &rows);
    println!("  each append of 256 B, in us   p50     p99     max | during: p50     p99     max");
    for (name, seen) in names.iter().zip(&latencies) {
        seen.print(name);
    }
    println!("  the p99 rises within a round by: median (quartiles)");
    for (name, seen) in names.iter().zip(&latencies) {
        seen.print_rise(name);
    }
    Ok(())
}

fn unlink(dir: &Path, files: &[PathBuf]) -> Result<()> {
    files.iter().try_for_each(std::fs::remove_file)?;
    Ok(File::open(dir)?.sync_all()?)
}

/// The time of the purge.
fn measured(
    log: &dyn Log,
    seen: &mut Latencies,
    purge: impl FnOnce() -> Result<()> + Send,
) -> Result<Duration> {
    let payloads = Payloads::new(256);
    let append = |into: &mut Vec<f64>| -> Result<()> {
        let batch = payloads.batch(1, 1);
        let start = Instant::now();
        log.append_durable(0, &batch)?;
        into.push(start.elapsed().as_secs_f64());
        Ok(())
    };
    // What the filling left to do is done first.
    std::thread::sleep(PAUSE);
    let (mut quiet, mut during) = (Vec::new(), Vec::new());
    for _ in 0..APPENDS {
        append(&mut quiet)?;
    }
    let is_over = AtomicBool::new(false);
    let took = std::thread::scope(|scope| {
        let purging = scope.spawn(|| {
            let took = timed(purge);
            is_over.store(true, Ordering::Relaxed);
            took
        });
        while !is_over.load(Ordering::Relaxed) {
            append(&mut during)?;
        }
        purging.join().map_err(|_| "the purge panicked")?
    })?;
    seen.quiet.push(quiet);
    seen.during.push(during);
    Ok(took)
}
