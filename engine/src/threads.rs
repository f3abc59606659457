//! The production host of a [`Store`]: a log thread and a background thread.
//!
//! The engine itself starts no thread and reads no clock; this module does, and
//! is an example of how to run a store outside of the simulator.
//!
//! **Group commit.** [`Threads::append`] only hands a batch over. The log
//! thread takes all that was handed over while it was syncing to the disk
//! together: many callers share one fdatasync, and a lonely one waits for
//! nobody.
//!
//! **What is durable.** When [`Threads::wait`] returns `Ok`, the ticket's batch
//! and all before it were synced and survive a power cut. When it fails, the
//! batch may or may not survive: only opening the store again tells. A failed
//! write or sync is never retried (see [`Error::Poisoned`]).
//!
//! ```no_run
//! use std::{path::Path, sync::Arc};
//! use afterimage_engine::store::{Batch, Options, Store};
//! use afterimage_engine::threads::{SystemEnv, Threads};
//! use afterimage_engine::{Entry, EntryKind, Host, Index, Term, fs::OsFs};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let host = Host { fs: Arc::new(OsFs), env: Arc::new(SystemEnv::new(|_event| {})?) };
//! let (store, report) = Store::open(host, Path::new("log"), Options::default()).run()?;
//! let threads = Threads::start(store)?;
//! let entry = Entry {
//!     index: report.last_index.next(),
//!     term: report.hard_state.term,
//!     kind: EntryKind::Command,
//!     timestamp_ms: 0,
//!     data: (*b"hello").into(),
//! };
//! let ticket = threads.append(Batch { hard_state: None, entries: vec![entry] })?;
//! threads.wait(ticket)?; // durable from here on
//! threads.close()?;
//! # Ok(())
//! # }
//! ```

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::entry::SnapshotMeta;
use crate::error::{Error, Op, Result};
use crate::event::Event;
use crate::host::Env;
use crate::ids::Index;
use crate::job::Step;
use crate::store::{
    Batch, Cleaner, Install, Installed, Preparer, SnapshotSource, Store, Ticket, Writer,
};

/// Between two looks at a full disk.
const RETRY: Duration = Duration::from_millis(100);
/// Data handed over but not durable yet, in bytes: [`Threads::append`] waits
/// while there is more, so that a slow disk does not fill the memory.
const IN_FLIGHT_BYTES_MAX: usize = 64 << 20;
/// The background thread looks for work after so many bytes of data; waking it
/// for every batch would cost the log thread more than the work is worth.
const LOOK_EVERY_BYTES: usize = 1 << 20;

/// A store with the threads that bring it to the disk.
#[derive(Debug)]
pub struct Threads {
    store: Store,
    shared: Arc<Shared>,
    /// The log thread and the background thread, until closed.
    handles: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// The log thread has work, or is to end.
    log: Condvar,
    /// So has, or is, the background thread.
    background: Condvar,
    /// More is durable, or a failure came.
    progress: Condvar,
}

#[derive(Debug, Default)]
struct State {
    submitted: Ticket,
    persisted: Ticket,
    /// Batches that are not durable yet, with their size in bytes.
    in_flight: VecDeque<(Ticket, usize)>,
    in_flight_bytes: usize,
    /// Handed over since the background thread was woken last.
    unseen_bytes: usize,
    look: bool,
    closing: bool,
    /// Why nothing becomes durable any more.
    failure: Option<Error>,
}

