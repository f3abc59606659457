//! One number for everything that happened in a run.

use afterimage_engine::node::{Reply, RequestKind};
use afterimage_engine::raft::{Body, Message};
use afterimage_engine::store::Report;
use afterimage_engine::{
    Entry, EntryId, Event, HardState, Index, Membership, NodeId, SnapshotMeta, Term,
};
use xxhash_rust::xxh3::Xxh3;

use super::{Contents, Operation, Record, What};
use crate::disk::{CrashReport, OpOutcome, OpRecord};

/// XXH3-64 over every record of a run, with every field.
///
/// The encoding is our own and the same on every platform and in every build:
/// a tag for each variant, integers in little-endian order, a length in front
/// of everything that varies. Every structure is taken apart without `..`, so
/// that a field added later cannot be forgotten here. A change of the encoding
/// changes every digest, but no seed: nothing stores one.
#[derive(Clone, Default)]
pub struct Digest {
    hash: Xxh3,
    /// The record at hand; reused.
    bytes: Bytes,
    records: u64,
}

impl Digest {
    pub fn new() -> Self {
        Digest::default()
    }

    pub fn record(&mut self, record: &Record) {
        self.bytes.0.clear();
        self.bytes.record(record);
        self.hash.update(&self.bytes.0);
        self.records += 1;
    }

    /// Of all records so far.
    pub fn value(&self) -> u64 {
        self.hash.digest()
    }

    /// How many records that were.
    pub fn records(&self) -> u64 {
        self.records
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Digest({:#018x}, {})", self.value(), self.records)
    }
}

/// The encoding. Each type has a method of its name.
#[derive(Clone, Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }
    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn len(&mut self, value: usize) {
        self.u64(value as u64);
    }
    fn index(&mut self, value: Index) {
        self.u64(value.0);
    }
    fn term(&mut self, value: Term) {
        self.u64(value.0);
    }
    fn node(&mut self, value: NodeId) {
        self.u64(value.0);
    }
    fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }
    fn bytes(&mut self, value: &[u8]) {
        self.len(value.len());
        self.0.extend_from_slice(value);
    }
    fn str(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }
    fn option<T>(&mut self, value: Option<T>, some: impl FnOnce(&mut Self, T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            some(self, value);
        }
    }
    fn list<T>(&mut self, values: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.len(values.len());
        for value in values {
            each(self, value);
        }
    }

    fn record(&mut self, record: &Record) {
        let Record {
            time_us,
            node,
            what,
        } = record;
        self.u64(*time_us);
        self.option(*node, Self::node);
        self.what(what);
    }

