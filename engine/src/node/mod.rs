//! One replica: the Raft core, the store and the user's state machine.
//!
//! Still without I/O of its own: the host brings messages and ticks, takes
//! [`Output`]s away, and gives each [`Task`] its steps.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;

use crate::entry::{EntryKind, Membership, SnapshotMeta};
use crate::error::Result;
use crate::event::Event;
use crate::host::Host;
use crate::ids::{Index, NodeId, Term};
use crate::job::{Job, Step, turn};
use crate::mutant::Mutants;
use crate::raft::{self, LogView, Message, Raft, Ready};
use crate::store::{Batch, Cleaner, Hinter, Options, Preparer, Report, Store, Ticket, Writer};

mod clients;
mod machine;
mod members;
mod receive;
mod replica;
mod request;
pub mod session;
mod transfer;

pub use self::machine::StateMachine;
pub use self::request::{Input, Output, Reply, Request, RequestKind};

use self::clients::Clients;
use self::receive::Receiving;
use self::replica::{Replica, Restore};
use self::session::Command;
use self::transfer::Transfers;

/// Data of entries read from the log at once to be applied, in bytes.
const APPLY_BYTES: usize = 1 << 20;
/// A snapshot is kept open for a follower that is silent for so many election
/// timeouts.
const TRANSFER_IDLE_ELECTIONS: u32 = 10;

#[derive(Debug, Clone)]
pub struct NodeConfig {
    pub id: NodeId,
    /// The members at the very beginning. Empty for a node that joins later.
    pub membership: Membership,
    pub store: Options,
    pub election_ticks: u32,
    pub heartbeat_ticks: u32,
    pub append_bytes_max: usize,
    pub inflight_max: usize,
    /// A snapshot is saved when this many entries (at least one) were applied
    /// since the last.
    pub snapshot_every: u64,
    pub mutants: Mutants,
}

/// The tasks of a node that touch the disk; each takes one file operation a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    Writer,
    Preparer,
    Cleaner,
    Save,
    Install,
    Hint,
}
impl Task {
    pub const ALL: [Task; 6] = [
        Task::Writer,
        Task::Preparer,
        Task::Cleaner,
        Task::Save,
        Task::Install,
        Task::Hint,
    ];
}

/// One member of a cluster, on its own store.
pub struct Node<S> {
    config: NodeConfig,
    host: Host,
    store: Store,
    writer: Writer,
    preparer: Preparer,
    cleaner: Cleaner,
    hinter: Hinter,
    raft: Raft,
    replica: Replica<S>,
    /// Batches that the writer has, oldest first.
    in_flight: VecDeque<InFlight>,
    save: Option<Job<Result<bool>>>,
    /// Ticks until a save is tried again that found no space.
    save_delay_ticks: u32,
    /// The current snapshot's last index.
    saved_index: Index,
    receiving: Receiving,
    transfers: Transfers,
    clients: Clients,
    outputs: Vec<Output>,
}

/// What the core wants persisted, before the store has it.
#[derive(Debug)]
struct Held {
    seq: u64,
    batch: Batch,
    after_persist: Vec<Message>,
}

/// A batch on its way to the disk.
#[derive(Debug)]
struct InFlight {
    ticket: Ticket,
    seq: u64,
    after_persist: Vec<Message>,
}

impl<S: StateMachine> Node<S> {
    /// Opens the store in `dir` and restores the state machine from its
    /// snapshot. `machine` must be in its first state, as after
    /// [`StateMachine::reset`].
    ///
    /// Errors are the store's, and `Corrupt` with [`crate::Corruption::State`]
    /// if the snapshot is not this state machine's.
    pub fn open(
        host: Host,
        dir: &Path,
        config: NodeConfig,
        machine: S,
    ) -> Job<Result<(Node<S>, Report)>> {
        let dir = dir.to_path_buf();
        Job::new(async move {
            let mut opening = Store::open(host.clone(), &dir, config.store.clone());
            let (store, report) = loop {
                if let Some(result) = opening.step() {
                    break result?;
                }
                turn().await;
            };
            let mut replica = Replica::new(machine);
            if report.snapshot.is_some() {
                let mut restore = Restore::new();
                while !restore.step(&mut replica, &store)? {
                    turn().await;
                }
                host.env.observe(Event::Restored {
                    last_index: replica.applied_index(),
                    last_term: replica.applied_term(),
                });
            }
            let node = Node::start(host, config, store, &report, replica)?;
            Ok((node, report))
        })
    }

