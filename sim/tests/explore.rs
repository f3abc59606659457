//! Every crash point of the named workloads, with every state up to level 3 and
//! two crashes in a row: the engine loses nothing, and planted bugs are found.

use afterimage_sim::explore::store::{Explored, SCENARIOS, explore, find};
use afterimage_sim::explore::{Bounds, Counts, Level};
use afterimage_sim::mutants;
use afterimage_sim::plan::seed_file::{Expectation, SeedFile};
use afterimage_sim::run::RunOptions;
use afterimage_sim::single;
use afterimage_sim::verdict::Verdict;

const JOBS: usize = 2;

fn told(explored: &Explored) -> String {
    let violations = explored.violations.iter().map(|found| {
        format!(
            "{:?} at {}\nreplayed: {}\n{}\n",
            found.violation,
            found.crash_point(),
            found.replayed,
            found.plan
        )
    });
    violations.collect()
}

/// What comes of every workload, up to this level and so many crashes in a row.
fn survives(level: Level, depth: u32) -> Vec<(&'static str, Counts)> {
    let survived = SCENARIOS.iter().map(|scenario| {
        let bounds = Bounds {
            level: level.min(scenario.level_max),
            depth,
            jobs: JOBS,
            violations: 1,
        };
        let explored = explore(&scenario.plan(), None, bounds, &mut |_| true);
        assert!(
            explored.violations.is_empty(),
            "{}: {}",
            scenario.name,
            told(&explored)
        );
        assert!(explored.complete, "{}", scenario.name);
        (scenario.name, explored.counts)
    });
    survived.collect()
}

#[test]
fn the_engine_survives_every_crash_of_every_workload() {
    for (name, counts) in survives(Level::Torn, 2) {
        // None of them is empty by mistake.
        assert!(counts.crash_points > 500, "{name}: {counts:?}");
        assert!(counts.distinct_images > 400, "{name}: {counts:?}");
        assert!(counts.recoveries > counts.distinct_images);
        assert!(counts.states > counts.recoveries);
    }
}

/// A part of the above that takes a second: what a change of the engine breaks,
/// it mostly breaks here (`just cargo-mutants`).
#[test]
fn the_engine_survives_one_crash_of_every_workload() {
    for (name, counts) in survives(Level::TwoFlips, 1) {
        assert!(counts.recoveries > 30, "{name}: {counts:?}");
    }
}

/// A planted bug is found in this workload, as a break of this rule, and the
/// plan that comes of it shows the same by itself.
#[track_caller]
fn bites(scenario: &str, mutant: &str, depth: u32, invariant: &str) {
    let mutant = mutants::find(mutant).expect("a mutant");
    let bounds = Bounds {
        depth,
        violations: 1,
        ..Bounds::default()
    };
    let plan = find(scenario).expect("a scenario").plan();
    let explored = explore(&plan, Some(mutant), bounds, &mut |_| true);
    let found = explored.violations.first().expect("it is found");
    let verdict = Verdict::Fail(found.violation.invariant);
    assert_eq!(verdict.to_string(), format!("fail({invariant})"));
    assert_eq!(found.replayed, verdict, "{}", told(&explored));

    // Through a file, as the command line does it.
    let file = SeedFile {
        about: found.crash_point(),
        expect: vec![Expectation {
            mutant: Some(mutant.name.to_owned()),
            verdict,
        }],
        plan: found.plan.clone(),
    };
    let read = SeedFile::parse(&file.to_string()).expect("a seed file");
    let run = |mutant| {
        let options = RunOptions {
            mutant,
            trace: None,
            history: false,
        };
        single::run(&read.plan, &options).verdict
    };
    assert_eq!(run(Some(mutant)), verdict);
    // Where the mutant had something pending, the engine may have nothing.
    assert!(matches!(run(None), Verdict::Pass | Verdict::Vacuous));
}

#[test]
fn a_directory_that_is_not_synced_loses_a_segment() {
    bites("roll", "segment-name-not-synced", 1, "acked-durable");
}

#[test]
fn a_commit_hint_ahead_of_what_is_durable_is_found() {
    bites("commit-hint", "hint-ahead", 1, "recovery-available");
}

#[test]
fn a_snapshot_renamed_before_its_sync_is_found() {
    bites(
        "snapshot",
        "snapshot-renamed-before-sync",
        1,
        "recovery-available",
    );
}

#[test]
fn an_append_without_a_sync_is_found() {
    bites("append", "ack-before-sync", 1, "acked-durable");
}

#[cfg(feature = "mutants")]
#[test]
fn a_failed_sync_that_is_believed_is_found() {
    bites("failed-sync", "believe-second-sync", 1, "acked-durable");
}

#[cfg(feature = "mutants")]
#[test]
fn a_torn_record_that_is_accepted_is_found() {
    bites("append", "accept-torn-record", 1, "no-resurrection");
}

#[cfg(feature = "mutants")]
#[test]
fn an_old_log_that_outlives_an_install_is_found() {
    bites("install-gap", "install-keeps-old-log", 1, "no-resurrection");
}

/// It takes a kill and then a power cut.
#[cfg(feature = "mutants")]
#[test]
fn a_recovery_that_trusts_the_cache_is_found() {
    bites("append", "recover-without-copy", 2, "acked-durable");
}

#[test]
fn an_exploration_does_not_depend_on_its_jobs() {
    let plan = find("truncate").expect("a scenario").plan();
    let run = |mutant: Option<&str>, jobs| {
        let bounds = Bounds {
            jobs,
            ..Bounds::default()
        };
        let mutant = mutant.map(|name| mutants::find(name).expect("a mutant"));
        let explored = explore(&plan, mutant, bounds, &mut |_| true);
        (explored.counts, told(&explored))
    };
    assert_eq!(run(None, 1), run(None, 3));
    let mutant = Some("segment-name-not-synced");
    assert_eq!(run(mutant, 1), run(mutant, 3));
    assert_ne!(run(mutant, 1).1, "");
}

#[test]
fn an_exploration_can_be_stopped() {
    let plan = find("roll").expect("a scenario").plan();
    let mut looks = 0;
    let explored = explore(&plan, None, Bounds::default(), &mut |_| {
        looks += 1;
        looks < 3
    });
    assert!(!explored.complete);
    assert!(explored.counts.recoveries > 0);
}
