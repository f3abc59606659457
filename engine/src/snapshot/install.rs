//! Receiving a snapshot from the leader.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::save::{Publishing, is_news, publish};
use super::writer::SnapshotWriter;
use crate::entry::SnapshotMeta;
use crate::error::{Error, Result};
use crate::event::{Event, Phase};
use crate::ids::{Index, Term};
use crate::job::{Job, Step, turn};
use crate::mutant::Mutant;
use crate::raft::LogView;
use crate::sometimes::sometimes;
use crate::store::{Shared, State, Store};

/// The receiving side of a snapshot from the leader.
pub struct Install {
    shared: Arc<Shared>,
    meta: SnapshotMeta,
    wanted: u64,
    inbox: Arc<Mutex<Inbox>>,
    job: Option<Job<Result<Installed>>>,
    outcome: Option<Installed>,
}

/// Pieces that are not in the file yet.
#[derive(Debug, Default)]
struct Inbox {
    pieces: VecDeque<Vec<u8>>,
    done: bool,
    /// The job waits for a piece.
    waiting: bool,
    /// The job waits for the writer.
    draining: bool,
}

/// How an install ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installed {
    /// False: one as new was there already, nothing was changed.
    pub taken: bool,
    /// The log behind the snapshot stays.
    pub kept_suffix: bool,
}

impl Install {
    pub(crate) fn new(shared: Arc<Shared>, meta: SnapshotMeta) -> Self {
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        let job = receive(shared.clone(), meta.clone(), inbox.clone());
        Install {
            shared,
            meta,
            wanted: 0,
            inbox,
            job: Some(Job::new(job)),
            outcome: None,
        }
    }

    pub fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// Takes a piece at `offset`. `false` if that is not the next one wanted.
    /// After the last piece (`done`) the steps verify it, decide what becomes
    /// of the log, and make it the current snapshot. From the moment `done` was
    /// pushed until the outcome, nothing may be submitted to the store.
    pub fn push(&mut self, offset: u64, data: Vec<u8>, done: bool) -> bool {
        let mut inbox = lock(&self.inbox);
        if offset != self.wanted || inbox.done {
            return false;
        }
        self.wanted += data.len() as u64;
        inbox.pieces.push_back(data);
        inbox.done = done;
        true
    }

    /// The next offset wanted: all before it was pushed.
    pub fn wanted(&self) -> u64 {
        self.wanted
    }

    /// Whether a step would find work. Not while it waits for the next piece, nor
    /// while the writer has yet to write what was submitted before.
    pub fn has_work(&self) -> bool {
        let inbox = lock(&self.inbox);
        let waits_for_writer = inbox.draining && matches!(is_drained(&self.shared), Ok(false));
        let waits_for_piece = inbox.pieces.is_empty() && !inbox.done && inbox.waiting;
        self.job.is_some() && !waits_for_writer && !waits_for_piece
    }

    /// At most one file operation.
    ///
    /// # Errors
    /// On a full disk nothing has changed: drop this and begin again later.
    /// Others: the old snapshot and log are whole. A failed rename or directory
    /// sync poisons, whatever its reason, and so does dropping this between the two.
    pub fn step(&mut self) -> Result<Step> {
        if !self.has_work() {
            return Ok(Step::Idle);
        }
        if let Some(result) = self.job.as_mut().and_then(Job::step) {
            self.job = None;
            self.outcome = Some(result?);
        }
        Ok(Step::Ran)
    }

    /// Once installed and durable.
    pub fn outcome(&self) -> Option<Installed> {
        self.outcome
    }
}

impl fmt::Debug for Install {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Install")
            .field("meta", &self.meta)
            .field("wanted", &self.wanted)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

fn lock(inbox: &Mutex<Inbox>) -> std::sync::MutexGuard<'_, Inbox> {
    inbox.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The temporary file of an install that is dropped or fails is garbage.
struct Tmp<'a> {
    shared: &'a Shared,
    name: Option<String>,
}

impl Drop for Tmp<'_> {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            self.shared.state().garbage.push(name);
        }
    }
}