    fn start(
        host: Host,
        config: NodeConfig,
        store: Store,
        report: &Report,
        replica: Replica<S>,
    ) -> Result<Self> {
        let mut raft = Raft::new(
            raft::Config {
                id: config.id,
                membership: config.membership.clone(),
                election_ticks: config.election_ticks,
                heartbeat_ticks: config.heartbeat_ticks,
                append_bytes_max: config.append_bytes_max,
                inflight_max: config.inflight_max,
                mutants: config.mutants,
            },
            report.hard_state,
            report.snapshot.as_ref(),
            &store,
            host.env.random(),
        )?;
        raft.recover_commit(report.commit_hint, &store);
        let mut node = Node {
            writer: store.writer(),
            preparer: store.preparer(),
            cleaner: store.cleaner(),
            hinter: store.hinter(),
            raft,
            saved_index: replica.applied_index(),
            replica,
            in_flight: VecDeque::new(),
            save: None,
            save_delay_ticks: 0,
            receiving: Receiving::Nothing,
            transfers: Transfers::default(),
            clients: Clients::default(),
            outputs: Vec::new(),
            config,
            host,
            store,
        };
        node.drain()?;
        Ok(node)
    }

    /// Takes one input. An error is fatal for this node: drop it and open again.
    pub fn handle(&mut self, input: Input) -> Result<()> {
        match input {
            Input::Tick => {
                self.transfers
                    .tick(TRANSFER_IDLE_ELECTIONS.saturating_mul(self.config.election_ticks));
                self.save_delay_ticks = self.save_delay_ticks.saturating_sub(1);
                self.raft.tick(&self.store, self.host.env.random())?;
            }
            Input::Message(message) => {
                let entropy = self.host.env.random();
                self.raft.step(message, &self.store, entropy)?;
            }
            Input::Request(request) => self.request(request)?,
        }
        self.drain()
    }

    fn request(&mut self, request: Request) -> Result<()> {
        let (client, sequence) = (request.client, request.sequence);
        let bytes = request.body.len();
        let refused = if bytes > session::BODY_BYTES_MAX || !self.clients.has_room(bytes) {
            Some(self.raft.leader())
        } else if request.kind == RequestKind::Command {
            let data = Command {
                client,
                sequence,
                body: &request.body,
            }
            .encode();
            let now_ms = self.host.env.now_ms();
            match self
                .raft
                .propose(EntryKind::Command, data, now_ms, &self.store)?
            {
                Ok(position) => {
                    self.clients.proposed(position, &request);
                    None
                }
                Err(refused) => Some(refused.leader(self.config.id)),
            }
        } else {
            let context = self.clients.next_context();
            match self.raft.read_index(context, &self.store)? {
                Ok(()) => {
                    self.clients.asked(context, request);
                    None
                }
                Err(not_leader) => Some(not_leader.leader),
            }
        };
        if let Some(leader) = refused {
            self.outputs.push(Output::Reply {
                client,
                sequence,
                reply: Reply::NotLeader { leader },
            });
        }
        Ok(())
    }

    /// What is to be sent and answered since the last call. To be called after
    /// each `handle` and `step`: nothing bounds what piles up otherwise.
    pub fn outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// Whether a step of this task would find work.
    pub fn has_work(&self, task: Task) -> bool {
        match task {
            Task::Writer => self.writer.has_work(),
            Task::Preparer => self.preparer.has_work(),
            Task::Cleaner => self.cleaner.has_work(),
            Task::Save => self.save.is_some() || self.is_save_due(),
            Task::Install => self.has_install_work(),
            Task::Hint => self.hinter.has_work(),
        }
    }

