//! W5: a large log is opened cold, in a process of its own; and read as a whole
//! by `verify`, against a bare scan of the same files.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use afterimage_engine::fs::OsReadOnly;
use afterimage_engine::inspect::Inspector;

use crate::large::fill;
use crate::log::{Log, Payloads, Result};
use crate::memory::peak_kib;
use crate::ours::Ours;
use crate::rounds::{interleave, print, timed};
use crate::settings::Settings;

const CHILD: &str = "--open-and-leave";
/// Entries in the last segment: half of it.
const MORE: usize = 16 << 10;
/// Read at once by the bare scan.
const READ: usize = 1 << 20;

/// A log as a kill leaves it, and its files.
struct Large {
    dir: tempfile::TempDir,
    files: Vec<PathBuf>,
    records: u64,
}

impl Large {
    fn new(settings: &Settings) -> Result<Self> {
        let dir = tempfile::tempdir_in(&settings.dir)?;
        let log = Ours::open(dir.path())?;
        fill(&log, settings.mib)?;
        log.sync()?;
        log.close()?;
        // As in service: the last segment was prepared, is half full, and its
        // records are proven but for the last. (What a bulk load leaves unproven
        // is written again by an open, up to a group of 8 MiB, into a segment
        // that was not prepared.)
        let log = Ours::open(dir.path())?;
        let payloads = Payloads::new(1 << 10);
        let mut number = 0;
        let mut append = |batch: usize| -> Result<()> {
            log.append_durable(0, &payloads.batch(number, batch))?;
            number += batch as u64;
            Ok(())
        };
        append(1)?;
        let before = segments(dir.path())?;
        while segments(dir.path())? == before {
            append(MORE / 16)?;
        }
        for batch in [vec![MORE / 16; 15], vec![1; 100]].concat() {
            append(batch)?;
        }
        // Closing leaves it so, with the next one prepared.
        log.close()?;
        let mut files = std::fs::read_dir(dir.path())?
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<Vec<_>>>()?;
        files.sort();
        let records = (settings.mib << 10) + number;
        Ok(Large {
            dir,
            files,
            records,
        })
    }

    fn forget(&self) -> Result<()> {
        for path in &self.files {
            let file = File::open(path)?;
            file.sync_all()?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
        // Names and inodes, if that is allowed; not other people's pages.
        let _ = std::fs::write("/proc/sys/vm/drop_caches", "2");
        Ok(())
    }
}

/// As a link; what an open removes, for its space, as a copy that is durable.
fn copy_file(file: &Path, into: &Path) -> Result<()> {
    let to = into.join(file.file_name().ok_or("a file without a name")?);
    if file.extension().is_some_and(|end| end == "tmp") {
        std::fs::copy(file, &to)?;
        File::open(to)?.sync_all()?;
    } else {
        std::fs::hard_link(file, to)?;
    }
    Ok(())
}

fn segments(dir: &Path) -> Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(dir)? {
        count += usize::from(entry?.path().extension().is_some_and(|end| end == "seg"));
    }
    Ok(count)
}

/// W5.
pub fn run(settings: &Settings) -> Result<()> {
    let large = Large::new(settings)?;
    let mut peak = 0;
    let names = ["ours, cold", "ours, warm"];
    let rows = interleave(&names, 1, settings.rounds.min(9), |who| {
        // The files as they were: an open begins a new segment.
        let copy = tempfile::tempdir_in(&settings.dir)?;
        for file in &large.files {
            copy_file(file, copy.path())?;
        }
        if who == 0 {
            large.forget()?;
        }
        let (took, kib) = open_elsewhere(copy.path())?;
        peak = kib.max(peak);
        Ok(took)
    })?;
    let (mib, files) = (settings.mib, large.files.len());
    let title = format!("W5: open a log of {mib} MiB, {files} files");
    print(&title, "opens/s", 1.0, &rows);
    println!("  {:.0} MiB of memory at the most", peak as f64 / 1024.0);
    Ok(())
}

/// Every byte and its CRC, one thread.
pub fn verify(settings: &Settings) -> Result<()> {
    let large = Large::new(settings)?;
    for warmth in ["cold", "warm"] {
        let names = ["raw scan", "verify"];
        let rows = interleave(&names, 1, settings.rounds.min(5), |who| {
            if warmth == "cold" {
                large.forget()?;
            }
            timed(|| match who {
                0 => large.files.iter().try_for_each(|path| scan(path)),
                _ => verify_all(large.dir.path(), large.records),
            })
        })?;
        let title = format!("every CRC of {} MiB, {warmth}", settings.mib);
        print(&title, "MiB/s", settings.mib as f64, &rows);
    }
    Ok(())
}

fn scan(path: &Path) -> Result<()> {
    use std::io::Read;
    let mut file = File::open(path)?;
    let mut bytes = vec![0; READ];
    let mut crc = crc32fast::Hasher::new();
    loop {
        match file.read(&mut bytes)? {
            0 => break,
            got => crc.update(&bytes[..got]),
        }
    }
    std::hint::black_box(crc.finalize());
    Ok(())
}

fn verify_all(dir: &Path, records: u64) -> Result<()> {
    let verified = Inspector::open(Arc::new(OsReadOnly), dir)?.verify()?;
    assert!(verified.is_clean() && verified.records == records);
    Ok(())
}

/// The time of an open, and the most memory of its process in KiB.
fn open_elsewhere(dir: &Path) -> Result<(Duration, u64)> {
    let mut child = Command::new(std::env::current_exe()?);
    let output = child.arg(CHILD).arg(dir).output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(ns)), Some(Ok(kib))) => Ok((Duration::from_nanos(ns), kib)),
        _ => Err(String::from_utf8_lossy(&output.stderr).into()),
    }
}

/// Whether this process is the one that opens.
pub fn child_of() -> Option<PathBuf> {
    let mut args = std::env::args_os().skip(1);
    (args.next()? == CHILD)
        .then(|| args.next())?
        .map(PathBuf::from)
}

pub fn child(dir: &Path) -> Result<()> {
    let mut opened = None;
    let took = timed(|| {
        opened = Some(Ours::just_open(dir)?);
        Ok(())
    })?;
    println!("{} {}", took.as_nanos(), peak_kib()?);
    Ok(())
}
