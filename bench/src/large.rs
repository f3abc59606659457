//! W4 and W6: a large log of 1 KiB entries, appended and read warm.

use std::path::Path;
use std::time::Duration;

use crate::log::{Log, Payloads, Random, Result, number_of};
use crate::memory::{peak_growth, touch};
use crate::ours::Ours;
use crate::peers::{Commitlog, RaftEngine};
use crate::raw_segments::RawSegments;
use crate::rounds::{interleave, print, timed};
use crate::settings::Settings;

const BYTES: usize = 1 << 10;
const BATCH: usize = 64;
/// Reads by number in a round.
const READS: u64 = 20_000;
const SYNCED: &str = "raw_segbuf, synced";
const UNSYNCED: &str = "ours, unsynced";
const NAMES: [&str; 4] = ["raw_segbuf", "ours", "raft-engine, prefilled", "commitlog"];

pub fn run(name: &str, settings: &Settings) -> Result<()> {
    match name {
        "w4" => append(settings, settings.rounds.min(15)),
        _ => read(settings, settings.rounds.min(9)),
    }
}

fn make(name: &str, dir: &Path) -> Result<Box<dyn Log>> {
    Ok(match name {
        SYNCED => Box::new(RawSegments::synced(dir)),
        "ours" => Box::new(Ours::open(dir)?),
        UNSYNCED => Box::new(Ours::unsynced(dir)?),
        "raft-engine, prefilled" => Box::new(RaftEngine::open(dir)?),
        "commitlog" => Box::new(Commitlog::open(dir)?),
        _ => Box::new(RawSegments::new(dir)),
    })
}

/// The first one always, for the ratio; of the others those that are wanted.
fn names(settings: &Settings, names: &[&'static str]) -> Vec<&'static str> {
    let wanted = |name: &&&str| **name == names[0] || settings.wants(name);
    names.iter().filter(wanted).copied().collect()
}

pub fn fill(log: &dyn Log, mib: u64) -> Result<()> {
    let payloads = Payloads::new(BYTES);
    for first in (1..=mib << 10).step_by(BATCH) {
        log.append(&payloads.batch(first, BATCH))?;
    }
    Ok(())
}

/// W4. Unsynced, ours leaves all to the operating system, as the others do. Else it
/// syncs what it wrote before it goes on, some MiB behind the caller: `raw_segbuf,
/// synced` shows what that costs by itself.
fn append(settings: &Settings, rounds: usize) -> Result<()> {
    let mib = settings.mib;
    let mut all = NAMES.to_vec();
    all.extend([UNSYNCED, SYNCED]);
    let names = names(settings, &all);
    let mut peaks = vec![0; names.len()];
    // The first large file after a pause is slow.
    let rows = interleave(&names, 1, rounds, |who| {
        // What the one before left to the disk, and its files' blocks, are not this one's.
        rustix::fs::sync();
        touch(2 * mib)?;
        let here = tempfile::tempdir_in(&settings.dir)?;
        let log = make(names[who], here.path())?;
        let (took, grown) = peak_growth(|| {
            timed(|| {
                fill(&*log, mib)?;
                log.write_out()
            })
        })?;
        peaks[who] = grown.max(peaks[who]);
        Ok(took)
    })?;
    let title = format!("W4: {mib} MiB of 1 KiB entries, nobody waits");
    print(&title, "MiB/s", mib as f64, &rows);
    for (name, peak) in names.iter().zip(peaks) {
        println!(
            "  {name:<26} {:>8.0} MiB of memory at the most",
            peak as f64 / 1024.0
        );
    }
    Ok(())
}

/// W6.
fn read(settings: &Settings, rounds: usize) -> Result<()> {
    let mib = settings.mib;
    let last = mib << 10;
    let names = names(settings, &NAMES);
    let dirs: Vec<_> = names
        .iter()
        .map(|_| tempfile::tempdir_in(&settings.dir))
        .collect::<std::io::Result<_>>()?;
    let mut logs = Vec::new();
    for (who, dir) in dirs.iter().enumerate() {
        let log = make(names[who], dir.path())?;
        fill(&*log, mib)?;
        log.sync()?;
        log.scan(last, &mut |_| ())?;
        logs.push(log);
    }
    let rows = interleave(&names, 1, rounds, |who| {
        let mut expected = 1;
        let took = timed(|| {
            logs[who].scan(last, &mut |data| {
                assert_eq!(number_of(data), expected);
                expected += 1;
            })
        })?;
        assert_eq!(expected, last + 1);
        Ok(took)
    })?;
    print(
        "W6: scan, warm, every CRC checked",
        "MiB/s",
        mib as f64,
        &rows,
    );
    let mut random = Random(0x1234_5678_9abc_def1);
    let numbers: Vec<u64> = (0..READS).map(|_| 1 + random.next() % last).collect();
    let rows = interleave(&names, 1, rounds, |who| read_some(&*logs[who], &numbers))?;
    print("W6: read by index, warm", "reads/s", READS as f64, &rows);
    Ok(())
}

fn read_some(log: &dyn Log, numbers: &[u64]) -> Result<Duration> {
    timed(|| {
        for &number in numbers {
            log.read(number, &mut |data| assert_eq!(number_of(data), number))?;
        }
        Ok(())
    })
}
