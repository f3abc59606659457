//! Small builders of streams, for the tests of the judges.

use afterimage_engine::node::{Reply, RequestKind};
use afterimage_engine::raft::{Body, Message};
use afterimage_engine::store::Report;
use afterimage_engine::{
    EntryId, Event, HardState, Index, Membership, NodeId, Role, SnapshotMeta, Term,
};

use super::{Judges, Model};
use crate::disk::{CrashReport, DamageKind, FaultKind, OpKind, OpOutcome, OpRecord};
use crate::trace::{Contents, Operation, Record, What};
use crate::verdict::{Invariant, Violation};

/// A run, written down record by record.
#[derive(Clone, Default)]
pub struct Stream(Vec<Record>);

/// The entry term/index.
pub fn e(term: u64, index: u64) -> EntryId {
    EntryId {
        index: Index(index),
        term: Term(term),
        fingerprint: (1000 * term + index) as u32,
    }
}

/// Another entry with the same name.
pub fn forged(term: u64, index: u64) -> EntryId {
    EntryId {
        fingerprint: 1,
        ..e(term, index)
    }
}

pub fn empty() -> Contents {
    empty_from(1)
}

pub fn empty_from(first: u64) -> Contents {
    Contents {
        first_index: Index(first),
        last_index: Index(first).prev(),
        ..Contents::default()
    }
}

/// A log of these entries, which must not be empty.
pub fn log(entries: &[EntryId]) -> Contents {
    Contents {
        first_index: entries[0].index,
        last_index: entries[entries.len() - 1].index,
        entries: entries.to_vec(),
        ..Contents::default()
    }
}

pub fn snapshot(contents: Contents, last_index: u64, last_term: u64, crc: u32) -> Contents {
    Contents {
        snapshot: Some((Index(last_index), Term(last_term), crc)),
        ..contents
    }
}

pub fn voted(contents: Contents, term: u64, vote: Option<u64>) -> Contents {
    Contents {
        hard_state: hard_state(term, vote),
        ..contents
    }
}

fn hard_state(term: u64, vote: Option<u64>) -> HardState {
    HardState {
        term: Term(term),
        vote: vote.map(NodeId),
    }
}

fn meta(last_index: u64, last_term: u64, membership: Membership) -> SnapshotMeta {
    SnapshotMeta {
        last_index: Index(last_index),
        last_term: Term(last_term),
        membership,
    }
}

fn membership(voters: &[u64]) -> Membership {
    Membership {
        voters: voters.iter().copied().map(NodeId).collect(),
        learners: Vec::new(),
    }
}

impl Stream {
    pub fn new() -> Self {
        Stream::default()
    }

    /// No judge objects.
    #[track_caller]
    pub fn passes(self) {
        assert_eq!(self.judge(), None);
    }

    /// The first rule broken is this one, and not before the last record: what
    /// stands before is the setting, and must be sound.
    #[track_caller]
    pub fn breaks(mut self, rule: Invariant) {
        let found = self.clone().judge();
        assert_eq!(found.as_ref().map(|v| v.invariant), Some(rule), "{found:?}");
        self.0.pop();
        let mut judges = Judges::new();
        for record in &self.0 {
            assert_eq!(judges.record(record), None);
        }
    }

    /// The rule is broken, and nobody can tell before the run is over.
    #[track_caller]
    pub fn breaks_at_the_end(self, rule: Invariant) {
        let mut judges = Judges::new();
        for record in &self.0 {
            assert_eq!(judges.record(record), None);
        }
        assert_eq!(judges.finish().map(|v| v.invariant), Some(rule));
    }

    /// What the judges know by then.
    pub fn model(&self) -> Model {
        let mut model = Model::default();
        self.0.iter().for_each(|record| model.apply(record));
        model
    }

    fn judge(self) -> Option<Violation> {
        let mut judges = Judges::new();
        for record in &self.0 {
            judges.record(record);
        }
        judges.finish()
    }

    pub fn records(self) -> Vec<Record> {
        self.0
    }

    pub fn push(mut self, node: Option<u64>, what: What) -> Self {
        self.0.push(Record {
            time_us: self.0.len() as u64,
            node: node.map(NodeId),
            what,
        });
        self
    }

    pub fn event(self, node: u64, event: Event) -> Self {
        self.push(Some(node), What::Engine(event))
    }

