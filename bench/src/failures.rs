//! `failures`: what a log says when a sync fails, and what it has afterwards.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use afterimage_engine::raft::LogView;
use commitlog::message::MessageSet;

use crate::failing_sync::{Lost, arm, syncs};
use crate::log::{Error, Log, Payload, Result};
use crate::ours::Ours;
use crate::peers::{Commitlog, OkayWal, RaftEngine};
use crate::settings::Settings;

const CHILD: &str = "--failure-child";
const PEERS: [&str; 6] = [
    "ours",
    "raft-engine",
    "okaywal",
    "commitlog",
    "walcraft",
    "nano-wal",
];
/// The sync of this entry fails, the last is the last.
const FAILING: u64 = 4;
const LAST: u64 = 6;
/// So long that the failing entry crosses the end of a page, and none of those
/// behind it writes its first page again; short enough for walcraft. Bytes.
const ENTRY: usize = 3_500;
/// Who is silent for so long hangs.
const PATIENCE: Duration = Duration::from_secs(10);

fn marker(number: u64) -> Vec<u8> {
    format!("<entry {number:04}>").into_bytes()
}

fn payload(number: u64) -> Payload {
    let marker = marker(number);
    marker.iter().copied().cycle().take(ENTRY).collect()
}

/// The number of an entry that is whole.
fn number_of(data: &[u8]) -> Option<u64> {
    (1..=LAST).find(|&number| *data == *payload(number))
}

pub fn run(settings: &Settings) -> Result<()> {
    println!("entry {FAILING}'s sync fails with EIO; the machine starts again after entry {LAST}");
    for peer in PEERS.into_iter().filter(|peer| settings.wants(peer)) {
        let tmp = tempfile::tempdir_in(&settings.dir)?;
        let dir = tmp.path().join("log");
        let said = child(peer, "write", &dir)?;
        println!("\n{peer}");
        said.lines().for_each(|line| println!("  {line}"));
        let lost = lost_of(&dir);
        if lost.exists() {
            let pages = Lost::read(&lost)?.take_back()?;
            println!("  restart: {pages} pages of the failed sync are not on the disk");
        }
        for said in [
            child(peer, "read", &dir)?,
            child(peer, "ask", &tmp.path().join("another"))?,
        ] {
            said.lines().for_each(|line| println!("  {line}"));
        }
    }
    Ok(())
}

fn lost_of(dir: &Path) -> PathBuf {
    dir.with_extension("lost")
}

/// What it printed, and how it ended if not well.
fn child(peer: &str, what: &str, dir: &Path) -> Result<String> {
    let mut child = Command::new(std::env::current_exe()?)
        .args([CHILD, peer, what])
        .arg(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let begun = Instant::now();
    let status = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if begun.elapsed() > PATIENCE => break None,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    if status.is_none() {
        child.kill()?;
        child.wait()?;
    }
    let mut said = String::new();
    let (out, err) = (child.stdout.as_mut(), child.stderr.as_mut());
    out.ok_or("no output")?.read_to_string(&mut said)?;
    let mut complaint = String::new();
    err.ok_or("no output")?.read_to_string(&mut complaint)?;
    match status {
        None => said += &format!("hangs: nothing for {} s\n", PATIENCE.as_secs()),
        Some(status) if !status.success() => {
            let first = complaint.lines().filter(|line| !line.is_empty()).take(2);
            let first: Vec<_> = first.collect();
            said += &format!("process ends, {status}: {}\n", first.join(" "));
        }
        Some(_) => {}
    }
    Ok(said)
}

/// What the child is to do, if this is one.
pub fn child_of() -> Option<[String; 3]> {
    let mut args = std::env::args().skip(1);
    (args.next()? == CHILD).then_some(())?;
    Some([args.next()?, args.next()?, args.next()?])
}

pub fn run_child([peer, what, dir]: [String; 3]) -> Result<()> {
    let dir = Path::new(&dir);
    match what.as_str() {
        "write" => write(&peer, dir),
        "ask" => ask(&peer, dir),
        _ => {
            let found = found(&peer, dir)?;
            println!("found: {found:?}");
            Ok(())
        }
    }
}

fn say(what: String) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{what}")?;
    Ok(out.flush()?)
}

fn open(peer: &str, dir: &Path) -> Result<Box<dyn Log>> {
    Ok(match peer {
        // What fails is fsync, and a direct write needs none.
        "ours" => Box::new(Ours::buffered(dir)?),
        "raft-engine" => Box::new(RaftEngine::open(dir)?),
        "okaywal" => Box::new(OkayWal::open(dir)?),
        "commitlog" => Box::new(Commitlog::open(dir)?),
        "walcraft" => Box::new(Walcraft::open(dir)?),
        "nano-wal" => Box::new(NanoWal::open(dir)?),
        other => return Err(format!("no peer {other}").into()),
    })
}

fn append(log: &dyn Log, number: u64) -> Result<()> {
    let entry = [payload(number)];
    match log.append_durable(0, &entry) {
        // One without a durable append: what comes next to it.
        Err(e) if is_unsupported(&e) => {
            log.append(&entry)?;
            log.sync()
        }
        result => result,
    }
}

fn is_unsupported(e: &Error) -> bool {
    let io = e.downcast_ref::<std::io::Error>();
    io.is_some_and(|e| e.kind() == std::io::ErrorKind::Unsupported)
}

