//! The engine's messages, as raft-rs would have sent them.

use afterimage_engine::raft::{Body, Message};
use afterimage_engine::{Entry, EntryKind};
use raft::eraftpb;
use raft::eraftpb::MessageType;

use crate::Answer;

/// Marks a vote that the leader itself asked for.
const HANDOVER: &[u8] = raft::CAMPAIGN_TRANSFER;

/// `commit`: the receiver's commit index, and the term there. See the crate's
/// documentation for what becomes of an append that begins below.
pub fn translate(message: &Message, commit: (u64, u64)) -> eraftpb::Message {
    let mut out = eraftpb::Message {
        from: message.from.0,
        to: message.to.0,
        term: message.term.0,
        ..eraftpb::Message::default()
    };
    match &message.body {
        Body::PreVote {
            last_index,
            last_term,
        } => {
            out.set_msg_type(MessageType::MsgRequestPreVote);
            out.index = last_index.0;
            out.log_term = last_term.0;
        }
        Body::PreVoteReply { granted } => {
            out.set_msg_type(MessageType::MsgRequestPreVoteResponse);
            out.reject = !granted;
        }
        Body::Vote {
            last_index,
            last_term,
            handover,
        } => {
            out.set_msg_type(MessageType::MsgRequestVote);
            out.index = last_index.0;
            out.log_term = last_term.0;
            if *handover {
                out.context = HANDOVER.into();
            }
        }
        Body::VoteReply { granted } => {
            out.set_msg_type(MessageType::MsgRequestVoteResponse);
            out.reject = !granted;
        }
        Body::Append {
            prev_index,
            prev_term,
            commit: leader_commit,
            entries,
        } => {
            out.set_msg_type(MessageType::MsgAppend);
            let (index, term) = (prev_index.0, prev_term.0);
            let behind = entries.iter().filter(|entry| entry.index.0 > commit.0);
            let (index, term) = if index < commit.0 {
                commit
            } else {
                (index, term)
            };
            out.index = index;
            out.log_term = term;
            out.commit = leader_commit.0;
            out.entries = behind.map(entry).collect::<Vec<_>>().into();
        }
        Body::AppendAccepted { match_index } => {
            out.set_msg_type(MessageType::MsgAppendResponse);
            out.index = match_index.0;
        }
        Body::AppendRejected {
            prev_index,
            hint_index,
            hint_term,
        } => {
            out.set_msg_type(MessageType::MsgAppendResponse);
            out.index = prev_index.0;
            out.reject = true;
            out.reject_hint = hint_index.0;
            out.log_term = hint_term.0;
        }
        Body::Heartbeat { commit, round: _ } => {
            out.set_msg_type(MessageType::MsgHeartbeat);
            out.commit = commit.0;
        }
        Body::HeartbeatReply { round: _ } => {
            out.set_msg_type(MessageType::MsgHeartbeatResponse);
        }
        Body::TimeoutNow => out.set_msg_type(MessageType::MsgTimeoutNow),
        Body::Snapshot { .. } | Body::SnapshotWanted { .. } => {
            unreachable!("nothing is purged here")
        }
    }
    out
}

fn entry(entry: &Entry) -> eraftpb::Entry {
    assert!(
        entry.kind != EntryKind::Membership,
        "nobody changes it here"
    );
    eraftpb::Entry {
        index: entry.index.0,
        term: entry.term.0,
        data: entry.data.to_vec().into(),
        ..eraftpb::Entry::default()
    }
}

/// The answer in a message of the engine, if it is one.
pub fn answer(message: &Message) -> Option<Answer> {
    match message.body {
        Body::PreVoteReply { granted } => Some(Answer::PreVote { granted }),
        Body::VoteReply { granted } => Some(Answer::Vote { granted }),
        Body::AppendAccepted { match_index } => Some(Answer::Accepted {
            upto: match_index.0,
        }),
        Body::AppendRejected {
            hint_index,
            hint_term,
            ..
        } => Some(Answer::Rejected {
            hint: hint_index.0,
            hint_term: hint_term.0,
        }),
        _ => None,
    }
}
