//! The production host of a [`Store`]: a log thread and a background thread.
//!
//! The engine itself starts no thread and reads no clock; this module does, and
//! is an example of how to run a store outside of the simulator.
//!
//! **Group commit.** [`Threads::append`] only hands a batch over. All that was
//! handed over during one sync goes to the disk together with the next: many
//! callers share one fdatasync, and a lonely one waits for nobody.
//!
//! **Who writes.** Whoever waits first does it on its own thread: waking another
//! one, and being woken by it, costs up to half of what a sync does. The log
//! thread writes what nobody waits for, and [`Threads::queue`] leaves it asleep.
//!
//! **What is durable.** When [`Threads::wait`] returns `Ok`, the ticket's batch
//! and all before it were synced and survive a power cut. When it fails, the
//! batch may or may not survive: only opening the store again tells. A failed
//! write or sync is never retried (see [`Error::Poisoned`]).
//!
//! **Watching it.** A [`Meter`] between the store and its host counts and times
//! what passes; with the feature `tracing`, `Tracer` makes spans and events of what
//! the engine decides. Both wrap a [`Host`](crate::Host): one that is not wrapped
//! pays nothing.
//!
//! ```no_run
//! use std::{path::Path, sync::Arc};
//! use afterimage_engine::store::{Batch, Options, Store};
//! use afterimage_engine::threads::{SystemEnv, Threads};
//! use afterimage_engine::{Entry, EntryKind, Host, Index, Term, fs::OsFs};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let host = Host { fs: Arc::new(OsFs), env: Arc::new(SystemEnv::unobserved()?) };
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

mod env;
mod histogram;
mod lead;
mod meter;
#[cfg(feature = "tracing")]
mod tracer;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::entry::{Entry, SnapshotMeta};
use crate::error::{Error, Op, Result};
use crate::ids::Index;
use crate::job::Step;
use crate::store::{Batch, Install, Installed, Preparer, SnapshotSource, Store, Ticket, Writer};

pub use env::SystemEnv;
pub use histogram::{BUCKETS, Latencies};
use lead::{lead, leave};
pub use meter::{Meter, Stats};
#[cfg(feature = "tracing")]
pub use tracer::Tracer;

/// Between two looks at a full disk.
const RETRY: Duration = Duration::from_millis(100);
/// Entries handed over but not durable yet, in bytes: [`Threads::append`] waits
/// while there is more, so that a slow disk does not fill the memory.
const IN_FLIGHT_BYTES_MAX: usize = 32 << 20;
/// The same where no sync is asked for: what is written soon is in the processor's
/// cache still.
const UNWRITTEN_BYTES_MAX: usize = 2 << 20;
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
    /// Less is in flight, or a failure came.
    room: Condvar,
}

#[derive(Debug, Default)]
struct State {
    submitted: Ticket,
    /// The last one whose batch brings a sync about, or is to.
    synced: Ticket,
    persisted: Ticket,
    /// Who takes it brings the next group to the disk, and puts it back. Empty
    /// also until the first segment is prepared.
    seat: Option<Writer>,
    /// There was no space for the group that the writer holds: the log thread
    /// tries again, nobody else.
    full: bool,
    /// Those who wait for a ticket while another one writes.
    waiting: Vec<(Ticket, Arc<Condvar>)>,
    /// Those who wait for room.
    blocked: usize,
    /// Batches that are not durable yet, with their size in bytes; or not written, if
    /// that is all that was asked for.
    in_flight: VecDeque<(Ticket, usize)>,
    in_flight_bytes: usize,
    /// Handed over since the background thread was woken last.
    unseen_bytes: usize,
    /// The store's, when it was looked at last.
    generation: u64,
    look: bool,
    closing: bool,
    /// Why nothing becomes durable any more.
    failure: Option<Error>,
}

