//! persist-before-send: no message promises what is not durable.

use afterimage_engine::raft::{Body, Message};

use super::{Judge, Model, StoreModel, broken};
use crate::trace::{Record, What};
use crate::verdict::{Invariant::PersistBeforeSend as RULE, Violation};

/// Raft, figure 2: "updated on stable storage before responding to RPCs".
#[derive(Clone)]
pub struct PersistBeforeSend;

impl Judge for PersistBeforeSend {
    fn record(&mut self, _: &Record, _: &Model) -> Result<(), Violation> {
        Ok(())
    }

    fn message(&mut self, record: &Record, model: &Model) -> Result<(), Violation> {
        let What::Sent(message) = &record.what else {
            return Ok(());
        };
        check(&model.node(message.from).store, message).or_else(|what| {
            let kind = message.body.name();
            broken(
                RULE,
                format!("n{}: {kind} to n{}: {what}", message.from, message.to),
            )
        })
    }
}

fn check(store: &StoreModel, message: &Message) -> Result<(), String> {
    // Its term is a question, not a promise.
    if let Body::PreVote { .. } | Body::PreVoteReply { .. } = message.body {
        return Ok(());
    }
    let durable = store.hard_state();
    if durable.term < message.term {
        return Err(format!(
            "speaks in term {}, durable is {}",
            message.term, durable.term
        ));
    }
    let vote = match message.body {
        Body::Vote { .. } => Some(message.from),
        Body::VoteReply { granted: true } => Some(message.to),
        _ => None,
    };
    // In a later durable term no other vote of the earlier one can follow.
    if vote.is_some() && durable.term == message.term && durable.vote != vote {
        return Err(format!("the vote in term {} is not durable", message.term));
    }
    if let Body::AppendAccepted { match_index } = message.body
        && match_index > store.durable_index()
    {
        return Err(format!(
            "accepts up to {match_index}, durable up to {}",
            store.durable_index()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use afterimage_engine::raft::Body;
    use afterimage_engine::{Index, Term};

    use super::super::testing::*;
    use super::RULE;

    /// In term 2 with a vote for n3, 2/1 durable and 2/2 not.
    fn check(term: u64, to: u64, body: Body, holds: bool) {
        let stream = Stream::new()
            .up(1, empty())
            .hard_state(1, 2, Some(3))
            .append(1, &[e(2, 1), e(2, 2)])
            .durable(1, 1)
            .sent(1, to, term, body);
        if holds {
            stream.passes();
        } else {
            stream.breaks(RULE);
        }
    }

    #[test]
    fn a_term_is_durable_before_it_is_spoken_of() {
        let (round, granted) = (1, true);
        check(2, 2, Body::HeartbeatReply { round }, true);
        check(1, 2, Body::HeartbeatReply { round }, true);
        check(3, 2, Body::HeartbeatReply { round }, false);
        check(3, 2, Body::VoteReply { granted: false }, false);
        check(3, 2, Body::PreVoteReply { granted }, true);
        let (last_index, last_term) = (Index(1), Term(2));
        check(
            3,
            2,
            Body::PreVote {
                last_index,
                last_term,
            },
            true,
        );
    }

    #[test]
    fn a_vote_is_durable_before_it_is_given() {
        let granted = true;
        check(2, 3, Body::VoteReply { granted }, true);
        check(2, 2, Body::VoteReply { granted }, false);
        check(2, 2, Body::VoteReply { granted: false }, true);
        check(1, 2, Body::VoteReply { granted }, true);
        // A candidate's request rests on its vote for itself.
        let (last_index, last_term) = (Index(1), Term(2));
        check(
            2,
            2,
            Body::Vote {
                last_index,
                last_term,
                handover: false,
            },
            false,
        );
    }

    #[test]
    fn entries_are_durable_before_they_are_accepted() {
        let accepted = |index| Body::AppendAccepted {
            match_index: Index(index),
        };
        check(2, 3, accepted(1), true);
        check(2, 3, accepted(2), false);
        check(3, 3, accepted(1), false);
        // A replaced entry does not count any more.
        Stream::new()
            .up(1, empty())
            .hard_state(1, 2, None)
            .append(1, &[e(1, 1)])
            .durable(1, 1)
            .append(1, &[e(2, 1)])
            .sent(1, 3, 2, accepted(1))
            .breaks(RULE);
        // What the snapshot covers does.
        Stream::new()
            .up(1, empty())
            .hard_state(1, 2, None)
            .installed(1, 5, 1, false)
            .sent(1, 3, 2, accepted(5))
            .passes();
    }
}
