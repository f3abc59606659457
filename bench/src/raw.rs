//! Bare loops: what the disk and the filesystem allow.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::log::{Log, Payload, Result};

/// Larger than the measured part of any workload; then it begins anew.
pub const CAPACITY: u64 = 256 << 20;

/// A file of durable zeros: the cheapest place to sync to.
pub fn zeros(path: &Path, len: u64) -> Result<File> {
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)?;
    let piece = vec![0; 1 << 20];
    for at in (0..len).step_by(piece.len()) {
        file.write_all_at(&piece, at)?;
    }
    file.sync_all()?;
    Ok(file)
}

/// One write and one fdatasync an append, over zeros. No CRC.
pub struct RawZero {
    file: File,
    /// Bytes written more for each entry.
    overhead: usize,
    at: Mutex<u64>,
}

impl RawZero {
    pub fn new(dir: &Path, overhead: usize) -> Result<Self> {
        Ok(RawZero {
            file: zeros(&dir.join("raw"), CAPACITY)?,
            overhead,
            at: Mutex::new(0),
        })
    }
}

impl Log for RawZero {
    fn append_durable(&self, _writer: usize, entries: &[Payload]) -> Result<()> {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = entries.concat();
        bytes.resize(bytes.len() + entries.len() * self.overhead, 0);
        if *at + bytes.len() as u64 > CAPACITY {
            *at = 0;
        }
        self.file.write_all_at(&bytes, *at)?;
        self.file.sync_data()?;
        *at += bytes.len() as u64;
        Ok(())
    }
}

/// The smallest group commit: who finds nobody at it writes what all wait for.
pub struct RawGroup {
    file: File,
    state: Mutex<Group>,
    progress: Condvar,
}

#[derive(Default)]
struct Group {
    waiting: Vec<u8>,
    spare: Vec<u8>,
    at: u64,
    queued: u64,
    durable: u64,
    led: bool,
}

impl RawGroup {
    pub fn new(dir: &Path) -> Result<Self> {
        Ok(RawGroup {
            file: zeros(&dir.join("raw"), CAPACITY)?,
            state: Mutex::default(),
            progress: Condvar::new(),
        })
    }
}

impl Log for RawGroup {
    fn append_durable(&self, _writer: usize, entries: &[Payload]) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            state.waiting.extend_from_slice(entry);
        }
        state.queued += 1;
        let mine = state.queued;
        while state.durable < mine {
            if state.led {
                let woken = self.progress.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.led = true;
            let spare = std::mem::take(&mut state.spare);
            let mut bytes = std::mem::replace(&mut state.waiting, spare);
            let upto = state.queued;
            if state.at + bytes.len() as u64 > CAPACITY {
                state.at = 0;
            }
            let at = state.at;
            state.at += bytes.len() as u64;
            drop(state);
            self.file.write_all_at(&bytes, at)?;
            self.file.sync_data()?;
            bytes.clear();
            state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.spare = bytes;
            state.durable = upto;
            state.led = false;
            self.progress.notify_all();
        }
        Ok(())
    }
}