async fn receive(
    shared: Arc<Shared>,
    meta: SnapshotMeta,
    inbox: Arc<Mutex<Inbox>>,
) -> Result<Installed> {
    shared.state().check_open()?;
    shared.observe(Event::Begin(Phase::SnapshotInstall));
    let mut writer = SnapshotWriter::create(&shared, meta).await?;
    let mut tmp = Tmp {
        shared: &shared,
        name: Some(writer.tmp.clone()),
    };
    loop {
        let (piece, done) = {
            let mut inbox = lock(&inbox);
            let piece = inbox.pieces.pop_front();
            inbox.waiting = piece.is_none() && !inbox.done;
            (piece, inbox.done)
        };
        match piece {
            Some(piece) => writer.push(&piece).await?,
            None if done => break,
            None => turn().await,
        }
    }
    writer.finish_data().await?;
    let installed = finish(&shared, writer, &inbox).await?;
    if installed.taken {
        tmp.name = None;
    }
    shared.observe(Event::End(Phase::SnapshotInstall));
    Ok(installed)
}

async fn finish(
    shared: &Arc<Shared>,
    writer: SnapshotWriter,
    inbox: &Mutex<Inbox>,
) -> Result<Installed> {
    let last_index = writer.last_index();
    let last_term = writer.last_term();
    // Drain: what was submitted before is in the log when the log is judged, and
    // durable, so that nothing is owed to a log that is gone.
    while !is_drained(shared)? {
        sometimes!(InstallWaited);
        ask_for_sync(shared);
        lock(inbox).draining = true;
        turn().await;
    }
    lock(inbox).draining = false;
    let _publishing = Publishing::begin(shared).await;
    if !is_news(shared, last_index) {
        return Ok(Installed {
            taken: false,
            kept_suffix: true,
        });
    }
    // The same term at the snapshot's last index: the log is the leader's up to
    // there, and what follows may be needed (Raft, figure 13, rule 6).
    let kept_suffix = match Store::of(shared).term(last_index) {
        Ok(term) => term == last_term && !shared.has(Mutant::InstallDropsLongerLog),
        Err(Error::Unavailable { .. } | Error::Purged { .. }) => false,
        Err(e) => return Err(e),
    };
    let keeps_generations = kept_suffix || shared.has(Mutant::InstallKeepsOldLog);
    let min_generation = {
        let mut state = shared.state();
        if keeps_generations {
            state.snapshot.as_ref().map_or(0, |s| s.min_generation())
        } else {
            state.next_generation()
        }
    };
    let finished = writer.finish(shared, min_generation).await?;
    if !kept_suffix {
        let from = last_index.next();
        lower_durable(shared, last_index);
        // After the rename a crash may leave either log.
        shared.observe(Event::TruncateRequested { from });
    }
    let reader = match publish(shared, finished).await {
        Ok(reader) => reader,
        Err(e) => {
            if !kept_suffix {
                // The observer was told that the log may be gone.
                shared.poison();
            }
            return Err(e);
        }
    };
    let meta = reader.meta().clone();
    {
        let mut state = shared.state();
        state.succeed(reader);
        if !kept_suffix {
            discard_log(&mut state, last_index, last_term);
        }
    }
    shared.observe(Event::SnapshotInstalled { meta, kept_suffix });
    Ok(Installed {
        taken: true,
        kept_suffix,
    })
}

/// Asks for a sync of what was appended without one.
fn ask_for_sync(shared: &Shared) {
    let mut state = shared.state();
    if state.queue.is_empty() && !state.writing {
        state.enqueue(None, None, Vec::new(), true);
    }
}

/// Whether nothing is left to be written, or to be synced.
fn is_drained(shared: &Shared) -> Result<bool> {
    let state = shared.state();
    state.check_open()?;
    if let Some(full) = &state.stalled {
        // The writer waits for space, and the file that was received may be
        // what takes it: give it back and begin again later.
        return Err(full.clone());
    }
    Ok(state.queue.is_empty() && !state.writing && state.unsynced.is_empty())
}

fn lower_durable(shared: &Shared, to: Index) {
    let mut state = shared.state();
    state.durable_index = state.durable_index.min(to);
}

/// The log goes on, empty, behind the snapshot.
fn discard_log(state: &mut State, last_index: Index, last_term: Term) {
    let drained = state.queue.is_empty() && !state.writing && state.unsynced.is_empty();
    assert!(drained, "above");
    let names: Vec<_> = state.live.drain(..).map(|s| s.header.file_name()).collect();
    state.garbage.extend(names);
    state.replacements += 1;
    state.pins.release_below(last_index.next());
    state.active = None;
    state.cache.clear();
    state.last_index = last_index;
    state.last_term = last_term;
    state.written_index = last_index;
    state.settled_index = last_index;
    state.durable_index = last_index;
}