fn write(peer: &str, dir: &Path) -> Result<()> {
    arm(&marker(FAILING), Some(&lost_of(dir)));
    let log = open(peer, dir)?;
    for number in 1..=LAST {
        say(match append(&*log, number) {
            Ok(()) => format!("{number}: ok"),
            Err(e) => format!("{number}: error: {e}"),
        })?;
    }
    if syncs() == 0 {
        say(format!("nobody has synced entry {FAILING}"))?;
    }
    // As a kill: nothing is put in order.
    std::process::exit(0);
}

/// An entry that was appended without a sync, and then the log is asked for one.
fn ask(peer: &str, dir: &Path) -> Result<()> {
    arm(&marker(1), None);
    // Counted while it is open: some sync when they are closed.
    let n = match peer {
        "raft-engine" => {
            let log = RaftEngine::open(dir)?;
            log.append(&[payload(1)])?;
            log.engine().sync()?;
            syncs()
        }
        _ => {
            let log = open(peer, dir)?;
            append(&*log, 1)?;
            syncs()
        }
    };
    say(format!(
        "asked for a sync: ok, after {n} of the entry's file"
    ))?;
    std::process::exit(0);
}

/// The entries that are there, and whole.
fn found(peer: &str, dir: &Path) -> Result<BTreeSet<u64>> {
    let mut numbers = BTreeSet::new();
    match peer {
        "ours" => {
            let (store, _) = Ours::just_open(dir)?;
            let mut next = store.first_index();
            while next <= store.last_index() {
                for entry in store.entries(next, 1 << 20)? {
                    numbers.extend(number_of(&entry.data));
                    next = next.next();
                }
            }
        }
        "raft-engine" => {
            let log = RaftEngine::open(dir)?;
            for number in 1..=LAST {
                // One that is not there is an error.
                let _ = log.read(number, &mut |data| numbers.extend(number_of(data)));
            }
        }
        "okaywal" => {
            let found = Found::default();
            okaywal::Configuration::default_for(dir).open(found.clone())?;
            let all = found.0.lock().unwrap_or_else(PoisonError::into_inner);
            numbers.extend(all.iter().filter_map(|data| number_of(data)));
        }
        "walcraft" => {
            let log = Walcraft::open(dir)?;
            for entry in log.0.iter().map_err(|e| format!("{e:?}"))? {
                numbers.extend(number_of(entry.data()));
            }
        }
        "nano-wal" => {
            // It finds entries by places that only the writer knew.
            for file in std::fs::read_dir(dir)? {
                let bytes = std::fs::read(file?.path())?;
                let is_there = |n: &u64| bytes.windows(ENTRY).any(|w| *w == *payload(*n));
                numbers.extend((1..=LAST).filter(is_there));
            }
        }
        _ => {
            let log = commitlog::CommitLog::new(commitlog::LogOptions::new(dir))?;
            let mut next = 0;
            while next < log.next_offset() {
                let read = log.read(next, commitlog::ReadLimit::max_bytes(1 << 20))?;
                for message in read.iter() {
                    numbers.extend(number_of(message.payload()));
                    next += 1;
                }
            }
        }
    }
    Ok(numbers)
}

/// Takes what okaywal recovers.
#[derive(Debug, Clone, Default)]
struct Found(Arc<Mutex<Vec<Vec<u8>>>>);

impl okaywal::LogManager for Found {
    fn recover(&mut self, entry: &mut okaywal::Entry<'_>) -> std::io::Result<()> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let okaywal::ReadChunkResult::Chunk(mut chunk) = entry.read_chunk()? {
            all.push(chunk.read_all()?);
            if !chunk.check_crc()? {
                return Err(std::io::ErrorKind::InvalidData.into());
            }
        }
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _last: okaywal::EntryId,
        _entries: &mut okaywal::SegmentReader,
        _log: &okaywal::WriteAheadLog,
    ) -> std::io::Result<()> {
        Ok(())
    }
}

/// walcraft, told to sync.
struct Walcraft(walcraft::Wal);

impl Walcraft {
    fn open(dir: &Path) -> Result<Self> {
        let builder = walcraft::WalBuilder::new().location(dir).enable_fsync();
        let log = builder.sync_interval(10_000).build();
        Ok(Walcraft(log.map_err(|e| format!("{e:?}"))?))
    }
}

impl Log for Walcraft {
    fn append_durable(&self, _writer: usize, entries: &[Payload]) -> Result<()> {
        for entry in entries {
            self.0.append(entry).map_err(|e| format!("{e:?}"))?;
        }
        Ok(self.0.flush().map_err(|e| format!("{e:?}"))?)
    }
}

/// nano-wal, whose appends can be asked to be durable.
struct NanoWal {
    log: nano_wal::Wal,
    now_ms: i64,
}

impl NanoWal {
    fn open(dir: &Path) -> Result<Self> {
        let day = Duration::from_secs(86_400);
        let options = nano_wal::WalOptions {
            retention: day,
            segment_duration: day,
        };
        let log = nano_wal::Wal::new(dir, "log", options).map_err(|e| format!("{e:?}"))?;
        let now = std::time::UNIX_EPOCH.elapsed()?.as_millis();
        Ok(NanoWal {
            log,
            now_ms: i64::try_from(now)?,
        })
    }
}

impl Log for NanoWal {
    fn append_durable(&self, _writer: usize, entries: &[Payload]) -> Result<()> {
        for entry in entries {
            let placed = self.log.append(None, entry, self.now_ms, true);
            placed.map_err(|e| format!("{e:?}"))?;
        }
        Ok(())
    }
}
