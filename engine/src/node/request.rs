//! What goes into a node and what comes out of it.

use crate::ids::NodeId;
use crate::raft::Message;

/// A client's request. `client` and `sequence` make a retried command apply
/// only once (Raft thesis, 6.3): a client's sequence numbers increase, a retry
/// has the same one, and a client has one command outstanding. How many
/// clients are remembered: [`Limits::DEFAULT`](super::session::Limits::DEFAULT).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub client: u64,
    pub sequence: u64,
    pub kind: RequestKind,
    pub body: Vec<u8>,
}

/// Whether a request goes through the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// Changes the state: [`StateMachine::apply`](super::StateMachine::apply).
    Command,
    /// Reads it, linearizably: [`StateMachine::query`](super::StateMachine::query).
    Query,
}

/// What happens to a node.
#[derive(Debug)]
pub enum Input {
    Tick,
    Message(Message),
    Request(Request),
}

/// What a node wants from its host.
#[derive(Debug)]
pub enum Output {
    Send(Message),
    Reply {
        client: u64,
        sequence: u64,
        reply: Reply,
    },
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The command's answer, or the read's. The command is committed, and
    /// durable on a quorum.
    Done(Vec<u8>),
    /// Not this node; try `leader`. The request took no effect here. Names this
    /// node itself if it leads but has too many requests waiting, or the body
    /// is larger than [`BODY_BYTES_MAX`](super::session::BODY_BYTES_MAX); and a
    /// member that this node is handing its leadership to.
    NotLeader { leader: Option<NodeId> },
    /// The request may have taken effect, may take it later, or never: retry
    /// it with the same sequence to learn the answer. Also the answer to a
    /// sequence older than the client's last one.
    Unknown,
}
