use std::collections::BTreeSet;

use afterimage_engine::raft::Body;
use afterimage_engine::sometimes::Spot;
use afterimage_engine::{Event, Index, Phase, Role};

use super::super::sometimes::{LABELS, Sometimes};
use super::super::{What, names};
use crate::check::testing::{Stream, e, empty};
use crate::disk::{CrashPoint, CrashReport, FaultKind, OpKind, OpOutcome, OpRecord};
use crate::plan::Plan;
use crate::run::RunOptions;
use crate::single;

/// Exactly these labels are reached, once each.
#[track_caller]
fn check(stream: Stream, expected: &[&str]) {
    let mut sometimes = Sometimes::new();
    for record in &stream.records() {
        sometimes.record(record);
    }
    let counts = sometimes.counts();
    assert_eq!(counts.len(), LABELS.len());
    for (label, count) in counts {
        assert_eq!(count, u64::from(expected.contains(&label)), "{label}");
    }
}

fn disk(kind: OpKind, path: &str, offset: u64, outcome: OpOutcome) -> What {
    let to = (kind == OpKind::Rename).then(|| names::short(path).replace(".tmp", ""));
    What::Disk(OpRecord {
        n: 1,
        kind,
        path: path.to_owned(),
        to,
        offset,
        len: 512,
        outcome,
    })
}

impl Stream {
    fn op(self, kind: OpKind, path: &str) -> Self {
        self.op_at(kind, path, 0, OpOutcome::Ok)
    }
    fn op_at(self, kind: OpKind, path: &str, offset: u64, outcome: OpOutcome) -> Self {
        self.push(Some(1), disk(kind, path, offset, outcome))
    }
    fn begin(self, phase: Phase) -> Self {
        self.event(1, Event::Begin(phase))
    }
    fn torn(self, name: &str) -> Self {
        let torn = vec![name.to_owned()];
        let report = CrashReport {
            torn,
            ..CrashReport::default()
        };
        self.push(Some(1), What::PowerCut(report))
    }
}

#[test]
fn between_write_and_rename() {
    const LABEL: &[&str] = &["crash-between-temp-write-and-rename"];
    let tmp = "snapshot-81.tmp";
    let start = || Stream::new().boot(1);
    let written = || start().op(OpKind::Create, tmp).op(OpKind::Write, tmp);
    check(written().power_cut(1), LABEL);
    check(start().op(OpKind::Create, tmp).power_cut(1), &[]);
    check(written().op(OpKind::Unlink, tmp).power_cut(1), &[]);
    check(
        written().killed(1).boot(1).power_cut(1),
        &["kill-then-power-cut"],
    );
    let rename = |point| written().op_at(OpKind::Rename, tmp, 0, OpOutcome::Crash(point));
    check(rename(CrashPoint::Before).power_cut(1), LABEL);
    check(
        rename(CrashPoint::After).power_cut(1),
        &["crash-between-rename-and-dir-sync"],
    );
    check(written().op(OpKind::Write, "snapshot").power_cut(1), LABEL);
    check(start().op(OpKind::Write, "log-1-1.seg").power_cut(1), &[]);
}

#[test]
fn a_segment_prepared_ahead_is_no_loss() {
    const LABEL: &[&str] = &["crash-between-temp-write-and-rename"];
    let tmp = "segment-81.tmp";
    let prepared = || {
        Stream::new()
            .op(OpKind::Write, tmp)
            .op_at(OpKind::Write, tmp, 512, OpOutcome::Ok)
    };
    check(prepared().power_cut(1), &[]);
    check(prepared().op(OpKind::Write, tmp).power_cut(1), LABEL);
    check(
        prepared().begin(Phase::Roll).power_cut(1),
        &["crash-between-temp-write-and-rename", "crash-during-roll"],
    );
}

#[test]
fn between_rename_and_dir_sync() {
    const LABEL: &[&str] = &["crash-between-rename-and-dir-sync"];
    let tmp = "snapshot-81.tmp";
    let renamed = || Stream::new().op(OpKind::Write, tmp).op(OpKind::Rename, tmp);
    check(renamed().power_cut(1), LABEL);
    check(renamed().op(OpKind::SyncDir, "").power_cut(1), &[]);
    let failed = OpOutcome::Injected(FaultKind::Eio);
    check(
        renamed().op_at(OpKind::SyncDir, "", 0, failed).power_cut(1),
        &["crash-between-rename-and-dir-sync", "sync-failed"],
    );
}

#[test]
fn torn_writes() {
    check(Stream::new().torn("log-1-1.seg"), &["torn-record"]);
    check(Stream::new().torn("segment-81.tmp"), &["torn-record"]);
    check(Stream::new().torn("snapshot-81.tmp"), &["torn-snapshot"]);
    check(Stream::new().torn("hardstate"), &[]);
}

#[test]
fn in_the_middle_of_a_protocol() {
    let check_phase = |phase, label| {
        let begun = || Stream::new().boot(1).begin(phase);
        check(begun().power_cut(1), &[label]);
        check(begun().event(1, Event::End(phase)).power_cut(1), &[]);
        check(begun().boot(1).power_cut(1), &[]);
    };
    check_phase(Phase::Recovery, "crash-during-recovery");
    check_phase(Phase::Roll, "crash-during-roll");
    check_phase(Phase::Truncate, "crash-during-truncation");
}

