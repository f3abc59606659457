//! What a story waits for, and which messages it loses.

use afterimage_engine::{Event, Role};

use super::words::Word;
use crate::trace::What;

/// What a member may be seen doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// It leads, or begins to.
    Leads,
    /// It is up, or comes up.
    Up,
    /// Its store refuses to open.
    Refuses,
    /// Its power goes, it is killed, or it ends by itself.
    Dies,
    /// Entries are handed to its store.
    Appends,
    /// A write or a sync of its store is done, and more is durable.
    Durable,
    Truncates,
    Commits,
    Votes,
    Saves,
    Installs,
    Purges,
    /// A batch found no space.
    Stalls,
    Sends(MessageKind),
    Receives(MessageKind),
}

impl Deed {
    /// Whether this record of the member is it.
    pub fn is(self, what: &What) -> bool {
        match (self, what) {
            (Deed::Up, What::Up(_))
            | (Deed::Refuses, What::OpenFailed { .. })
            | (Deed::Dies, What::PowerCut(_) | What::Killed | What::Died { .. }) => true,
            (Deed::Sends(kind), What::Sent(message)) => message.body.name() == kind.name(),
            (Deed::Receives(kind), What::Delivered { kind: seen, .. }) => *seen == kind.name(),
            (deed, What::Engine(event)) => deed.is_event(event),
            _ => false,
        }
    }

    fn is_event(self, event: &Event) -> bool {
        match event {
            Event::RoleChanged { role, .. } => self == Deed::Leads && *role == Role::Leader,
            Event::Appended { .. } => self == Deed::Appends,
            Event::Durable { .. } => self == Deed::Durable,
            Event::Truncated { .. } => self == Deed::Truncates,
            Event::Committed { .. } => self == Deed::Commits,
            Event::Voted { .. } => self == Deed::Votes,
            Event::SnapshotSaved { .. } => self == Deed::Saves,
            Event::SnapshotInstalled { .. } => self == Deed::Installs,
            Event::Purged { .. } => self == Deed::Purges,
            Event::Stalled => self == Deed::Stalls,
            _ => false,
        }
    }
}

/// A kind of message, by its name in traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageKind(&'static str);

/// The names of `Body::name`.
const MESSAGES: [&str; 13] = [
    "pre-vote",
    "pre-vote-reply",
    "handover-vote",
    "vote",
    "vote-reply",
    "append",
    "append-accepted",
    "append-rejected",
    "heartbeat",
    "heartbeat-reply",
    "snapshot",
    "snapshot-wanted",
    "timeout-now",
];

impl MessageKind {
    pub(super) const APPEND: MessageKind = MessageKind("append");

    pub fn name(self) -> &'static str {
        self.0
    }
}

impl Word for MessageKind {
    fn print(&self) -> String {
        self.0.to_owned()
    }
    fn read(text: &str) -> Result<Self, String> {
        let known = MESSAGES.iter().find(|name| **name == text);
        known
            .map(|name| MessageKind(name))
            .ok_or_else(|| format!("one of {}", MESSAGES.join(" ")))
    }
}

/// The deeds of one word.
const DEEDS: [(Deed, &str); 13] = [
    (Deed::Leads, "leads"),
    (Deed::Up, "up"),
    (Deed::Refuses, "refuses"),
    (Deed::Dies, "dies"),
    (Deed::Appends, "appends"),
    (Deed::Durable, "durable"),
    (Deed::Truncates, "truncates"),
    (Deed::Commits, "commits"),
    (Deed::Votes, "votes"),
    (Deed::Saves, "saves"),
    (Deed::Installs, "installs"),
    (Deed::Purges, "purges"),
    (Deed::Stalls, "stalls"),
];

impl Word for Deed {
    fn print(&self) -> String {
        match self {
            Deed::Sends(kind) => format!("sends:{}", kind.name()),
            Deed::Receives(kind) => format!("receives:{}", kind.name()),
            deed => {
                let known = DEEDS.iter().find(|(known, _)| known == deed);
                known.expect("a deed of one word").1.to_owned()
            }
        }
    }
    fn read(text: &str) -> Result<Self, String> {
        if let Some(kind) = text.strip_prefix("sends:") {
            return MessageKind::read(kind).map(Deed::Sends);
        }
        if let Some(kind) = text.strip_prefix("receives:") {
            return MessageKind::read(kind).map(Deed::Receives);
        }
        let known = DEEDS.iter().find(|(_, name)| *name == text);
        known.map(|(deed, _)| *deed).ok_or_else(|| {
            let names: Vec<&str> = DEEDS.iter().map(|(_, name)| *name).collect();
            format!("one of {} sends:MESSAGE receives:MESSAGE", names.join(" "))
        })
    }
}

#[cfg(test)]
mod tests {
    use afterimage_engine::raft::Body;
    use afterimage_engine::{Index, Membership, SnapshotMeta, Term};

    use super::*;

    #[test]
    fn every_message_has_its_name_in_the_list() {
        let (index, term) = (Index(1), Term(1));
        let meta = SnapshotMeta {
            last_index: index,
            last_term: term,
            membership: Membership::default(),
        };
        let vote = |handover| Body::Vote {
            last_index: index,
            last_term: term,
            handover,
        };
        let bodies = [
            Body::PreVote {
                last_index: index,
                last_term: term,
            },
            Body::PreVoteReply { granted: true },
            vote(true),
            vote(false),
            Body::VoteReply { granted: true },
            Body::Append {
                prev_index: index,
                prev_term: term,
                commit: index,
                entries: Vec::new(),
            },
            Body::AppendAccepted { match_index: index },
            Body::AppendRejected {
                prev_index: index,
                hint_index: index,
                hint_term: term,
            },
            Body::Heartbeat {
                commit: index,
                round: 0,
            },
            Body::HeartbeatReply { round: 0 },
            Body::Snapshot {
                meta,
                offset: 0,
                data: Vec::new(),
                done: true,
            },
            Body::SnapshotWanted {
                last_index: index,
                offset: 0,
            },
            Body::TimeoutNow,
        ];
        assert_eq!(bodies.each_ref().map(Body::name), MESSAGES);
    }

    #[test]
    fn deeds_read_back() {
        let messages = MESSAGES.iter().map(|name| MessageKind(name));
        let of_messages = messages.flat_map(|kind| [Deed::Sends(kind), Deed::Receives(kind)]);
        for deed in DEEDS.iter().map(|(deed, _)| *deed).chain(of_messages) {
            assert_eq!(Deed::read(&deed.print()), Ok(deed));
        }
        assert!(Deed::read("sends:").is_err() && Deed::read("sleeps").is_err());
    }
}
