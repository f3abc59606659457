//! Crash traces: hand-written plans for one store, each trace a snapshot.
//!
//! A plan of `plans/` is a story in a few steps; its trace in `snapshots/` says
//! operation by operation how it went, and is reviewed like code: the diff of a
//! fix is a line of `sync` more, a `lost` less, and FAIL becomes PASS.
//! The trace of a planted bug shows what the rule is for.

use afterimage_sim::mutants;
use afterimage_sim::plan::{Action, Plan, Step, StoreOp};
use afterimage_sim::run::{Detail, RunOptions};
use afterimage_sim::single;
use afterimage_sim::verdict::{Invariant, Verdict};

/// Runs a plan and compares its trace; `mutant`: with this bug planted.
#[track_caller]
fn check(name: &str, text: &str, mutant: Option<&str>, verdict: Verdict) {
    let plan: Plan = text.parse().expect("a plan");
    let options = RunOptions {
        mutant: mutant.map(|name| mutants::find(name).expect("a mutant")),
        trace: Some(Detail::Story),
        history: false,
    };
    let report = single::run(&plan, &options);
    // A story says what every power cut leaves; none is drawn.
    let is_open = |step: &Step| {
        matches!(
            step.action,
            Action::Store(StoreOp::Crash { keep: None, .. } | StoreOp::Cut { keep: None })
        )
    };
    assert!(
        !plan.steps.iter().any(is_open),
        "{name}: a cut without keep"
    );
    let again = single::run(&report.resolved, &options);
    assert_eq!(again.digest, report.digest, "{name} replays differently");

    let about = text.lines().take_while(|line| line.starts_with('#'));
    let mut trace: String = about.map(|line| format!("{line}\n")).collect();
    let mut file = name.to_owned();
    if let Some(mutant) = options.mutant {
        trace += &format!("# With `{}` planted: {}.\n", mutant.name, mutant.what);
        file = format!("{name}@{}", mutant.name);
    }
    trace += &report.trace.expect("asked for");
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(file, trace));
    assert_eq!(report.verdict, verdict, "{name}: {trace}");
}

macro_rules! traces {
    ($($test:ident: $name:literal $(with $mutant:literal)? => $verdict:expr;)*) => {
        $(
            #[test]
            fn $test() {
                let mutant: Option<&str> = None;
                $(let mutant = Some($mutant).or(mutant);)?
                check($name, include_str!(concat!("plans/", $name, ".plan")), mutant, $verdict);
            }
        )*
    };
}

traces! {
    torn_tail: "torn-tail" => Verdict::Pass;
    torn_snapshot: "torn-snapshot" => Verdict::Pass;
    snapshot_before_rename: "snapshot-before-rename" => Verdict::Pass;
    snapshot_before_dir_sync: "snapshot-before-dir-sync" => Verdict::Pass;
    stale_frame: "stale-frame" => Verdict::Pass;
    purge: "purge" => Verdict::Pass;
    purge_early: "purge-early" => Verdict::Pass;
    purge_unsynced: "purge-unsynced" => Verdict::Pass;
    roll: "roll" => Verdict::Pass;
    truncate_across_segments: "truncate-across-segments" => Verdict::Pass;
    recovery_crashes: "recovery-crashes" => Verdict::Pass;
    kill_then_cut: "kill-then-cut" => Verdict::Pass;
    failed_sync: "failed-sync" => Verdict::Pass;
    install_with_gap: "install-with-gap" => Verdict::Pass;
    truncate_below_snapshot: "truncate-below-snapshot" => Verdict::Pass;
    install_dir_sync_full: "install-dir-sync-full" => Verdict::Pass;
    disk_full: "disk-full" => Verdict::Pass;
    vote: "vote" => Verdict::Pass;
    first_open: "first-open" => Verdict::Pass;
    rot_in_the_middle: "rot-in-the-middle" => Verdict::Pass;
    rot_at_the_end: "rot-at-the-end" => Verdict::Pass;
    rot_at_the_end_twice: "rot-at-the-end-twice" => Verdict::Pass;
    rotten_vote: "rotten-vote" => Verdict::Pass;
    rotten_vote_twice: "rotten-vote-twice" => Verdict::Pass;
    unreadable_log: "unreadable-log" => Verdict::Pass;
    read_only: "read-only" => Verdict::Pass;
    commit_hint: "commit-hint" => Verdict::Pass;
    trail: "trail" => Verdict::Pass;
    unsynced_tail: "unsynced-tail" => Verdict::Pass;
    unsynced_sync: "unsynced-sync" => Verdict::Pass;
    unsynced_stall: "unsynced-stall" => Verdict::Pass;
    unsynced_stall_at_roll: "unsynced-stall-at-roll" => Verdict::Pass;
    purge_unsynced_planted: "purge-unsynced" with "snapshot-name-not-synced" => Verdict::Fail(Invariant::RecoveryAvailable);
}

/// Bugs that only a changed engine has.
#[cfg(feature = "mutants")]
mod planted {
    use super::*;

    traces! {
        purge_early: "purge-early" with "clean-before-snapshot" => Verdict::Fail(Invariant::RecoveryAvailable);
        rot_in_the_middle: "rot-in-the-middle" with "cut-durable-record" => Verdict::Fail(Invariant::CorruptionReported);
        rot_at_the_end: "rot-at-the-end" with "silent-torn-tail" => Verdict::Fail(Invariant::CorruptionReported);
    }
}