impl Threads {
    /// Starts the threads of a store that was just opened: it has one writer,
    /// one preparer and one cleaner, and they are the threads' from now on.
    ///
    /// Fails if the system gives no thread.
    #[allow(clippy::disallowed_methods, reason = "the production host")]
    pub fn start(store: Store) -> io::Result<Threads> {
        let mut threads = Threads {
            shared: Arc::new(Shared::default()),
            handles: Vec::new(),
            store,
        };
        {
            let mut state = threads.shared.lock();
            state.persisted = threads.store.persisted();
            state.submitted = state.persisted;
            state.look = true;
        }
        let (shared, store) = (threads.shared.clone(), threads.store.clone());
        let writer = store.writer();
        let (preparer, cleaner) = (store.preparer(), store.cleaner());
        // Should the second start fail, dropping `threads` ends the first.
        threads.handles.push(
            std::thread::Builder::new()
                .name("afterimage-log".into())
                .spawn(move || {
                    let alarm = Alarm(&shared);
                    alarm.disarm(log_thread(&shared, &store, writer));
                })?,
        );
        let shared = threads.shared.clone();
        threads.handles.push(
            std::thread::Builder::new()
                .name("afterimage-background".into())
                .spawn(move || {
                    let alarm = Alarm(&shared);
                    alarm.disarm(background_thread(&shared, preparer, cleaner));
                })?,
        );
        Ok(threads)
    }

    /// The store: for reading. What is submitted to it directly is written
    /// only when something else wakes the log thread.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Hands a batch over; readers see it at once, but nothing of it is
    /// durable before [`Threads::wait`] says so. Blocks while too much is on
    /// its way already. Batches keep the order of the calls.
    ///
    /// `Misuse` for a batch that does not fit the log; otherwise the failure
    /// that stopped the threads.
    pub fn append(&self, batch: Batch) -> Result<Ticket> {
        let bytes = batch.entries.iter().map(|entry| entry.data.len()).sum();
        let replaces = batch
            .entries
            .first()
            .is_some_and(|first| first.index <= crate::raft::LogView::last_index(&self.store));
        self.submit(bytes, replaces, |store| store.submit(batch))
    }

    /// Drops the suffix from `from` on; durable as with [`Threads::append`].
    pub fn truncate_suffix(&self, from: Index) -> Result<Ticket> {
        self.submit(0, true, |store| store.truncate_suffix(from))
    }

    /// `look`: there will be garbage for the background thread.
    fn submit(
        &self,
        bytes: usize,
        look: bool,
        submit: impl FnOnce(&Store) -> Result<Ticket>,
    ) -> Result<Ticket> {
        let mut state = self.shared.lock();
        while state.failure.is_none() && state.in_flight_bytes > IN_FLIGHT_BYTES_MAX {
            state = wait(&self.shared.progress, state);
        }
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        // Under the lock, so that tickets enter the queue in order.
        let ticket = submit(&self.store)?;
        state.submitted = ticket;
        state.in_flight.push_back((ticket, bytes));
        state.in_flight_bytes += bytes;
        state.unseen_bytes += bytes;
        if look || state.unseen_bytes >= LOOK_EVERY_BYTES {
            state.look_around(&self.shared);
        }
        self.shared.log.notify_one();
        Ok(ticket)
    }

    /// Blocks until the batch of this ticket is durable, with all before it.
    /// With a full disk that is when there is space again.
    ///
    /// Fails with what stopped the threads; then opening the store again tells
    /// what is durable.
    pub fn wait(&self, ticket: Ticket) -> Result<()> {
        let mut state = self.shared.lock();
        if ticket > state.submitted {
            return Err(Error::Misuse("nobody was given this ticket"));
        }
        loop {
            if state.persisted >= ticket {
                return Ok(());
            }
            if let Some(failure) = &state.failure {
                return Err(failure.clone());
            }
            state = wait(&self.shared.progress, state);
        }
    }

    /// Saves a snapshot on the caller's thread while appends go on, and lets
    /// the cleaner remove what it covers. See [`Store::save_snapshot`]; durable
    /// on return.
    pub fn save_snapshot(
        &self,
        meta: SnapshotMeta,
        source: Box<dyn SnapshotSource>,
    ) -> Result<bool> {
        let saved = self.store.save_snapshot(meta, source).run()?;
        self.shared.lock().look_around(&self.shared);
        Ok(saved)
    }