    /// One step of a task. An error is fatal for this node.
    pub fn step(&mut self, task: Task) -> Result<Step> {
        match task {
            Task::Writer => {
                let step = self.writer.step()?;
                self.release_persisted()?;
                Ok(step)
            }
            Task::Preparer => self.preparer.step(),
            Task::Cleaner => self.cleaner.step(),
            Task::Save => self.step_save(),
            Task::Install => self.step_install(),
            Task::Hint => self.hinter.step(),
        }
    }

    /// Does what the core wants done, until it wants nothing more.
    fn drain(&mut self) -> Result<()> {
        loop {
            let ready = self.raft.ready(&self.store)?;
            // The observer sees a new leader before its first entry, and an
            // entry before its commit; and what followed from a commit behind it.
            let mut events = self.raft.take_events();
            let is_commit = |event: &Event| matches!(event, Event::Committed { .. });
            let first_commit = events.iter().position(is_commit).unwrap_or(events.len());
            for event in events.drain(..first_commit) {
                self.host.env.observe(event);
            }
            let nothing = is_empty(&ready);
            if !nothing {
                self.handle_ready(ready)?;
            }
            for event in events {
                self.host.env.observe(event);
            }
            if nothing {
                break;
            }
        }
        self.apply_committed()
    }

    fn handle_ready(&mut self, ready: Ready) -> Result<()> {
        match ready.seq {
            Some(seq) => self.persist(Held {
                seq,
                batch: Batch {
                    hard_state: ready.hard_state,
                    entries: ready.entries,
                },
                after_persist: ready.after_persist,
            })?,
            None => assert!(
                ready.hard_state.is_none()
                    && ready.entries.is_empty()
                    && ready.after_persist.is_empty(),
                "what is to be persisted has a number"
            ),
        }
        self.outputs
            .extend(ready.messages.into_iter().map(Output::Send));
        for read in &ready.snapshot_reads {
            let message = self.transfers.read(&self.store, self.config.id, read)?;
            self.outputs.push(Output::Send(message));
        }
        for read in ready.reads {
            self.clients.confirmed(read);
        }
        for context in ready.failed_reads {
            self.clients
                .refused(context, self.raft.leader(), &mut self.outputs);
        }
        // Last, for it calls the core, which wants its Ready handled before.
        if let Some(piece) = ready.snapshot_piece {
            self.take_piece(piece);
        }
        Ok(())
    }

    /// Hands a batch to the store, or keeps it while an install is finished.
    fn persist(&mut self, new: Held) -> Result<()> {
        if let Receiving::Finishing { held, .. } = &mut self.receiving {
            assert!(
                new.batch.entries.is_empty(),
                "the core appends nothing while an install is finished"
            );
            held.push(new);
            return Ok(());
        }
        self.submit(new)
    }

    fn submit(&mut self, held: Held) -> Result<()> {
        let ticket = self.store.submit(held.batch)?;
        if let Some(last) = self.in_flight.back() {
            assert!(last.ticket < ticket && last.seq < held.seq);
        }
        self.in_flight.push_back(InFlight {
            ticket,
            seq: held.seq,
            after_persist: held.after_persist,
        });
        Ok(())
    }

    /// Lets go of everything that waited for what is durable by now.
    fn release_persisted(&mut self) -> Result<()> {
        let persisted = self.store.persisted();
        while let Some(batch) = self
            .in_flight
            .pop_front_if(|batch| batch.ticket <= persisted)
        {
            let term = self.raft.term();
            // A promise of an earlier term is of no use to anybody, and the
            // entries it speaks of may have been truncated since.
            let messages = batch.after_persist.into_iter();
            self.outputs
                .extend(messages.filter(|m| m.term >= term).map(Output::Send));
            self.raft.persisted(batch.seq, &self.store)?;
            self.drain()?;
        }
        Ok(())
    }

