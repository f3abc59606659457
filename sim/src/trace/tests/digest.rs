use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;

use afterimage_engine::node::Reply;
use afterimage_engine::raft::Body;
use afterimage_engine::store::Report;
use afterimage_engine::{
    Entry, EntryKind, Event, Index, Membership, NodeId, Phase, Role, SnapshotMeta, Term,
};

use super::super::{Digest, Record, What};
use crate::check::testing::{Stream, e, empty, forged, log, snapshot, voted};
use crate::disk::{CrashPoint, CrashReport, FaultKind, OpKind, OpOutcome, OpRecord};

fn digest(records: &[Record]) -> u64 {
    let mut digest = Digest::new();
    for record in records {
        digest.record(record);
    }
    assert_eq!(digest.records(), records.len() as u64);
    digest.value()
}

/// Records that differ from each other in one field, or in the variant.
fn all_different() -> Vec<What> {
    let mut all = Vec::new();
    all.extend(ops().map(What::Disk));
    all.extend(events().into_iter().map(What::Engine));
    all.extend(streams().into_iter().map(|record| record.what));
    all
}

fn ops() -> impl Iterator<Item = OpRecord> {
    let op = || OpRecord {
        n: 1,
        kind: OpKind::Write,
        path: "a".to_owned(),
        to: None,
        offset: 2,
        len: 3,
        outcome: OpOutcome::Ok,
    };
    let outcomes = [
        OpOutcome::Refused(ErrorKind::NotFound),
        OpOutcome::Refused(ErrorKind::AlreadyExists),
        OpOutcome::Injected(FaultKind::Eio),
        OpOutcome::Injected(FaultKind::Short),
        OpOutcome::Crash(CrashPoint::Before),
        OpOutcome::Crash(CrashPoint::After),
        OpOutcome::Fenced,
    ];
    let kind = OpKind::Read;
    let (path, to) = ("b".to_owned(), Some("b".to_owned()));
    [
        op(),
        OpRecord { n: 2, ..op() },
        OpRecord { kind, ..op() },
        OpRecord { path, ..op() },
        OpRecord { to, ..op() },
        OpRecord { offset: 3, ..op() },
        OpRecord { len: 4, ..op() },
    ]
    .into_iter()
    .chain(outcomes.map(move |outcome| OpRecord { outcome, ..op() }))
}

fn meta(last_index: u64, last_term: u64, voters: &[u64], learners: &[u64]) -> SnapshotMeta {
    SnapshotMeta {
        last_index: Index(last_index),
        last_term: Term(last_term),
        membership: Membership {
            voters: voters.iter().copied().map(NodeId).collect(),
            learners: learners.iter().copied().map(NodeId).collect(),
        },
    }
}

fn events() -> Vec<Event> {
    let report = Report::default;
    let tail = |path: &str, offset| Some((path.into(), offset));
    let reports = [
        report(),
        Report {
            proven_index: Index(1),
            ..report()
        },
        Report {
            torn_tail: tail("a", 1),
            ..report()
        },
        Report {
            torn_tail: tail("a", 2),
            ..report()
        },
        Report {
            torn_segments: vec!["a".to_string()],
            ..report()
        },
        Report {
            ambiguous_tail: true,
            ..report()
        },
        Report {
            bad_hard_state_slot: true,
            ..report()
        },
        Report {
            garbage: vec!["a".into()],
            ..report()
        },
        Report {
            decisions: vec!["a".into()],
            ..report()
        },
        Report {
            snapshot: Some(SnapshotMeta::default()),
            ..report()
        },
    ];
    let first = Index(1);
    let role = |term, role, leader: Option<u64>| Event::RoleChanged {
        term: Term(term),
        role,
        leader: leader.map(NodeId),
    };
    let mut events = vec![
        Event::Begin(Phase::Roll),
        Event::End(Phase::Roll),
        Event::Begin(Phase::Clean),
        Event::Stalled,
        Event::Decided { what: "a".into() },
        Event::Decided { what: "b".into() },
        Event::MembershipChanged {
            index: Index(1),
            membership: meta(1, 1, &[1], &[]).membership,
        },
        Event::MembershipChanged {
            index: Index(2),
            membership: meta(1, 1, &[1], &[]).membership,
        },
        Event::MembershipChanged {
            index: Index(2),
            membership: meta(1, 1, &[1], &[2]).membership,
        },
        Event::Poisoned,
        Event::SegmentCreated {
            base: first,
            generation: 1,
        },
        Event::SegmentCreated {
            base: first,
            generation: 2,
        },
        Event::Purged { first, segments: 0 },
        Event::Purged { first, segments: 1 },
        role(1, Role::Leader, None),
        role(2, Role::Leader, None),
        role(1, Role::Candidate, None),
        role(1, Role::Leader, Some(1)),
    ];
    for meta in [
        meta(1, 1, &[], &[]),
        meta(2, 1, &[], &[]),
        meta(1, 2, &[], &[]),
        meta(1, 1, &[1], &[]),
        meta(1, 1, &[], &[1]),
    ] {
        events.push(Event::SnapshotSaved { meta });
    }
    events.extend(reports.map(|r| Event::Recovered(Box::new(r))));
    events
}