    /// Ends an install whose pieces were all pushed, but for `done`, on the
    /// caller's thread. Waits first for what was handed over, since the log is
    /// judged by what is in it; nothing may be handed over meanwhile. Durable on
    /// return. See [`Store::install`].
    pub fn install(&self, mut install: Install) -> Result<Installed> {
        let submitted = self.shared.lock().submitted;
        self.wait(submitted)?;
        if !install.push(install.wanted(), Vec::new(), true) {
            return Err(Error::Misuse("the last piece was pushed already"));
        }
        loop {
            install.step()?;
            if let Some(installed) = install.outcome() {
                self.shared.lock().look_around(&self.shared);
                return Ok(installed);
            }
        }
    }

    /// Ends the threads once everything handed over is durable. A panic of one
    /// of them goes on here.
    ///
    /// Fails with what stopped them earlier; with `StorageFull` if the disk is
    /// full, for then what was handed over last is not durable.
    pub fn close(mut self) -> Result<()> {
        for result in self.end() {
            if let Err(panic) = result {
                std::panic::resume_unwind(panic);
            }
        }
        match &self.shared.lock().failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(()),
        }
    }

    fn end(&mut self) -> Vec<std::thread::Result<()>> {
        self.shared.lock().closing = true;
        self.shared.log.notify_all();
        self.shared.background.notify_all();
        self.handles.drain(..).map(JoinHandle::join).collect()
    }
}

/// Ends the threads as [`Threads::close`] does, but has nobody to tell how it
/// went.
impl Drop for Threads {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Never left half changed: a thread that panics does so elsewhere.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, failure: Error) {
        let mut state = self.lock();
        // The first one is the cause.
        state.failure.get_or_insert(failure);
        self.progress.notify_all();
        self.log.notify_all();
        self.background.notify_all();
    }
}

impl State {
    fn look_around(&mut self, shared: &Shared) {
        self.look = true;
        self.unseen_bytes = 0;
        shared.background.notify_one();
    }

    fn is_over(&self) -> bool {
        self.closing || self.failure.is_some()
    }
}

fn wait<'a>(condition: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    condition
        .wait(state)
        .unwrap_or_else(PoisonError::into_inner)
}

/// Waits for at most [`RETRY`].
fn wait_a_little<'a>(condition: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    condition
        .wait_timeout(state, RETRY)
        .unwrap_or_else(PoisonError::into_inner)
        .0
}

/// Tells the waiting callers when a thread panics: nobody else would.
struct Alarm<'a>(&'a Shared);

impl Alarm<'_> {
    fn disarm(self, result: Result<()>) {
        if let Err(failure) = result {
            self.0.fail(failure);
        }
        std::mem::forget(self);
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.0.fail(Error::Poisoned);
    }
}

fn log_thread(shared: &Shared, store: &Store, mut writer: Writer) -> Result<()> {
    let mut retry = false;
    loop {
        let mut state = shared.lock();
        while !writer.has_work() && !state.is_over() {
            state = wait(&shared.log, state);
        }
        if state.failure.is_some() || !writer.has_work() {
            return Ok(());
        }
        if retry {
            if state.closing {
                // Nobody knows when there will be space.
                return Err(Error::Io {
                    op: Op::Write,
                    path: PathBuf::from("the log"),
                    source: Arc::new(io::ErrorKind::StorageFull.into()),
                });
            }
            state = wait_a_little(&shared.log, state);
        }
        drop(state);
        retry = match writer.step()? {
            Step::Ran => false,
            // It has work, yet can't go on: don't spin.
            Step::Idle | Step::Stalled => writer.has_work(),
        };
        publish(shared, store.persisted());
    }
}

fn publish(shared: &Shared, persisted: Ticket) {
    let mut state = shared.lock();
    if persisted == state.persisted {
        return;
    }
    assert!(persisted > state.persisted, "tickets never go back");
    state.persisted = persisted;
    state.submitted = state.submitted.max(persisted);
    while let Some((_, bytes)) = state
        .in_flight
        .pop_front_if(|(ticket, _)| *ticket <= persisted)
    {
        state.in_flight_bytes -= bytes;
    }
    shared.progress.notify_all();
}

