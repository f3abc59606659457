//! Figures for whoever watches a store: what its disk took, and how far it is.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::histogram::{Histogram, Latencies};
use crate::event::{Event, Phase};
use crate::fs::{Advice, File, Fs, Lock, SyncMode};
use crate::host::{Env, Host};
use crate::store::{Status, Store};

/// Counts what passes between a store and its host. Without one nothing is
/// measured: it is the host that is wrapped, not the engine that asks.
///
/// It may be kept and used again when the store is closed and opened anew: then
/// it goes on counting.
///
/// ```
/// # use std::{path::Path, sync::Arc};
/// # use afterimage_engine::{Host, fs::OsFs, store::{Options, Store}};
/// # use afterimage_engine::threads::{Meter, SystemEnv, Threads};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let meter = Arc::new(Meter::default());
/// let host = Host { fs: Arc::new(OsFs), env: Arc::new(SystemEnv::unobserved()?) };
/// let (store, _) = Store::open(meter.host(host), dir.path(), Options::default()).run()?;
/// let stats = meter.stats(&store);
/// println!("durable: {}, p99 of a sync: {:?} µs", stats.store.durable_index,
///     stats.data_syncs.quantile_us(990));
/// # assert_eq!(stats.recoveries, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Meter {
    data_syncs: Histogram,
    file_syncs: Histogram,
    dir_syncs: Histogram,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    events: Events,
    /// When the recovery under way began.
    recovery: std::sync::Mutex<Option<Instant>>,
}

/// How often each was seen.
#[derive(Debug, Default)]
struct Events {
    recoveries: AtomicU64,
    recovery_us: AtomicU64,
    torn_tails: AtomicU64,
    segments: AtomicU64,
    truncations: AtomicU64,
    saves: AtomicU64,
    installs: AtomicU64,
    purged: AtomicU64,
    stalls: AtomicU64,
    poisonings: AtomicU64,
}

/// What a [`Meter`] has counted, and how the store is. Counts are since the meter
/// was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    pub store: Status,
    /// fdatasync: what an append or a vote waits for.
    pub data_syncs: Latencies,
    /// fsync, of files that are new: segments and snapshots.
    pub file_syncs: Latencies,
    pub dir_syncs: Latencies,
    /// Bytes read from files and written to them, headers and checksums and
    /// prepared zeros included.
    pub read_bytes: u64,
    pub written_bytes: u64,
    /// Opens that came to their end.
    pub recoveries: u64,
    /// How long the last of them took.
    pub recovery: Duration,
    /// Opens that found a torn tail.
    pub torn_tails: u64,
    /// Segments begun: by rolls, truncations and opens.
    pub segments_begun: u64,
    /// Truncations that are durable.
    pub truncations: u64,
    pub snapshots_saved: u64,
    pub snapshots_installed: u64,
    pub segments_purged: u64,
    /// Batches that found the disk full, each time they were tried.
    pub stalls: u64,
    /// Stores that a failed write or sync ended.
    pub poisonings: u64,
}

impl Meter {
    /// The host, with this meter in between.
    pub fn host(self: &Arc<Self>, host: Host) -> Host {
        Host {
            fs: Arc::new(MeteredFs {
                inner: host.fs,
                meter: self.clone(),
            }),
            env: Arc::new(MeteredEnv {
                inner: host.env,
                meter: self.clone(),
            }),
        }
    }