#[test]
fn leaders() {
    let leads = || Stream::new().role(1, 2, Role::Leader);
    check(leads().power_cut(1), &["crash-of-leader"]);
    check(leads().power_cut(2), &[]);
    check(leads().role(1, 3, Role::Follower).power_cut(1), &[]);
    check(leads().killed(1).power_cut(1), &[]);
    let fault = |kind| Stream::new().push(None, What::Fault { kind });
    check(fault("leader-in-minority"), &["leader-in-minority"]);
    check(fault("partition"), &[]);
}

#[test]
fn truncations_by_a_leader() {
    let log = || Stream::new().up(1, empty()).append(1, &[e(1, 1), e(1, 2)]);
    check(
        log().append(1, &[e(2, 2)]).truncated(1, 2),
        &["suffix-truncated-by-leader"],
    );
    check(log().append(1, &[e(2, 2)]), &[]);
    check(log().truncate(1, 2).truncated(1, 2), &[]);
    check(log().append(1, &[e(2, 3)]).durable(1, 3), &[]);
}

#[test]
fn snapshots_and_purges() {
    let purged = |segments| Event::Purged {
        first: Index(2),
        segments,
    };
    let saved = || Stream::new().saved(1, 1, 1);
    check(saved().event(1, purged(1)), &["purge-after-snapshot"]);
    check(saved().event(1, purged(0)), &[]);
    check(Stream::new().event(1, purged(1)), &[]);
    check(
        Stream::new().installed(1, 5, 1, false),
        &["snapshot-installed"],
    );
}

#[test]
fn disk_faults() {
    let failed =
        |kind, fault| Stream::new().op_at(kind, "log-1-1.seg", 0, OpOutcome::Injected(fault));
    check(failed(OpKind::Sync, FaultKind::Eio), &["sync-failed"]);
    check(failed(OpKind::Write, FaultKind::Eio), &[]);
    check(failed(OpKind::Write, FaultKind::Enospc), &["disk-full"]);
    check(failed(OpKind::Sync, FaultKind::Enospc), &["disk-full"]);
}

#[test]
fn kill_then_power_cut() {
    const LABEL: &[&str] = &["kill-then-power-cut"];
    let killed = || Stream::new().boot(1).killed(1);
    check(killed().boot(1).power_cut(1), LABEL);
    check(killed().power_cut(1), &[]);
    check(killed().power_cut(1).boot(1).power_cut(1), &[]);
    check(killed().boot(1).up(1, empty()).power_cut(1), LABEL);
    check(
        killed().boot(1).open_failed(1, true).boot(1).power_cut(1),
        LABEL,
    );
    check(Stream::new().boot(1).power_cut(1), &[]);
}

#[test]
fn members_come_and_go() {
    let leader = || {
        Stream::new()
            .members(&[1, 2, 3])
            .boot(1)
            .role(1, 2, Role::Leader)
    };
    let changed = |voters: &[u64]| leader().changed(1, 5, voters);
    check(changed(&[1, 2, 3, 4]).committed(1, 4, 2), &[]);
    let done = |voters: &[u64]| changed(voters).committed(1, 5, 2);
    check(done(&[1, 2, 3, 4]), &["member-added"]);
    check(done(&[1, 2]).committed(1, 6, 2), &["member-removed"]);
    check(done(&[2, 3]), &["leader-removed-itself"]);
    let learner = leader().learner(1, 5, &[1, 2, 3], 4);
    check(learner.committed(1, 5, 2), &["learner-added"]);
    // Another leader took over, and then took it back.
    let deposed = || changed(&[1, 2]).role(1, 3, Role::Follower);
    check(deposed().committed(1, 5, 3), &[]);
    check(deposed().changed(1, 0, &[1, 2, 3]), &["change-undone"]);
}

#[test]
fn a_leadership_handed_over() {
    let told = || Stream::new().sent(1, 2, 4, Body::TimeoutNow);
    check(told().role(2, 5, Role::Leader), &["leadership-transferred"]);
    check(told().role(3, 5, Role::Leader), &[]);
    check(told().role(2, 6, Role::Leader), &[]);
}

/// What the engine marks is counted for each run by itself.
#[test]
fn places_of_the_engine() {
    let text = include_str!("../../../tests/plans/torn-tail.plan");
    let plan: Plan = text.parse().unwrap();
    let run = || single::run(&plan, &RunOptions::default()).sometimes;
    let counts = run();
    assert_eq!(counts, run(), "on the same thread");
    // A recovery on a copy of the disk, as the judges ask for, counts like any other.
    for (label, reached) in [
        ("torn-tail-cut", true),
        ("tail-copied", true),
        ("gap-covered-by-snapshot", false),
    ] {
        assert_eq!(counts[label] > 0, reached, "{label}");
    }
    assert!(!counts.contains_key("leader-lost-quorum"), "of one store");
}

#[test]
fn no_name_means_two_things() {
    let spots = Spot::ALL.iter().map(|spot| spot.name());
    let names: BTreeSet<&str> = LABELS.into_iter().chain(spots).collect();
    assert_eq!(names.len(), LABELS.len() + Spot::ALL.len());
}