fn streams() -> Vec<Record> {
    let entry = |kind, timestamp_ms, data: &[u8]| Body::Append {
        prev_index: Index(1),
        prev_term: Term(1),
        commit: Index(1),
        entries: vec![Entry {
            index: Index(2),
            term: Term(1),
            kind,
            timestamp_ms,
            data: data.into(),
        }],
    };
    let piece = |offset, data: &[u8], done| Body::Snapshot {
        meta: meta(1, 1, &[], &[]),
        offset,
        data: data.to_vec(),
        done,
    };
    Stream::new()
        .killed(1)
        .boot(1)
        .healed()
        .open_failed(1, true)
        .open_failed(1, false)
        .up(1, empty())
        .up(1, empty_but_unreadable())
        .up(1, voted(empty(), 1, None))
        .up(1, voted(empty(), 1, Some(1)))
        .up(1, snapshot(empty(), 1, 1, 1))
        .up(1, snapshot(empty(), 1, 1, 2))
        .up(1, log(&[e(1, 1)]))
        .read_back(1, log(&[e(1, 1)]))
        .read_back(1, log(&[e(1, 1), e(1, 2)]))
        .up(1, log(&[forged(1, 1)]))
        .reopened(1, empty())
        .reopen_failed(1)
        .append(1, &[e(1, 1)])
        .append(1, &[e(1, 1), e(1, 2)])
        .truncate(1, 1)
        .truncated(1, 1)
        .durable(1, 1)
        .hard_state(1, 1, None)
        .installed(1, 1, 1, true)
        .installed(1, 1, 1, false)
        .voted(1, 1, 2)
        .voted(1, 2, 1)
        .committed(1, 1, 2)
        .committed(1, 2, 1)
        .applied(1, e(1, 1))
        .restored(1, 1, 2)
        .restored(1, 2, 1)
        .sent(1, 2, 1, entry(EntryKind::Command, 0, b"a"))
        .sent(1, 2, 1, entry(EntryKind::Command, 0, b"b"))
        .sent(1, 2, 1, entry(EntryKind::Command, -1, b"a"))
        .sent(1, 2, 1, entry(EntryKind::Blank, 0, b"a"))
        .sent(1, 2, 1, piece(0, b"a", false))
        .sent(1, 2, 1, piece(0, b"a", true))
        .sent(1, 2, 1, piece(1, b"a", true))
        .sent(1, 2, 1, piece(1, b"b", true))
        .sent(1, 2, 1, Body::VoteReply { granted: true })
        .sent(1, 2, 1, Body::VoteReply { granted: false })
        .sent(1, 2, 1, Body::PreVoteReply { granted: true })
        .sent(1, 3, 1, Body::PreVoteReply { granted: true })
        .sent(2, 3, 1, Body::PreVoteReply { granted: true })
        .sent(1, 3, 2, Body::PreVoteReply { granted: true })
        .put(1, 1, 1, 1)
        .put(1, 1, 1, 2)
        .put(1, 1, 2, 1)
        .put(1, 2, 1, 1)
        .put(2, 1, 1, 1)
        .get(1, 1, 1)
        .wrote(1, 1, 1)
        .wrote(1, 1, 2)
        .read(1, 1, 1, 1)
        .reply(1, 1, Reply::Unknown)
        .reply(1, 1, Reply::NotLeader { leader: None })
        .converged(true)
        .converged(false)
        .last(1, true, 1, 1, 1)
        .last(1, false, 1, 1, 1)
        .last(1, true, 2, 1, 1)
        .last(1, true, 1, 2, 1)
        .last(1, true, 1, 1, 2)
        .records()
}

fn empty_but_unreadable() -> super::super::Contents {
    super::super::Contents {
        unreadable: Some("a".to_owned()),
        ..empty()
    }
}

fn at(time_us: u64, node: Option<u64>, what: What) -> Record {
    Record {
        time_us,
        node: node.map(NodeId),
        what,
    }
}

#[test]
fn every_field_counts() {
    let mut seen: BTreeMap<u64, String> = BTreeMap::new();
    let variants = all_different().into_iter().map(|what| at(0, None, what));
    let others = [
        at(1, None, What::Killed),
        at(0, Some(0), What::Killed),
        at(0, Some(1), What::Killed),
    ];
    for record in variants.chain(others) {
        let shown = format!("{record:?}");
        if let Some(other) = seen.insert(digest(&[record]), shown.clone()) {
            panic!("one digest for\n{other}\n{shown}");
        }
    }
    assert!(seen.len() > 100);
}

#[test]
fn power_cuts_count() {
    let report = CrashReport::default;
    let one = || vec!["a".to_owned()];
    let reports = [
        report(),
        CrashReport {
            fates: one(),
            ..report()
        },
        CrashReport {
            torn: one(),
            ..report()
        },
        CrashReport {
            lost: 1,
            ..report()
        },
        CrashReport {
            kept: 1,
            ..report()
        },
    ];
    let digests: BTreeSet<u64> = reports
        .map(|r| digest(&[at(0, None, What::PowerCut(r))]))
        .into();
    assert_eq!(digests.len(), 5);
}

#[test]
fn order_and_number_count() {
    let [a, b] = [
        at(0, None, What::Killed),
        at(0, None, What::Healed { core: None }),
    ];
    let (ab, ba) = ([a.clone(), b.clone()], [b, a.clone()]);
    assert_ne!(digest(&ab), digest(&ba));
    assert_ne!(digest(&ab), digest(&ab[..1]));
    assert_ne!(digest(&[]), digest(&ab[..1]));
}

#[test]
fn the_same_everywhere() {
    // A change of this number means that the encoding changed: say why.
    let records: Vec<Record> = all_different()
        .into_iter()
        .enumerate()
        .map(|(i, what)| at(i as u64, Some(1), what))
        .collect();
    assert_eq!(format!("{:016x}", digest(&records)), "6d2917dc92e168dd");
}
