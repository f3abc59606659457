//! One replica: the Raft core, the store and the user's state machine.
//!
//! Still without I/O of its own: the host brings messages and ticks, takes
//! [`Output`]s away, and gives each [`Task`] its steps.

use std::path::Path;

use crate::entry::Membership;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::ids::{Index, NodeId, Term};
use crate::job::{Job, Step};
use crate::mutant::Mutants;
use crate::raft::Message;
use crate::store::{Options, Report, SnapshotSource, Store};

/// The user's state machine. Deterministic: the same commands in the same
/// order give the same state and the same answers on every replica.
pub trait StateMachine: Send + 'static {
    /// Takes a committed command; the answer goes to the client.
    fn apply(&mut self, index: Index, command: &[u8]) -> Vec<u8>;
    /// Answers a read from the current state.
    fn query(&self, request: &[u8]) -> Vec<u8>;
    /// Freezes the current state; it is read while later commands are applied.
    fn snapshot(&self) -> Box<dyn SnapshotSource>;
    /// Forgets everything; [`StateMachine::restore`] brings a snapshot's data.
    fn reset(&mut self);
    /// The next piece of a snapshot's data.
    fn restore(&mut self, piece: &[u8]);
    /// All pieces were given. An error says that the data makes no sense.
    fn restored(&mut self) -> Result<(), String>;
}

#[derive(Debug, Clone)]
pub struct NodeConfig {
    pub id: NodeId,
    /// The members at the very beginning.
    pub membership: Membership,
    pub store: Options,
    pub election_ticks: u32,
    pub heartbeat_ticks: u32,
    pub append_bytes_max: usize,
    pub inflight_max: usize,
    /// A snapshot is saved when this many entries were applied since the last.
    pub snapshot_every: u64,
    pub mutants: Mutants,
}

/// A client's request. `client` and `sequence` make a retried command apply
/// only once (Raft thesis, 6.3): a client's sequence numbers increase by one,
/// and it has one command outstanding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub client: u64,
    pub sequence: u64,
    pub kind: RequestKind,
    pub body: Vec<u8>,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    Command,
    Query,
}

#[derive(Debug)]
pub enum Input {
    Tick,
    Message(Message),
    Request(Request),
}

#[derive(Debug)]
pub enum Output {
    Send(Message),
    Reply {
        client: u64,
        sequence: u64,
        reply: Reply,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Done(Vec<u8>),
    /// Not this node; try `leader`. The request took no effect here.
    NotLeader {
        leader: Option<NodeId>,
    },
    /// The request may or may not take effect later.
    Unknown,
}

/// The tasks of a node that touch the disk; each takes one file operation a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    Writer,
    Preparer,
    Cleaner,
    Save,
    Install,
}
impl Task {
    pub const ALL: [Task; 5] = [
        Task::Writer,
        Task::Preparer,
        Task::Cleaner,
        Task::Save,
        Task::Install,
    ];
}

#[derive(Debug)]
pub struct Node<S> {
    _machine: S,
}

#[allow(unused_variables, clippy::todo)]
impl<S: StateMachine> Node<S> {
    /// Opens the store in `dir` and restores the state machine from its snapshot.
    pub fn open(
        host: Host,
        dir: &Path,
        config: NodeConfig,
        machine: S,
    ) -> Job<Result<(Node<S>, Report)>> {
        todo!()
    }
    /// Takes one input. An error is fatal for this node: drop it and open again.
    pub fn handle(&mut self, input: Input) -> Result<()> {
        todo!()
    }
    /// What is to be sent and answered since the last call.
    pub fn outputs(&mut self) -> Vec<Output> {
        todo!()
    }
    /// Whether a step of this task would find work.
    pub fn has_work(&self, task: Task) -> bool {
        todo!()
    }
    /// One step of a task. An error is fatal for this node.
    pub fn step(&mut self, task: Task) -> Result<Step> {
        todo!()
    }
    pub fn store(&self) -> &Store {
        todo!()
    }
    pub fn machine(&self) -> &S {
        todo!()
    }
    pub fn term(&self) -> Term {
        todo!()
    }
    pub fn is_leader(&self) -> bool {
        todo!()
    }
    pub fn leader(&self) -> Option<NodeId> {
        todo!()
    }
    pub fn commit_index(&self) -> Index {
        todo!()
    }
    pub fn applied_index(&self) -> Index {
        todo!()
    }
}
#[allow(dead_code)]
type Unused = Error;
