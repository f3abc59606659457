//! Logs that people use today.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use commitlog::message::{MessageBuf, MessageSet};
use commitlog::{CommitLog, LogOptions, ReadLimit};
use raft_engine::{Config, Engine, LogBatch, ReadableSize};

use crate::log::{Log, Payload, Result};
use crate::raft_entry::{RaftEntry, RaftEntryExt};

/// One Raft group each for so many writers at the most.
const GROUPS: u64 = 64;

/// raft-engine of TiKV; its files are filled with zeros ahead.
pub struct RaftEngine {
    engine: Engine,
    next: Vec<AtomicU64>,
}

impl RaftEngine {
    pub fn open(dir: &Path) -> Result<Self> {
        let dir = dir.to_str().ok_or("the path is not UTF-8")?;
        let engine = Engine::open(Config {
            dir: dir.into(),
            prefill_for_recycle: true,
            prefill_limit: Some(ReadableSize::mb(128)),
            target_file_size: ReadableSize::mb(32),
            ..Config::default()
        })?;
        let next = |group| AtomicU64::new(engine.last_index(group).map_or(1, |last| last + 1));
        Ok(RaftEngine {
            next: (1..=GROUPS).map(next).collect(),
            engine,
        })
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The first file is never a prefilled one: goes past it.
    pub fn past_the_first_file(self) -> Result<Self> {
        let entries: Vec<Payload> = vec![vec![7; 1 << 10].into(); 64];
        for _ in 0..550 {
            self.write(GROUPS as usize - 2, &entries, false)?;
        }
        Ok(self)
    }

    fn write(&self, writer: usize, entries: &[Payload], sync: bool) -> Result<()> {
        let first = self.next[writer].fetch_add(entries.len() as u64, Ordering::Relaxed);
        let entries: Vec<RaftEntry> = (first..)
            .zip(entries)
            .map(|(index, data)| RaftEntry::of(index, data.clone()))
            .collect();
        let mut batch = LogBatch::with_capacity(4);
        batch.add_entries::<RaftEntryExt>(writer as u64 + 1, &entries)?;
        self.engine.write(&mut batch, sync)?;
        Ok(())
    }
}

impl Log for RaftEngine {
    fn append_durable(&self, writer: usize, entries: &[Payload]) -> Result<()> {
        self.write(writer, entries, true)
    }

    fn append(&self, entries: &[Payload]) -> Result<()> {
        self.write(0, entries, false)
    }

    fn sync(&self) -> Result<()> {
        // `Engine::sync` writes an empty batch, for which 0.4.2 does nothing.
        let mut batch = LogBatch::default();
        batch.put(GROUPS, b"sync".to_vec(), b"x".to_vec())?;
        self.engine.write(&mut batch, true)?;
        Ok(())
    }

    fn replace_last(&self, count: usize, entry: &Payload) -> Result<()> {
        self.next[0].fetch_sub(count as u64, Ordering::Relaxed);
        self.write(0, std::slice::from_ref(entry), true)
    }

    fn read(&self, number: u64, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        let entry = self.engine.get_entry::<RaftEntryExt>(1, number)?;
        visit(&entry.ok_or("the entry is not there")?.data);
        Ok(())
    }

    fn scan(&self, last: u64, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        let mut entries = Vec::new();
        for from in (1..=last).step_by(1024) {
            let to = (from + 1024).min(last + 1);
            entries.clear();
            self.engine
                .fetch_entries_to::<RaftEntryExt>(1, from, to, None, &mut entries)?;
            entries.iter().for_each(|entry| visit(&entry.data));
        }
        Ok(())
    }
}

/// okaywal, told to keep its entries.
pub struct OkayWal {
    log: okaywal::WriteAheadLog,
    positions: Arc<Mutex<Vec<okaywal::LogPosition>>>,
}

#[derive(Debug)]
struct Keeper(Arc<Mutex<Vec<okaywal::LogPosition>>>);

impl okaywal::LogManager for Keeper {
    fn recover(&mut self, entry: &mut okaywal::Entry<'_>) -> std::io::Result<()> {
        let mut positions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let okaywal::ReadChunkResult::Chunk(mut chunk) = entry.read_chunk()? {
            positions.push(chunk.log_position());
            chunk.read_all()?;
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

impl OkayWal {
    pub fn open(dir: &Path) -> Result<Self> {
        let positions = Arc::new(Mutex::new(Vec::new()));
        let log = okaywal::Configuration::default_for(dir)
            .checkpoint_after_bytes(u64::MAX)
            .preallocate_bytes(64 << 20)
            .open(Keeper(positions.clone()))?;
        Ok(OkayWal { log, positions })
    }
}

impl Log for OkayWal {
    fn append_durable(&self, _writer: usize, entries: &[Payload]) -> Result<()> {
        let mut writing = self.log.begin_entry()?;
        for entry in entries {
            let record = writing.write_chunk(entry)?;
            let mut positions = self
                .positions
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            positions.push(record.position);
        }
        writing.commit()?;
        Ok(())
    }
}

/// commitlog: no sync at all, so it appears only where none is asked for.
pub struct Commitlog(Mutex<CommitLog>);

impl Commitlog {
    pub fn open(dir: &Path) -> Result<Self> {
        let log = CommitLog::new(LogOptions::new(dir))?;
        Ok(Commitlog(Mutex::new(log)))
    }
}

impl Log for Commitlog {
    fn append_durable(&self, _writer: usize, _entries: &[Payload]) -> Result<()> {
        Err(crate::log::unsupported())
    }

    fn append(&self, entries: &[Payload]) -> Result<()> {
        let mut messages = MessageBuf::default();
        for entry in entries {
            messages.push(entry).map_err(|e| format!("{e:?}"))?;
        }
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.append(&mut messages)?;
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        // It has a flush to the operating system and no more.
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(log.flush()?)
    }

    fn read(&self, number: u64, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let messages = log.read(number - 1, ReadLimit::max_bytes(1100))?;
        let message = messages.iter().next().ok_or("the entry is not there")?;
        if !message.verify_hash() {
            return Err("a bad CRC".into());
        }
        visit(message.payload());
        Ok(())
    }

    fn scan(&self, last: u64, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = 0;
        while next < last {
            let messages = log.read(next, ReadLimit::max_bytes(1 << 20))?;
            let before = next;
            for message in messages.iter().take((last - next) as usize) {
                if !message.verify_hash() {
                    return Err("a bad CRC".into());
                }
                visit(message.payload());
                next += 1;
            }
            if next == before {
                return Err("the log ends early".into());
            }
        }
        Ok(())
    }
}
