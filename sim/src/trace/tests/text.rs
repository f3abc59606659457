use std::sync::Arc;

use afterimage_engine::node::Reply;
use afterimage_engine::raft::Body;
use afterimage_engine::store::Report;
use afterimage_engine::{
    Entry, EntryKind, Event, Index, Membership, NodeId, Phase, SnapshotMeta, Term,
};

use super::super::What;
use super::super::text::{Style, line};
use crate::check::testing::{Stream, e, empty, log, snapshot, voted};
use crate::disk::{CrashPoint, CrashReport, FaultKind, OpKind, OpOutcome, OpRecord};

fn text(stream: Stream, style: &Style) -> String {
    let lines: Vec<String> = stream
        .records()
        .iter()
        .filter_map(|record| line(record, style))
        .collect();
    lines.join("\n")
}

fn op(n: u64, kind: OpKind, path: &str, offset: u64, outcome: OpOutcome) -> What {
    let to = (kind == OpKind::Rename).then(|| "snapshot".to_owned());
    What::Disk(OpRecord {
        n,
        kind,
        path: path.to_owned(),
        to,
        offset,
        len: 744,
        outcome,
    })
}

const SEGMENT: &str = "log-00000000000000000001-0000000000000002.seg";

#[test]
fn a_single_node() {
    let fates = vec![
        format!("kept  .3    sector 1      {SEGMENT} @624+400"),
        "lost  .4    rename        snapshot-9f.tmp -> snapshot".to_owned(),
    ];
    let report = CrashReport {
        fates,
        lost: 1,
        kept: 1,
        ..CrashReport::default()
    };
    let stream = Stream::new()
        .append(1, &[e(1, 1), e(1, 2), e(2, 3)])
        .push(Some(1), op(1, OpKind::Write, SEGMENT, 512, OpOutcome::Ok))
        .push(Some(1), op(2, OpKind::Sync, SEGMENT, 0, OpOutcome::Ok))
        .durable(1, 3)
        .push(Some(1), op(2, OpKind::Read, SEGMENT, 0, OpOutcome::Ok))
        .push(
            Some(1),
            op(3, OpKind::Rename, "snapshot-9f.tmp", 0, OpOutcome::Ok),
        )
        .push(
            Some(1),
            op(
                4,
                OpKind::SyncDir,
                "",
                0,
                OpOutcome::Crash(CrashPoint::Before),
            ),
        )
        .push(Some(1), What::PowerCut(report))
        .boot(1)
        .event(1, Event::Begin(Phase::Recovery))
        .push(
            Some(1),
            op(
                0,
                OpKind::Read,
                SEGMENT,
                0,
                OpOutcome::Injected(FaultKind::Eio),
            ),
        )
        .event(
            1,
            Event::Decided {
                what: format!("{SEGMENT} ends at 2"),
            },
        )
        .event(
            1,
            Event::Recovered(Box::new(Report {
                first_index: Index(1),
                last_index: Index(2),
                torn_tail: Some((SEGMENT.into(), 624)),
                garbage: vec!["snapshot-9f.tmp".into()],
                decisions: vec![format!("{SEGMENT} ends at 2")],
                ..Report::default()
            })),
        )
        .up(
            1,
            voted(snapshot(log(&[e(1, 1), e(1, 2)]), 1, 1, 7), 3, Some(2)),
        )
        .truncate(1, 2)
        .installed(1, 9, 2, false);
    insta::assert_snapshot!(text(stream, &Style::SINGLE), @r"
      append          1/1..2 2/3
      .1   write      log-1.2 @512+744
      .2   sync       log-1.2
      durable         3
      .3   rename     snapshot.tmp -> snapshot
      .4   sync_dir   .  CRASH before
      CRASH           lost=1 kept=1
           kept  .3    sector 1      log-1.2 @624+400
           lost  .4    rename        snapshot.tmp -> snapshot
      boot            incarnation=1
           read       log-1.2 @0+744  FAULT eio
      decide          log-1.2 ends at 2
      recovered       first=1 last=2 snapshot=none term=0 proven=0 torn=log-1.2@624 garbage=1
      up              first=1 last=2 snapshot=1/1 term=3 vote=n2 log=1/1..2
      truncate        from=2
      installed       snapshot=2/9 log=discarded
    ");
}

#[test]
fn a_cluster() {
    let entry = |term, index| Entry {
        index: Index(index),
        term: Term(term),
        kind: EntryKind::Command,
        timestamp_ms: 0,
        data: Arc::from([0; 9]),
    };
    let stream = Stream::new()
        .role(1, 2, afterimage_engine::Role::Leader)
        .sent(
            1,
            2,
            2,
            Body::Append {
                prev_index: Index(4),
                prev_term: Term(1),
                commit: Index(3),
                entries: vec![entry(1, 5), entry(2, 6), entry(2, 7), entry(2, 8)],
            },
        )
        .sent(
            1,
            3,
            2,
            Body::Snapshot {
                meta: SnapshotMeta {
                    last_index: Index(9),
                    last_term: Term(2),
                    membership: Membership::default(),
                },
                offset: 512,
                data: vec![0; 100],
                done: true,
            },
        )
        .put(1, 4, 7, 31)
        .reply(1, 4, Reply::NotLeader { leader: None })
        .wrote(1, 4, 8)
        .get(2, 1, 7)
        .read(2, 1, 8, 31)
        .push(
            None,
            What::Step {
                id: 3,
                note: "partition n1".to_owned(),
            },
        )
        .up(2, empty())
        .push(
            Some(3),
            What::Delivered {
                from: NodeId(1),
                kind: "append",
                term: Term(2),
            },
        )
        .push(
            Some(3),
            What::Dropped {
                from: NodeId(3),
                to: NodeId(1),
                kind: "append-accepted",
                why: "loss",
            },
        )
        .healed()
        .converged(true)
        .last(1, true, 3, 9, 0x5eed);
    insta::assert_snapshot!(text(stream, &Style::CLUSTER), @r"
    0.000 n1       role       leader term=2
    0.001 n1       send       n2 append term=2 prev=1/4 commit=3 1/5 2/6..8
    0.002 n1       send       n3 snapshot term=2 snapshot=2/9 @512+100 done
    0.003          invoke     c1#4 put k7=31
    0.004          reply      c1#4 not the leader
    0.005          reply      c1#4 done version=8
    0.006          invoke     c2#1 get k7
    0.007          reply      c2#1 done version=8 value=31
    0.008          step       s3 partition n1
    0.009 n2       up         first=1 last=0 snapshot=none term=0
    0.010 n3       receive    n1 append
    0.011 n3       drop       n3>n1 append-accepted (loss)
    0.012          healed
    0.013          converged  after 0.001 ms
    0.014 n1       final      term=3 commit=9 applied=9 leader
    ");
}

#[test]
fn a_style_leaves_out_what_it_says() {
    let check = |what: What, shown: [bool; 3]| {
        let stream = Stream::new().push(Some(1), what);
        let record = &stream.records()[0];
        let styles = [Style::SINGLE, Style::CLUSTER, Style::FULL];
        assert_eq!(styles.map(|s| line(record, &s).is_some()), shown);
    };
    let read = |outcome| op(1, OpKind::Read, SEGMENT, 0, outcome);
    check(read(OpOutcome::Ok), [false, false, true]);
    check(read(OpOutcome::Injected(FaultKind::Eio)), [true; 3]);
    check(read(OpOutcome::Crash(CrashPoint::Mid)), [true; 3]);
    check(
        What::Engine(Event::Begin(Phase::Roll)),
        [false, false, true],
    );
    check(op(1, OpKind::Write, SEGMENT, 0, OpOutcome::Ok), [true; 3]);
    check(What::Killed, [true; 3]);
}