    /// Applies what is committed and durable here.
    fn apply_committed(&mut self) -> Result<()> {
        if !self.receiving.may_apply() {
            return Ok(());
        }
        self.store.hint_commit(self.raft.commit_index());
        // A snapshot of the applied state must not be ahead of the own log.
        let goal = self.raft.commit_index().min(self.raft.durable_index());
        while self.replica.applied_index() < goal {
            let from = self.replica.applied_index().next();
            let entries = self.store.entries(from, APPLY_BYTES)?;
            assert!(!entries.is_empty(), "a durable entry can be read");
            for entry in entries.iter().take_while(|entry| entry.index <= goal) {
                let answer = self.replica.apply(entry)?;
                self.host.env.observe(Event::Applied { entry: entry.id() });
                self.clients
                    .applied(entry.index, entry.term, answer, &mut self.outputs);
            }
        }
        self.drop_superfluous_pieces();
        let machine = self.replica.machine();
        self.clients.serve(
            self.replica.applied_index(),
            |request| machine.query(request),
            &mut self.outputs,
        );
        Ok(())
    }

    /// Whether enough was applied since the last snapshot. Not while another
    /// one comes in: it would be newer.
    fn is_save_due(&self) -> bool {
        matches!(self.receiving, Receiving::Nothing)
            && self.save_delay_ticks == 0
            && self.replica.applied_index() - self.saved_index >= self.config.snapshot_every.max(1)
    }

    fn step_save(&mut self) -> Result<Step> {
        if self.save.is_none() && !self.is_save_due() {
            return Ok(Step::Idle);
        }
        let save = self.save.get_or_insert_with(|| {
            let meta = SnapshotMeta {
                last_index: self.replica.applied_index(),
                last_term: self.replica.applied_term(),
                // The log's newest may be another, and may be truncated.
                membership: (self.raft)
                    .membership_at(self.replica.applied_index())
                    .clone(),
            };
            self.store.save_snapshot(meta, self.replica.snapshot())
        });
        let Some(result) = save.step() else {
            return Ok(Step::Ran);
        };
        self.save = None;
        match result {
            // Saved, or an install was faster.
            Ok(_) => {
                if let Some(current) = self.store.snapshot() {
                    self.saved_index = current.last_index;
                    self.raft.snapshot_saved(current.last_index);
                }
                Ok(Step::Ran)
            }
            // The snapshot before it is still there; writing this one again
            // from its beginning is expensive, so not at once.
            Err(error) if error.is_no_space() && !self.store.is_poisoned() => {
                self.save_delay_ticks = self.config.election_ticks;
                Ok(Step::Stalled)
            }
            Err(error) => Err(error),
        }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }
    /// The state machine, as of [`Node::applied_index`] (but while an
    /// installed snapshot is being read: then in between).
    pub fn machine(&self) -> &S {
        self.replica.machine()
    }
    pub fn term(&self) -> Term {
        self.raft.term()
    }
    pub fn is_leader(&self) -> bool {
        self.raft.is_leader()
    }
    pub fn leader(&self) -> Option<NodeId> {
        self.raft.leader()
    }
    pub fn commit_index(&self) -> Index {
        self.raft.commit_index()
    }
    pub fn applied_index(&self) -> Index {
        self.replica.applied_index()
    }
}

fn is_empty(ready: &Ready) -> bool {
    let Ready {
        seq,
        hard_state,
        entries,
        messages,
        after_persist,
        snapshot_reads,
        snapshot_piece,
        commit,
        reads,
        failed_reads,
    } = ready;
    seq.is_none()
        && hard_state.is_none()
        && entries.is_empty()
        && messages.is_empty()
        && after_persist.is_empty()
        && snapshot_reads.is_empty()
        && snapshot_piece.is_none()
        && commit.is_none()
        && reads.is_empty()
        && failed_reads.is_empty()
}

impl<S> fmt::Debug for Node<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.config.id)
            .field("dir", &self.store.dir())
            .field("raft", &self.raft)
            .finish_non_exhaustive()
    }
}
