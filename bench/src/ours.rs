//! The engine on its production host.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use afterimage_engine::fs::{Fs, OsBuffered, OsFs};
use afterimage_engine::store::{Batch, Options, Report, SnapshotSource, Store};
use afterimage_engine::threads::{SystemEnv, Threads};
use afterimage_engine::{Entry, EntryKind, Host, Index, Membership, SnapshotMeta, Term};

use crate::log::{Log, Payload, Result};

pub struct Ours {
    threads: Threads,
    /// The next index: in a Raft, the leader hands them out.
    next: Mutex<Index>,
    /// Wakes the log thread, as callers that do not wait have to.
    wakes: bool,
    /// What nobody waits for is left unsynced.
    unsynced: bool,
    /// The ticket handed out last.
    last: AtomicU64,
}

impl Ours {
    pub fn open(dir: &Path) -> Result<Self> {
        Ours::on(Arc::new(OsFs), dir, Options::default())
    }

    /// Nothing goes past the page cache.
    pub fn buffered(dir: &Path) -> Result<Self> {
        Ours::on(Arc::new(OsBuffered), dir, Options::default())
    }

    fn on(fs: Arc<dyn Fs>, dir: &Path, options: Options) -> Result<Self> {
        let (store, report) = Ours::just_open_on(fs, dir, options)?;
        Ok(Ours {
            threads: Threads::start(store)?,
            next: Mutex::new(report.last_index.next()),
            wakes: false,
            unsynced: false,
            last: AtomicU64::new(0),
        })
    }

    /// The recovery alone: no thread.
    pub fn just_open(dir: &Path) -> Result<(Store, Report)> {
        Ours::just_open_on(Arc::new(OsFs), dir, Options::default())
    }

    fn just_open_on(fs: Arc<dyn Fs>, dir: &Path, options: Options) -> Result<(Store, Report)> {
        let host = Host {
            fs,
            env: Arc::new(SystemEnv::unobserved()?),
        };
        Ok(Store::open(host, dir, options).run()?)
    }

    pub fn waking(dir: &Path) -> Result<Self> {
        Ok(Ours {
            wakes: true,
            ..Ours::open(dir)?
        })
    }

    /// As much of it as there is.
    pub fn unsynced(dir: &Path) -> Result<Self> {
        let options = Options {
            unsynced_bytes: u64::MAX,
            ..Options::default()
        };
        Ok(Ours {
            unsynced: true,
            ..Ours::on(Arc::new(OsFs), dir, options)?
        })
    }

    /// A snapshot of all that was appended.
    pub fn save_snapshot(&self, source: Box<dyn SnapshotSource>) -> Result<()> {
        let store = self.threads.store();
        self.save(store.durable_index(), source)
    }

    fn save(&self, last_index: Index, source: Box<dyn SnapshotSource>) -> Result<()> {
        let meta = SnapshotMeta {
            last_index,
            last_term: Term(1),
            membership: Membership::default(),
        };
        match self.threads.save_snapshot(meta, source)? {
            true => Ok(()),
            false => Err("not newer than the last one".into()),
        }
    }

    /// Until the next segment is there: its zeros are written beside the appends, and
    /// no part of what a purge does.
    pub fn wait_until_prepared(&self) {
        while !self.threads.store().status().is_prepared {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until no file is left that has only entries up to `last`, and the
    /// space of none is still to be given back.
    pub fn purge(&self, last: u64) -> Result<()> {
        self.save(Index(last), Box::new(Nothing))?;
        while self.segments_from_before(last)? > 1 || open_without_name()? {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn segments_from_before(&self, last: u64) -> Result<usize> {
        let mut count = 0;
        for entry in std::fs::read_dir(self.threads.store().dir())? {
            let name = entry?.file_name();
            let base = name
                .to_str()
                .and_then(|name| name.strip_prefix("log-")?.get(..20));
            count +=
                usize::from(base.is_some_and(|base| base.parse().is_ok_and(|n: u64| n <= last)));
        }
        Ok(count)
    }

    pub fn close(self) -> Result<()> {
        Ok(self.threads.close()?)
    }

    fn hand_over(&self, entries: &[Payload], wakes: bool, unsynced: bool) -> Result<u64> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = |data: &Payload| {
            let index = *next;
            *next = index.next();
            Entry {
                index,
                term: Term(1),
                kind: EntryKind::Command,
                timestamp_ms: 0,
                data: data.clone(),
            }
        };
        let entries = entries.iter().map(entry).collect();
        if unsynced {
            return Ok(self.threads.append_unsynced(entries)?);
        }
        let batch = Batch {
            hard_state: None,
            entries,
        };
        Ok(match wakes {
            true => self.threads.append(batch)?,
            false => self.threads.queue(batch)?,
        })
    }
}

/// Whether this process has a log's file open that has no name any more.
fn open_without_name() -> Result<bool> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        // It may be closed meanwhile.
        let Ok(path) = std::fs::read_link(entry?.path()) else {
            continue;
        };
        if path.to_string_lossy().ends_with(".seg (deleted)") {
            return Ok(true);
        }
    }
    Ok(false)
}

struct Nothing;

impl SnapshotSource for Nothing {
    fn read(&mut self, _out: &mut Vec<u8>, _max: usize) -> bool {
        false
    }
}

impl Log for Ours {
    fn append_durable(&self, _writer: usize, entries: &[Payload]) -> Result<()> {
        let ticket = self.hand_over(entries, self.wakes, false)?;
        Ok(self.threads.wait(ticket)?)
    }

    fn append(&self, entries: &[Payload]) -> Result<()> {
        self.last
            .store(self.hand_over(entries, true, self.unsynced)?, Relaxed);
        Ok(())
    }

    fn write_out(&self) -> Result<()> {
        while self.threads.store().written() < self.last.load(Relaxed) {
            std::thread::sleep(Duration::from_micros(100));
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(self.threads.sync()?)
    }

    fn replace_last(&self, count: usize, entry: &Payload) -> Result<()> {
        {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            *next = *next - count as u64;
        }
        self.append_durable(0, std::slice::from_ref(entry))
    }

    fn read(&self, number: u64, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        let store = self.threads.store();
        Ok(store.visit(Index(number), |entry| visit(entry.data))?)
    }

    fn scan(&self, last: u64, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        let mut reader = self.threads.store().scan(Index(1));
        for _ in 0..last {
            visit(reader.read_next()?.ok_or("the log ends early")?.data);
        }
        Ok(())
    }
}