fn background_thread(shared: &Shared, mut preparer: Preparer, mut cleaner: Cleaner) -> Result<()> {
    let mut retry = false;
    loop {
        let mut state = shared.lock();
        if retry && !state.is_over() {
            state = wait_a_little(&shared.background, state);
        }
        while !state.look && !state.is_over() {
            state = wait(&shared.background, state);
        }
        // What is not prepared or cleaned now will be after the next open.
        if state.is_over() {
            return Ok(());
        }
        state.look = false;
        drop(state);
        // One step each in turn: freeing a large file takes long, and the
        // next segment may be wanted soon.
        let mut ran = false;
        retry = false;
        if preparer.has_work() {
            match preparer.step()? {
                Step::Ran => ran = true,
                Step::Idle | Step::Stalled => retry |= preparer.has_work(),
            }
        }
        if cleaner.has_work() {
            match cleaner.step()? {
                Step::Ran => ran = true,
                Step::Idle | Step::Stalled => retry |= cleaner.has_work(),
            }
        }
        if ran || retry {
            shared.lock().look = true;
        }
        retry &= !ran;
    }
}

/// The operating system's clock and entropy.
pub struct SystemEnv {
    /// State of a splitmix64 stream seeded by the system: names, nonces and
    /// timeouts must differ from those of other processes, not be secret.
    random: AtomicU64,
    observer: Box<dyn Fn(Event) + Send + Sync>,
}

impl SystemEnv {
    /// `observer` sees every decision, in order, on the thread that takes it:
    /// it should be quick and must not call back into the store. Pass `|_| {}`
    /// to see nothing. Fails if the system has no entropy.
    pub fn new(observer: impl Fn(Event) + Send + Sync + 'static) -> io::Result<Self> {
        let mut seed = [0; 8];
        let mut filled = 0;
        while filled < seed.len() {
            let rest = &mut seed[filled..];
            filled += rustix::io::retry_on_intr(|| {
                rustix::rand::getrandom(&mut *rest, rustix::rand::GetRandomFlags::empty())
            })?;
        }
        Ok(SystemEnv {
            random: AtomicU64::new(u64::from_le_bytes(seed)),
            observer: Box::new(observer),
        })
    }
}

impl Env for SystemEnv {
    #[allow(clippy::disallowed_methods, reason = "the production host's clock")]
    fn now_ms(&self) -> i64 {
        let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => ms(since),
            Err(before) => -ms(before.duration()),
        }
    }

    fn random(&self) -> u64 {
        // splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
        // generators, OOPSLA 2014).
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self
            .random
            .fetch_add(STEP, Ordering::Relaxed)
            .wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn observe(&self, event: Event) {
        (self.observer)(event);
    }
}

impl std::fmt::Debug for SystemEnv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SystemEnv").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_environments_do_not_share_their_randomness() {
        let draw = || {
            let env = SystemEnv::new(|_| {}).unwrap();
            let drawn: Vec<u64> = (0..4).map(|_| env.random()).collect();
            drawn
        };
        let (mut all, other) = (draw(), draw());
        all.extend(other);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 8);
    }

    #[test]
    fn a_panicking_thread_wakes_whoever_waits() {
        let shared = Shared::default();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _alarm = Alarm(&shared);
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        assert!(matches!(shared.lock().failure, Some(Error::Poisoned)));

        let shared = Shared::default();
        Alarm(&shared).disarm(Ok(()));
        assert!(shared.lock().failure.is_none());
        Alarm(&shared).disarm(Err(Error::Misuse("first")));
        shared.fail(Error::Poisoned);
        assert!(matches!(
            shared.lock().failure,
            Some(Error::Misuse("first"))
        ));
    }

    #[test]
    fn what_is_durable_makes_room() {
        let shared = Shared::default();
        {
            let mut state = shared.lock();
            state.in_flight.extend([(1, 10), (2, 20), (3, 30)]);
            state.in_flight_bytes = 60;
        }
        publish(&shared, 2);
        let state = shared.lock();
        assert_eq!((state.persisted, state.in_flight_bytes), (2, 30));
        assert_eq!(state.in_flight, [(3, 30)]);
    }
}
