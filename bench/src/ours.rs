//! The engine on its production host.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use afterimage_engine::fs::OsFs;
use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Batch, Options, Report, Store};
use afterimage_engine::threads::{SystemEnv, Threads};
use afterimage_engine::{Entry, EntryKind, Host, Index, Term};

use crate::log::{Log, Result};

/// Data of the entries asked for at once in a scan.
const SCAN: usize = 1 << 20;

pub struct Ours {
    threads: Threads,
    /// The next index: in a Raft, the leader hands them out.
    next: Mutex<Index>,
    /// Wakes the log thread, as callers that do not wait have to.
    wakes: bool,
}

impl Ours {
    pub fn open(dir: &Path) -> Result<Self> {
        let (store, report) = Ours::just_open(dir)?;
        Ok(Ours {
            threads: Threads::start(store)?,
            next: Mutex::new(report.last_index.next()),
            wakes: false,
        })
    }

    /// The recovery alone: no thread.
    pub fn just_open(dir: &Path) -> Result<(Store, Report)> {
        let host = Host {
            fs: Arc::new(OsFs),
            env: Arc::new(SystemEnv::new(|_event| {})?),
        };
        Ok(Store::open(host, dir, Options::default()).run()?)
    }

    pub fn waking(dir: &Path) -> Result<Self> {
        Ok(Ours {
            wakes: true,
            ..Ours::open(dir)?
        })
    }

    pub fn close(self) -> Result<()> {
        Ok(self.threads.close()?)
    }

    fn hand_over(&self, entries: &[Vec<u8>], wakes: bool) -> Result<u64> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = |data: &Vec<u8>| {
            let index = *next;
            *next = index.next();
            Entry {
                index,
                term: Term(1),
                kind: EntryKind::Command,
                timestamp_ms: 0,
                data: data.as_slice().into(),
            }
        };
        let batch = Batch {
            hard_state: None,
            entries: entries.iter().map(entry).collect(),
        };
        Ok(match wakes {
            true => self.threads.append(batch)?,
            false => self.threads.queue(batch)?,
        })
    }
}

impl Log for Ours {
    fn append_durable(&self, _writer: usize, entries: &[Vec<u8>]) -> Result<()> {
        let ticket = self.hand_over(entries, self.wakes)?;
        Ok(self.threads.wait(ticket)?)
    }

    fn append(&self, entries: &[Vec<u8>]) -> Result<()> {
        self.hand_over(entries, true)?;
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let batch = Batch::default();
        Ok(self.threads.wait(self.threads.append(batch)?)?)
    }

    fn read(&self, number: u64, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        let entries = self.threads.store().entries(Index(number), 0)?;
        visit(&entries[0].data);
        Ok(())
    }

    fn scan(&self, last: u64, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        let mut next = Index(1);
        while next.0 <= last {
            let entries = self.threads.store().entries(next, SCAN)?;
            for entry in entries.iter().take_while(|entry| entry.index.0 <= last) {
                visit(&entry.data);
                next = entry.index.next();
            }
        }
        Ok(())
    }
}