    /// These take part at the beginning.
    pub fn members(self, voters: &[u64]) -> Self {
        self.push(None, What::Members(membership(voters)))
    }
    fn founders(&self) -> Membership {
        let found = self.0.iter().find_map(|record| match &record.what {
            What::Members(founders) => Some(founders.clone()),
            _ => None,
        });
        found.unwrap_or_default()
    }
    pub fn changed(self, node: u64, index: u64, voters: &[u64]) -> Self {
        let event = Event::MembershipChanged {
            index: Index(index),
            membership: membership(voters),
        };
        self.event(node, event)
    }

    pub fn learner(self, node: u64, index: u64, voters: &[u64], learner: u64) -> Self {
        let event = Event::MembershipChanged {
            index: Index(index),
            membership: Membership {
                learners: vec![NodeId(learner)],
                ..membership(voters)
            },
        };
        self.event(node, event)
    }

    // --- a node's life
    pub fn boot(self, node: u64) -> Self {
        self.push(Some(node), What::Boot { incarnation: 1 })
    }
    pub fn read_back(self, node: u64, contents: Contents) -> Self {
        self.push(Some(node), What::Read(contents))
    }
    pub fn up(self, node: u64, contents: Contents) -> Self {
        self.push(Some(node), What::Up(contents))
    }
    pub fn power_cut(self, node: u64) -> Self {
        self.push(Some(node), What::PowerCut(CrashReport::default()))
    }
    pub fn killed(self, node: u64) -> Self {
        self.push(Some(node), What::Killed)
    }
    pub fn open_failed(self, node: u64, excused: bool) -> Self {
        let error = "bad".to_owned();
        let corrupt = false;
        self.push(
            Some(node),
            What::OpenFailed {
                error,
                excused,
                corrupt,
            },
        )
    }
    pub fn died(self, node: u64, excused: bool) -> Self {
        let error = "bad".to_owned();
        let corrupt = false;
        self.push(
            Some(node),
            What::Died {
                error,
                excused,
                corrupt,
            },
        )
    }
    /// The open fails with an error that names a corruption.
    pub fn open_refused(self, node: u64) -> Self {
        let what = What::OpenFailed {
            error: "log-1 is corrupt at offset 512".to_owned(),
            excused: false,
            corrupt: true,
        };
        self.push(Some(node), what)
    }
    /// A bit of its disk rots.
    pub fn rotten(self, node: u64) -> Self {
        let kind = DamageKind::Rot.receipt();
        self.push(Some(node), What::Fault { kind })
    }
    /// A write of its disk is acknowledged and lost.
    pub fn lost_write(self, node: u64) -> Self {
        let op = OpRecord {
            n: 1,
            kind: OpKind::Sync,
            path: "raft/hardstate".to_owned(),
            to: None,
            offset: 0,
            len: 0,
            outcome: OpOutcome::Injected(FaultKind::Lost),
        };
        self.push(Some(node), What::Disk(op))
    }
    /// What an open says that it found.
    pub fn recovered(self, node: u64, ambiguous_tail: bool, bad_hard_state_slot: bool) -> Self {
        let report = Report {
            ambiguous_tail,
            bad_hard_state_slot,
            ..Report::default()
        };
        self.event(node, Event::Recovered(Box::new(report)))
    }
    pub fn reopened(self, node: u64, contents: Contents) -> Self {
        let contents = Ok(contents);
        self.push(Some(node), What::Reopened { contents })
    }
    pub fn reopen_failed(self, node: u64) -> Self {
        let contents = Err("bad".to_owned());
        self.push(Some(node), What::Reopened { contents })
    }

    // --- its store
    pub fn append(self, node: u64, entries: &[EntryId]) -> Self {
        let entries = entries.to_vec();
        self.event(node, Event::Appended { entries })
    }
    pub fn truncate(self, node: u64, from: u64) -> Self {
        let from = Index(from);
        self.event(node, Event::TruncateRequested { from })
    }
    pub fn truncated(self, node: u64, from: u64) -> Self {
        let from = Index(from);
        self.event(node, Event::Truncated { from })
    }
    pub fn durable(self, node: u64, index: u64) -> Self {
        let index = Index(index);
        self.event(node, Event::Durable { index })
    }
    pub fn submitted(self, node: u64, term: u64, vote: Option<u64>) -> Self {
        let hard_state = hard_state(term, vote);
        self.event(node, Event::HardStateSubmitted { hard_state })
    }
    pub fn hard_state(self, node: u64, term: u64, vote: Option<u64>) -> Self {
        let hard_state = hard_state(term, vote);
        self.event(node, Event::HardStateDurable { hard_state })
    }
    pub fn snapshot_given(self, node: u64, last_index: u64, last_term: u64, crc: u32) -> Self {
        let (last_index, last_term) = (Index(last_index), Term(last_term));
        let what = What::SnapshotGiven {
            last_index,
            last_term,
            crc,
        };
        self.push(Some(node), what)
    }
    pub fn saved(self, node: u64, last_index: u64, last_term: u64) -> Self {
        let meta = meta(last_index, last_term, self.founders());
        self.event(node, Event::SnapshotSaved { meta })
    }
    pub fn saved_with(self, node: u64, (last_index, last_term): (u64, u64), ids: &[u64]) -> Self {
        let meta = meta(last_index, last_term, membership(ids));
        self.event(node, Event::SnapshotSaved { meta })
    }
    pub fn installed(self, node: u64, last_index: u64, last_term: u64, kept_suffix: bool) -> Self {
        let meta = meta(last_index, last_term, self.founders());
        self.event(node, Event::SnapshotInstalled { meta, kept_suffix })
    }

