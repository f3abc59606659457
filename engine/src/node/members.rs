//! Who takes part, and who leads: what an operator may ask of a node.

use crate::entry::Membership;
use crate::error::Result;
use crate::ids::{Index, NodeId, Term};
use crate::raft::{Change, Refused};

use super::{Node, StateMachine};

impl<S: StateMachine> Node<S> {
    /// Proposes a change of the membership; on success its position. It counts
    /// at once, and is done when it is no longer pending: see
    /// [`Node::change_is_pending`]. If this node loses its leadership before,
    /// the next leader may have undone it: ask that one's [`Node::membership`].
    pub fn change_membership(&mut self, change: Change) -> Result<Result<(Index, Term), Refused>> {
        let now_ms = self.host.env.now_ms();
        let answer = self.raft.change_membership(change, now_ms, &self.store)?;
        self.drain()?;
        Ok(answer)
    }

    /// Hands the leadership to `to`; commands are refused until it has it, or
    /// for an election timeout.
    pub fn transfer_leadership(&mut self, to: NodeId) -> Result<Result<(), Refused>> {
        let answer = self.raft.transfer_leadership(to);
        self.drain()?;
        Ok(answer)
    }

    /// The membership that counts here: the log's newest, committed or not.
    pub fn membership(&self) -> &Membership {
        self.raft.membership()
    }
    /// Whether that membership is not committed yet, as far as this node knows.
    pub fn change_is_pending(&self) -> bool {
        self.raft.change_is_pending()
    }
}
