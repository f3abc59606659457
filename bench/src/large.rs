//! W4 to W6: a large log of 1 KiB entries: appended, opened cold, read warm.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::log::{Log, Payloads, Random, Result, number_of};
use crate::ours::Ours;
use crate::peers::{Commitlog, RaftEngine};
use crate::raw_segments::RawSegments;
use crate::rounds::{interleave, print, timed};

const BYTES: usize = 1 << 10;
const BATCH: usize = 64;
/// Reads by number in a round.
const READS: u64 = 20_000;
const NAMES: [&str; 4] = ["raw_segbuf", "ours", "raft-engine, prefilled", "commitlog"];

pub fn run(name: &str, dir: &Path, rounds: usize, mib: u64) -> Result<()> {
    match name {
        "w4" => append(dir, rounds.min(5), mib),
        "w5" => open(dir, rounds, mib),
        _ => read(dir, rounds.min(9), mib),
    }
}

fn make(who: usize, dir: &Path) -> Result<Box<dyn Log>> {
    Ok(match who {
        0 => Box::new(RawSegments::new(dir)),
        1 => Box::new(Ours::open(dir)?),
        2 => Box::new(RaftEngine::open(dir)?),
        _ => Box::new(Commitlog::open(dir)?),
    })
}

fn fill(log: &dyn Log, mib: u64) -> Result<()> {
    let payloads = Payloads::new(BYTES);
    for first in (1..=mib << 10).step_by(BATCH) {
        log.append(&payloads.batch(first, BATCH))?;
    }
    Ok(())
}

/// W4. Ours is durable a few MiB behind the caller at any time, for it has no
/// way not to sync; the others leave all to the operating system.
fn append(dir: &Path, rounds: usize, mib: u64) -> Result<()> {
    // The first large file after a pause is slow.
    let rows = interleave(&NAMES, 1, rounds, |who| {
        let here = tempfile::tempdir_in(dir)?;
        let log = make(who, here.path())?;
        timed(|| fill(&*log, mib))
    })?;
    let title = format!("W4: {mib} MiB of 1 KiB entries, nobody waits");
    print(&title, "MiB/s", mib as f64, &rows);
    Ok(())
}

/// W5. The base is a scan of every CRC by the bare log.
fn open(dir: &Path, rounds: usize, mib: u64) -> Result<()> {
    let ours = tempfile::tempdir_in(dir)?;
    let log = Ours::open(ours.path())?;
    fill(&log, mib)?;
    // Not closed: the last segment is a prepared one, as after a kill.
    log.sync()?;
    log.close()?;
    let files = files_of(ours.path())?;
    let rows = interleave(&["ours, cold"], 1, rounds, |_| {
        // The files as they were: an open begins a new segment.
        let copy = tempfile::tempdir_in(dir)?;
        for file in &files {
            let name = file.file_name().ok_or("a file without a name")?;
            std::fs::hard_link(file, copy.path().join(name))?;
            forget(file)?;
        }
        timed(|| {
            Ours::just_open(copy.path())?;
            Ok(())
        })
    })?;
    let title = format!("W5: open a log of {mib} MiB, {} files", files.len());
    print(&title, "opens/s", 1.0, &rows);
    Ok(())
}

/// W6.
fn read(dir: &Path, rounds: usize, mib: u64) -> Result<()> {
    let last = mib << 10;
    let dirs: Vec<_> = NAMES
        .iter()
        .map(|_| tempfile::tempdir_in(dir))
        .collect::<std::io::Result<_>>()?;
    let mut logs = Vec::new();
    for (who, dir) in dirs.iter().enumerate() {
        let log = make(who, dir.path())?;
        fill(&*log, mib)?;
        log.sync()?;
        log.scan(last, &mut |_| ())?;
        logs.push(log);
    }
    let rows = interleave(&NAMES, 1, rounds, |who| {
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
    let rows = interleave(&NAMES, 1, rounds, |who| read_some(&*logs[who], &numbers))?;
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

fn files_of(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir)?;
    Ok(entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?)
}

/// Drops the page cache of a file.
fn forget(path: &Path) -> Result<()> {
    let file = File::open(path)?;
    file.sync_all()?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}