    /// As of now. Takes the store's lock for a moment, and does no I/O.
    pub fn stats(&self, store: &Store) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let events = &self.events;
        Stats {
            store: store.status(),
            data_syncs: self.data_syncs.read(),
            file_syncs: self.file_syncs.read(),
            dir_syncs: self.dir_syncs.read(),
            read_bytes: get(&self.read_bytes),
            written_bytes: get(&self.written_bytes),
            recoveries: get(&events.recoveries),
            recovery: Duration::from_micros(get(&events.recovery_us)),
            torn_tails: get(&events.torn_tails),
            segments_begun: get(&events.segments),
            truncations: get(&events.truncations),
            snapshots_saved: get(&events.saves),
            snapshots_installed: get(&events.installs),
            segments_purged: get(&events.purged),
            stalls: get(&events.stalls),
            poisonings: get(&events.poisonings),
        }
    }

    fn see(&self, event: &Event) {
        let events = &self.events;
        let counter = match event {
            Event::Begin(Phase::Recovery) => {
                *self.recovery() = Some(now());
                return;
            }
            Event::Recovered(report) => {
                if let Some(began) = self.recovery().take() {
                    let us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
                    events.recovery_us.store(us, Ordering::Relaxed);
                }
                if report.torn_tail.is_some() {
                    events.torn_tails.fetch_add(1, Ordering::Relaxed);
                }
                &events.recoveries
            }
            Event::SegmentCreated { .. } => &events.segments,
            Event::Truncated { .. } => &events.truncations,
            Event::SnapshotSaved { .. } => &events.saves,
            Event::SnapshotInstalled { .. } => &events.installs,
            Event::Purged { segments, .. } => {
                events.purged.fetch_add(*segments as u64, Ordering::Relaxed);
                return;
            }
            Event::Stalled => &events.stalls,
            Event::Poisoned => &events.poisonings,
            _ => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn recovery(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        let guard = self.recovery.lock();
        guard.unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[allow(clippy::disallowed_methods, reason = "the production host's clock")]
fn now() -> Instant {
    Instant::now()
}

fn timed<T>(histogram: &Histogram, work: impl FnOnce() -> T) -> T {
    let began = now();
    let result = work();
    histogram.add(began.elapsed());
    result
}

struct MeteredEnv {
    inner: Arc<dyn Env>,
    meter: Arc<Meter>,
}

impl Env for MeteredEnv {
    fn now_ms(&self) -> i64 {
        self.inner.now_ms()
    }
    fn random(&self) -> u64 {
        self.inner.random()
    }
    fn observe(&self, event: Event) {
        self.meter.see(&event);
        self.inner.observe(event);
    }
    fn wants_entries(&self) -> bool {
        self.inner.wants_entries()
    }
}

#[derive(Debug)]
struct MeteredFs {
    inner: Arc<dyn Fs>,
    meter: Arc<Meter>,
}

#[derive(Debug)]
struct MeteredFile {
    inner: Box<dyn File>,
    meter: Arc<Meter>,
}

impl MeteredFs {
    fn file(&self, file: io::Result<Box<dyn File>>) -> io::Result<Box<dyn File>> {
        Ok(Box::new(MeteredFile {
            inner: file?,
            meter: self.meter.clone(),
        }))
    }
}

impl Fs for MeteredFs {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.file(self.inner.open(path))
    }
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.file(self.inner.create_new(path))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.inner.unlink(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.inner.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        timed(&self.meter.dir_syncs, || self.inner.sync_dir(dir))
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.inner.lock(path)
    }
}

impl File for MeteredFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let n = self.inner.read_at(buf, offset)?;
        self.meter.read_bytes.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let n = self.inner.write_at(buf, offset)?;
        let written = &self.meter.written_bytes;
        written.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.allocate(offset, len)
    }
    fn sync(&self, mode: SyncMode) -> io::Result<()> {
        let histogram = match mode {
            SyncMode::Data => &self.meter.data_syncs,
            SyncMode::All => &self.meter.file_syncs,
        };
        timed(histogram, || self.inner.sync(mode))
    }
    fn write_through(&self, buf: &[u8], offset: u64) -> Option<io::Result<()>> {
        let began = now();
        let result = self.inner.write_through(buf, offset)?;
        self.meter.data_syncs.add(began.elapsed());
        if result.is_ok() {
            let written = &self.meter.written_bytes;
            written.fetch_add(buf.len() as u64, Ordering::Relaxed);
        }
        Some(result)
    }
    fn advise(&self, advice: Advice, offset: u64, len: u64) {
        self.inner.advise(advice, offset, len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A file that knows the calls which a file need not know.
    #[derive(Debug, Default)]
    struct Able(Arc<Mutex<Vec<Advice>>>);

    impl File for Able {
        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            Ok(0)
        }
        fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
            Ok(0)
        }
        fn len(&self) -> io::Result<u64> {
            Ok(0)
        }
        fn set_len(&self, _: u64) -> io::Result<()> {
            Ok(())
        }
        fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
            Ok(())
        }
        fn sync(&self, _: SyncMode) -> io::Result<()> {
            Ok(())
        }
        fn write_through(&self, _: &[u8], _: u64) -> Option<io::Result<()>> {
            Some(Ok(()))
        }
        fn advise(&self, advice: Advice, _: u64, _: u64) {
            self.0.lock().unwrap().push(advice);
        }
    }

    #[test]
    fn nothing_that_a_file_can_do_is_lost_on_the_way() {
        let advice = Arc::default();
        let file = MeteredFile {
            inner: Box::new(Able(Arc::clone(&advice))),
            meter: Arc::default(),
        };
        file.advise(Advice::WillRead, 0, 1);
        assert_eq!(*advice.lock().unwrap(), [Advice::WillRead]);
        assert!(matches!(file.write_through(&[1, 2, 3], 0), Some(Ok(()))));
        assert_eq!(file.meter.written_bytes.load(Ordering::Relaxed), 3);
        assert_eq!(file.meter.data_syncs.read().count(), 1);
    }
}