impl Threads {
    /// Starts the threads of a store that was just opened: it has one writer,
    /// one preparer and one cleaner, and they are the threads' from now on. The
    /// first batch waits until a segment is prepared: as long as it takes to
    /// write and sync [`segment_bytes`](crate::store::Options) once.
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
            state.synced = state.persisted;
            state.look = true;
        }
        let (shared, store) = (threads.shared.clone(), threads.store.clone());
        // Should the second start fail, dropping `threads` ends the first.
        threads.handles.push(
            std::thread::Builder::new()
                .name("afterimage-log".into())
                .spawn(move || {
                    let alarm = Alarm(&shared);
                    alarm.disarm(log_thread(&shared, &store));
                })?,
        );
        let (shared, store) = (threads.shared.clone(), threads.store.clone());
        threads.handles.push(
            std::thread::Builder::new()
                .name("afterimage-background".into())
                .spawn(move || {
                    let alarm = Alarm(&shared);
                    alarm.disarm(background_thread(&shared, &store));
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
        let ticket = self.queue(batch)?;
        self.shared.log.notify_one();
        Ok(ticket)
    }

    /// As [`Threads::append`], for callers that go on to [`Threads::wait`] soon:
    /// it wakes nobody, so nothing is written before somebody waits.
    pub fn queue(&self, batch: Batch) -> Result<Ticket> {
        let bytes = taken_by(&batch.entries);
        self.submit(bytes, true, |store| store.submit(batch))
    }

    /// Hands entries over that nobody waits for: they are written soon, and synced
    /// with the next batch that is appended otherwise, by [`Threads::sync`], by a
    /// [`Threads::wait`] for this ticket or a later one, by [`Threads::close`], or when
    /// there are more of them than [`unsynced_bytes`](crate::store::Options). For
    /// loading a log in bulk: see [`Store::submit_unsynced`] for what a crash leaves.
    ///
    /// Blocks and fails as [`Threads::append`].
    pub fn append_unsynced(&self, entries: Vec<Entry>) -> Result<Ticket> {
        let bytes = taken_by(&entries);
        let ticket = self.submit(bytes, false, |store| store.submit_unsynced(entries))?;
        self.shared.log.notify_one();
        Ok(ticket)
    }

    /// Blocks until all that was handed over is durable.
    ///
    /// Fails as [`Threads::wait`].
    pub fn sync(&self) -> Result<()> {
        let submitted = self.shared.lock().submitted;
        self.wait(submitted)
    }

    /// Drops the suffix from `from` on; durable as with [`Threads::append`].
    pub fn truncate_suffix(&self, from: Index) -> Result<Ticket> {
        let ticket = self.submit(0, true, |store| store.truncate_suffix(from))?;
        self.shared.log.notify_one();
        Ok(ticket)
    }

    fn submit(
        &self,
        bytes: usize,
        synced: bool,
        submit: impl FnOnce(&Store) -> Result<Ticket>,
    ) -> Result<Ticket> {
        let mut state = self.shared.lock();
        let limit = match synced {
            true => IN_FLIGHT_BYTES_MAX,
            false => UNWRITTEN_BYTES_MAX,
        };
        while state.failure.is_none() && state.in_flight_bytes > limit {
            // Perhaps nobody waits for what is queued.
            self.shared.log.notify_one();
            state.blocked += 1;
            state = wait(&self.shared.room, state);
            state.blocked -= 1;
        }
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        // Under the lock, so that tickets enter the queue in order.
        let ticket = submit(&self.store)?;
        state.submitted = ticket;
        if synced {
            state.synced = ticket;
        }
        state.in_flight.push_back((ticket, bytes));
        state.in_flight_bytes += bytes;
        state.unseen_bytes += bytes;
        if state.unseen_bytes >= LOOK_EVERY_BYTES {
            state.look_around(&self.shared);
        }
        Ok(ticket)
    }

    /// Blocks until the batch of this ticket is durable, with all before it;
    /// brings it to the disk if nobody else is at it. With a full disk that is
    /// when there is space again.
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
            if state.synced < ticket {
                state.ask_for_sync(&self.store)?;
            }
            if !state.full
                && let Some(writer) = state.seat.take()
            {
                drop(state);
                lead(&self.shared, &self.store, writer, Some(ticket));
                state = self.shared.lock();
            } else {
                state = sleep(state, ticket);
            }
        }
    }

    /// The log is committed up to `index`. See [`Store::hint_commit`]; the
    /// background thread notes it when it looks for work the next time.
    pub fn hint_commit(&self, index: Index) {
        self.store.hint_commit(index);
        if self.store.hinter().has_work() {
            self.shared.lock().look_around(&self.shared);
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
        {
            let mut state = self.shared.lock();
            state.closing = true;
            if state.synced < state.submitted
                && let Err(failure) = state.ask_for_sync(&self.store)
            {
                state.failure.get_or_insert(failure);
            }
        }
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
        for (_, waiting) in state.waiting.drain(..) {
            waiting.notify_one();
        }
        self.room.notify_all();
        self.log.notify_all();
        self.background.notify_all();
    }
}

/// In memory, in bytes: an entry takes room without data, too.
fn taken_by(entries: &[Entry]) -> usize {
    size_of_val(entries) + entries.iter().map(|e| e.data.len()).sum::<usize>()
}

impl State {
    /// A batch without entries: what is unsynced becomes durable with it.
    fn ask_for_sync(&mut self, store: &Store) -> Result<()> {
        self.submitted = store.submit(Batch::default())?;
        self.synced = self.submitted;
        Ok(())
    }

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

/// Sleeps until the ticket is durable, or somebody is needed to write it.
fn sleep(mut state: MutexGuard<'_, State>, ticket: Ticket) -> MutexGuard<'_, State> {
    let woken = Arc::new(Condvar::new());
    state.waiting.push((ticket, woken.clone()));
    state = wait(&woken, state);
    // Who wakes somebody takes them from the list; a condition may do so, too.
    state
        .waiting
        .retain(|(_, other)| !Arc::ptr_eq(other, &woken));
    state
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

fn log_thread(shared: &Shared, store: &Store) -> Result<()> {
    let mut state = shared.lock();
    loop {
        if state.failure.is_some() {
            return Ok(()); // known already
        }
        match &state.seat {
            Some(writer) if writer.has_work() => {}
            Some(_) if state.closing => return Ok(()),
            _ => {
                state = wait(&shared.log, state);
                continue;
            }
        }
        if state.full {
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
        let Some(writer) = state.seat.take() else {
            continue;
        };
        drop(state);
        lead(shared, store, writer, None);
        state = shared.lock();
    }
}

/// Before anything is written: a segment that was not prepared grows with each
/// append, and each sync then pays for a change of the file's size as well, up
/// to the next roll. A full disk or a close comes first, and so does who wants no sync.
fn prepare_first(shared: &Shared, preparer: &mut Preparer) -> Result<()> {
    preparer.begin();
    let is_wanted = || {
        let state = shared.lock();
        !state.is_over() && state.submitted == state.synced
    };
    while preparer.has_work() && is_wanted() {
        if preparer.step()? != Step::Ran {
            break;
        }
    }
    Ok(())
}

fn background_thread(shared: &Shared, store: &Store) -> Result<()> {
    let (mut preparer, mut cleaner) = (store.preparer(), store.cleaner());
    let mut hinter = store.hinter();
    prepare_first(shared, &mut preparer)?;
    leave(shared, store, store.writer());
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
        cleaner.free_unused();
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
        // Nothing waits for the hint: a full disk is no reason to try again.
        if hinter.has_work() {
            ran |= hinter.step()? == Step::Ran;
        }
        if ran || retry {
            shared.lock().look = true;
        }
        retry &= !ran;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