    fn what(&mut self, what: &What) {
        match what {
            What::Engine(event) => {
                self.u8(0);
                self.event(event);
            }
            What::Disk(op) => {
                self.u8(1);
                self.op(op);
            }
            What::PowerCut(report) => {
                self.u8(2);
                self.crash_report(report);
            }
            What::Killed => self.u8(3),
            What::Died {
                error,
                excused,
                corrupt,
            } => {
                self.u8(4);
                self.str(error);
                self.bool(*excused);
                self.bool(*corrupt);
            }
            What::Boot { incarnation } => {
                self.u8(5);
                self.u64(*incarnation);
            }
            What::OpenFailed {
                error,
                excused,
                corrupt,
            } => {
                self.u8(6);
                self.str(error);
                self.bool(*excused);
                self.bool(*corrupt);
            }
            What::Up(contents) => {
                self.u8(7);
                self.contents(contents);
            }
            What::Reopened { contents } => {
                self.u8(8);
                self.bool(contents.is_ok());
                match contents {
                    Ok(contents) => self.contents(contents),
                    Err(error) => self.str(error),
                }
            }
            What::Sent(message) => {
                self.u8(9);
                self.message(message);
            }
            What::Delivered { from, kind, .. } => {
                self.u8(10);
                self.node(*from);
                self.str(kind);
            }
            What::Dropped {
                from,
                to,
                kind,
                why,
            } => {
                self.u8(11);
                self.node(*from);
                self.node(*to);
                self.str(kind);
                self.str(why);
            }
            What::Invoke {
                client,
                sequence,
                kind,
                operation,
            } => {
                self.u8(12);
                self.u64(*client);
                self.u64(*sequence);
                self.u8(match kind {
                    RequestKind::Command => 0,
                    RequestKind::Query => 1,
                });
                self.operation(operation);
            }
            What::Reply {
                client,
                sequence,
                reply,
            } => {
                self.u8(13);
                self.u64(*client);
                self.u64(*sequence);
                self.reply(reply);
            }
            What::Step { id, note } => {
                self.u8(14);
                self.u32(*id);
                self.str(note);
            }
            What::Fault { kind } => {
                self.u8(15);
                self.str(kind);
            }
            What::SnapshotGiven {
                last_index,
                last_term,
                crc,
            } => {
                self.u8(20);
                self.index(*last_index);
                self.term(*last_term);
                self.u32(*crc);
            }
            What::Healed { core } => {
                self.u8(16);
                self.option(core.as_deref(), |b, core| b.list(core, |b, n| b.node(*n)));
            }
            What::Final {
                leader,
                term,
                commit,
                applied,
                state,
            } => {
                self.u8(17);
                self.bool(*leader);
                self.term(*term);
                self.index(*commit);
                self.index(*applied);
                self.u64(*state);
            }
            What::Converged { within_us } => {
                self.u8(18);
                self.option(*within_us, Self::u64);
            }
            What::Read(contents) => {
                self.u8(19);
                self.contents(contents);
            }
            What::Members(membership) => {
                self.u8(21);
                self.membership(membership);
            }
        }
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Begin(phase) => {
                self.u8(0);
                self.str(phase.name());
            }
            Event::End(phase) => {
                self.u8(1);
                self.str(phase.name());
            }
            Event::Appended { entries } => {
                self.u8(2);
                self.list(entries, |b, e| b.entry_id(*e));
            }
            Event::TruncateRequested { from } => {
                self.u8(3);
                self.index(*from);
            }
            Event::Durable { index } => {
                self.u8(4);
                self.index(*index);
            }
            Event::Truncated { from } => {
                self.u8(5);
                self.index(*from);
            }
            Event::HardStateSubmitted { hard_state } => {
                self.u8(20);
                self.hard_state(*hard_state);
            }
            Event::HardStateDurable { hard_state } => {
                self.u8(6);
                self.hard_state(*hard_state);
            }
            Event::SegmentCreated { base, generation } => {
                self.u8(7);
                self.index(*base);
                self.u64(*generation);
            }
            Event::SnapshotSaved { meta } => {
                self.u8(8);
                self.snapshot_meta(meta);
            }
            Event::SnapshotInstalled { meta, kept_suffix } => {
                self.u8(9);
                self.snapshot_meta(meta);
                self.bool(*kept_suffix);
            }
            Event::Purged { first, segments } => {
                self.u8(10);
                self.index(*first);
                self.len(*segments);
            }
            Event::Recovered(report) => {
                self.u8(11);
                self.report(report);
            }
            Event::Stalled => self.u8(12),
            Event::Poisoned => self.u8(13),
            Event::RoleChanged { term, role, leader } => {
                self.u8(14);
                self.term(*term);
                self.u8(*role as u8);
                self.option(*leader, Self::node);
            }
            Event::Voted { term, candidate } => {
                self.u8(15);
                self.term(*term);
                self.node(*candidate);
            }
            Event::Committed { index, term } => {
                self.u8(16);
                self.index(*index);
                self.term(*term);
            }
            Event::Applied { entry } => {
                self.u8(17);
                self.entry_id(*entry);
            }
            Event::Restored {
                last_index,
                last_term,
            } => {
                self.u8(18);
                self.index(*last_index);
                self.term(*last_term);
            }
            Event::Decided { what } => {
                self.u8(19);
                self.str(what);
            }
            Event::MembershipChanged { index, membership } => {
                self.u8(21);
                self.index(*index);
                self.membership(membership);
            }
        }
    }

    fn entry_id(&mut self, entry: EntryId) {
        let EntryId {
            index,
            term,
            fingerprint,
        } = entry;
        self.index(index);
        self.term(term);
        self.u32(fingerprint);
    }

    fn entry(&mut self, entry: &Entry) {
        let Entry {
            index,
            term,
            kind,
            timestamp_ms,
            data,
        } = entry;
        self.index(*index);
        self.term(*term);
        self.u8(*kind as u8);
        self.u64(timestamp_ms.cast_unsigned());
        self.bytes(data);
    }

    fn hard_state(&mut self, hard_state: HardState) {
        let HardState { term, vote } = hard_state;
        self.term(term);
        self.option(vote, Self::node);
    }

    fn snapshot_meta(&mut self, meta: &SnapshotMeta) {
        let SnapshotMeta {
            last_index,
            last_term,
            membership,
        } = meta;
        self.index(*last_index);
        self.term(*last_term);
        self.membership(membership);
    }

    fn membership(&mut self, membership: &Membership) {
        let Membership { voters, learners } = membership;
        self.list(voters, |b, n| b.node(*n));
        self.list(learners, |b, n| b.node(*n));
    }

    fn report(&mut self, report: &Report) {
        let Report {
            first_index,
            last_index,
            hard_state,
            snapshot,
            proven_index,
            commit_hint,
            torn_tail,
            torn_segments,
            ambiguous_tail,
            bad_hard_state_slot,
            garbage,
            decisions,
        } = report;
        self.index(*first_index);
        self.index(*last_index);
        self.hard_state(*hard_state);
        self.option(snapshot.as_ref(), Self::snapshot_meta);
        self.index(*proven_index);
        self.index(*commit_hint);
        self.option(torn_tail.as_ref(), |b, (path, offset)| {
            b.bytes(path.as_os_str().as_encoded_bytes());
            b.u64(*offset);
        });
        self.list(torn_segments, |b, name| b.str(name));
        self.bool(*ambiguous_tail);
        self.bool(*bad_hard_state_slot);
        self.list(garbage, |b, name| b.str(name));
        self.list(decisions, |b, line| b.str(line));
    }

    fn op(&mut self, op: &OpRecord) {
        let OpRecord {
            n,
            kind,
            path,
            to,
            offset,
            len,
            outcome,
        } = op;
        self.u64(*n);
        self.u8(*kind as u8);
        self.str(path);
        self.option(to.as_deref(), Self::str);
        self.u64(*offset);
        self.u64(*len);
        match outcome {
            OpOutcome::Ok => self.u8(0),
            // The standard library promises no numbers for these; their names
            // are part of its interface.
            OpOutcome::Refused(kind) => {
                self.u8(1);
                self.str(&format!("{kind:?}"));
            }
            OpOutcome::Injected(fault) => {
                self.u8(2);
                self.u8(*fault as u8);
            }
            OpOutcome::Crash(point) => {
                self.u8(3);
                self.u8(*point as u8);
            }
            OpOutcome::Fenced => self.u8(4),
        }
    }

    fn crash_report(&mut self, report: &CrashReport) {
        let CrashReport {
            fates,
            keep,
            lost,
            kept,
            torn,
        } = report;
        self.list(fates, |b, line| b.str(line));
        self.str(&keep.to_string());
        self.len(*lost);
        self.len(*kept);
        self.list(torn, |b, name| b.str(name));
    }

    fn contents(&mut self, contents: &Contents) {
        let Contents {
            hard_state,
            snapshot,
            first_index,
            last_index,
            entries,
            unreadable,
            corrupt,
        } = contents;
        self.hard_state(*hard_state);
        self.option(*snapshot, |b, (last_index, last_term, crc)| {
            b.index(last_index);
            b.term(last_term);
            b.u32(crc);
        });
        self.index(*first_index);
        self.index(*last_index);
        self.list(entries, |b, e| b.entry_id(*e));
        self.option(unreadable.as_deref(), Self::str);
        self.bool(*corrupt);
    }

    fn operation(&mut self, operation: &Operation) {
        match operation {
            Operation::Put { key, value } => {
                self.u8(0);
                self.u32(*key);
                self.u64(*value);
            }
            Operation::Get { key } => {
                self.u8(1);
                self.u32(*key);
            }
        }
    }

    fn reply(&mut self, reply: &Reply) {
        match reply {
            Reply::Done(body) => {
                self.u8(0);
                self.bytes(body);
            }
            Reply::NotLeader { leader } => {
                self.u8(1);
                self.option(*leader, Self::node);
            }
            Reply::Unknown => self.u8(2),
        }
    }

    fn message(&mut self, message: &Message) {
        let Message {
            from,
            to,
            term,
            body,
        } = message;
        self.node(*from);
        self.node(*to);
        self.term(*term);
        // The name is the variant's tag.
        self.str(body.name());
        match body {
            Body::PreVote {
                last_index,
                last_term,
            }
            // Whether it is a handover's, the name tells.
            | Body::Vote {
                last_index,
                last_term,
                handover: _,
            } => {
                self.index(*last_index);
                self.term(*last_term);
            }
            Body::PreVoteReply { granted } | Body::VoteReply { granted } => self.bool(*granted),
            Body::Append {
                prev_index,
                prev_term,
                commit,
                entries,
            } => {
                self.index(*prev_index);
                self.term(*prev_term);
                self.index(*commit);
                self.list(entries, Self::entry);
            }
            Body::AppendAccepted { match_index } => self.index(*match_index),
            Body::AppendRejected {
                prev_index,
                hint_index,
                hint_term,
            } => {
                self.index(*prev_index);
                self.index(*hint_index);
                self.term(*hint_term);
            }
            Body::Heartbeat { commit, round } => {
                self.index(*commit);
                self.u64(*round);
            }
            Body::HeartbeatReply { round } => self.u64(*round),
            Body::Snapshot {
                meta,
                offset,
                data,
                done,
            } => {
                self.snapshot_meta(meta);
                self.u64(*offset);
                self.bytes(data);
                self.bool(*done);
            }
            Body::SnapshotWanted { last_index, offset } => {
                self.index(*last_index);
                self.u64(*offset);
            }
            Body::TimeoutNow => {}
        }
    }
}