    // --- its Raft
    pub fn role(self, node: u64, term: u64, role: Role) -> Self {
        let (term, leader) = (Term(term), None);
        self.event(node, Event::RoleChanged { term, role, leader })
    }
    pub fn voted(self, node: u64, term: u64, candidate: u64) -> Self {
        let (term, candidate) = (Term(term), NodeId(candidate));
        self.event(node, Event::Voted { term, candidate })
    }
    pub fn committed(self, node: u64, index: u64, term: u64) -> Self {
        let (index, term) = (Index(index), Term(term));
        self.event(node, Event::Committed { index, term })
    }
    pub fn applied(self, node: u64, entry: EntryId) -> Self {
        self.event(node, Event::Applied { entry })
    }
    pub fn restored(self, node: u64, last_index: u64, last_term: u64) -> Self {
        let (last_index, last_term) = (Index(last_index), Term(last_term));
        self.event(
            node,
            Event::Restored {
                last_index,
                last_term,
            },
        )
    }
    pub fn sent(self, from: u64, to: u64, term: u64, body: Body) -> Self {
        let message = Message {
            from: NodeId(from),
            to: NodeId(to),
            term: Term(term),
            body,
        };
        self.push(Some(from), What::Sent(message))
    }
    pub fn delivered(self, to: u64, from: u64, kind: &'static str, term: u64) -> Self {
        let delivered = What::Delivered {
            from: NodeId(from),
            kind,
            term: Term(term),
        };
        self.push(Some(to), delivered)
    }

    // --- its clients
    pub fn put(self, client: u64, sequence: u64, key: u32, value: u64) -> Self {
        self.invoke(client, sequence, Operation::Put { key, value })
    }
    pub fn get(self, client: u64, sequence: u64, key: u32) -> Self {
        self.invoke(client, sequence, Operation::Get { key })
    }
    fn invoke(self, client: u64, sequence: u64, operation: Operation) -> Self {
        let kind = match operation {
            Operation::Put { .. } => RequestKind::Command,
            Operation::Get { .. } => RequestKind::Query,
        };
        let what = What::Invoke {
            client,
            sequence,
            kind,
            operation,
        };
        self.push(None, what)
    }
    pub fn wrote(self, client: u64, sequence: u64, version: u64) -> Self {
        self.answer(client, sequence, version.to_le_bytes().to_vec())
    }
    pub fn read(self, client: u64, sequence: u64, version: u64, value: u64) -> Self {
        let words = [version.to_le_bytes(), value.to_le_bytes()];
        self.answer(client, sequence, words.concat())
    }
    pub fn answer(self, client: u64, sequence: u64, body: Vec<u8>) -> Self {
        self.reply(client, sequence, Reply::Done(body))
    }
    pub fn reply(self, client: u64, sequence: u64, reply: Reply) -> Self {
        let what = What::Reply {
            client,
            sequence,
            reply,
        };
        self.push(None, what)
    }

    // --- its end
    pub fn healed(self) -> Self {
        self.push(None, What::Healed { core: None })
    }
    /// Only these are healed.
    pub fn healed_core(self, core: &[u64]) -> Self {
        let core = core.iter().copied().map(NodeId).collect();
        self.push(None, What::Healed { core: Some(core) })
    }
    pub fn converged(self, yes: bool) -> Self {
        let within_us = yes.then_some(1);
        self.push(None, What::Converged { within_us })
    }
    pub fn last(self, node: u64, leader: bool, term: u64, applied: u64, state: u64) -> Self {
        let what = What::Final {
            leader,
            term: Term(term),
            commit: Index(applied),
            applied: Index(applied),
            state,
        };
        self.push(Some(node), what)
    }
}
