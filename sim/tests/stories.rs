//! The stories of a cluster: each comes out the same with every seed, its beats
//! come in their order, and its trace is a snapshot, without the small talk.
//! And the bug that each was told for fails it.
#![cfg(madsim)]

use afterimage_sim::mutants;
use afterimage_sim::report::RunReport;
use afterimage_sim::run::{Detail, RunOptions, run_fresh};
use afterimage_sim::stories;
use afterimage_sim::verdict::Verdict;

/// With other seeds come other latencies, and clients that do other things.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=12;

/// What must be seen of a story, in this order. A line is compared by its
/// beginning, without time and the number of a file operation.
enum Beat {
    Then(&'static str),
    /// Not between the beats around it.
    Not(&'static str),
}
use Beat::{Not, Then};

/// What its snapshot shows.
struct Shown {
    /// Of these members alone.
    members: &'static [&'static str],
    /// File operations on names that contain this.
    files: Option<&'static str>,
}

/// A trace's line without its time, as single words: `n1 write log-1.1 @0+8`.
fn words(line: &str) -> String {
    let words = line.split_whitespace().skip(1);
    let is_number = |word: &&str| {
        word.strip_prefix('.')
            .is_none_or(|n| n.parse::<u64>().is_err())
    };
    words.filter(is_number).collect::<Vec<_>>().join(" ")
}

fn told(name: &str, seed: u64, mutant: Option<&str>) -> RunReport {
    let mut plan = stories::find(name).expect("a story").plan();
    assert_eq!(plan.scenario, name);
    plan.seed = seed;
    let options = RunOptions {
        mutant: mutant.map(|name| mutants::find(name).expect("a mutant")),
        trace: Some(Detail::Story),
        history: false,
    };
    run_fresh(&plan, options)
}

#[track_caller]
fn check(name: &str, beats: &[Beat], shown: &Shown) {
    for seed in SEEDS {
        let report = told(name, seed, None);
        let trace = report.trace.as_deref().expect("asked for");
        assert_eq!(
            report.verdict,
            Verdict::Pass,
            "{name} {seed}: {:?}",
            report.violation
        );
        follow(trace, beats).unwrap_or_else(|what| panic!("{name}, seed {seed}: {what}"));
    }
    let report = told(name, 1, None);
    let again = run_fresh(&report.resolved, RunOptions::default());
    assert_eq!(again.digest, report.digest, "{name} replays differently");
    let trace = shorten(&report.trace.expect("asked for"), shown);
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, trace));
}

/// Whether nothing was skipped and all beats come in their order.
fn follow(trace: &str, beats: &[Beat]) -> Result<(), String> {
    let mut lines = trace.lines().map(words);
    if let Some(line) = lines
        .clone()
        .find(|line| line.starts_with("step") && line.contains("skip"))
    {
        return Err(line);
    }
    let mut never = Vec::new();
    for beat in beats {
        let awaited = match beat {
            Not(what) => {
                never.push(*what);
                continue;
            }
            Then(what) => *what,
        };
        loop {
            let line = lines.next().ok_or(format!("no `{awaited}`"))?;
            if line.starts_with(awaited) {
                break;
            }
            if let Some(what) = never.iter().find(|what| line.starts_with(**what)) {
                return Err(format!("`{what}` before `{awaited}`"));
            }
        }
        never.clear();
    }
    Ok(())
}

/// What of every run is alike, and says nothing about this one.
const SMALL_TALK: [&str; 11] = [
    "receive",
    "apply",
    "drop",
    "hard_state",
    "segment",
    "invoke",
    "reply",
    "reopened",
    "fault",
    "recovered",
    "vote",
];
const SMALL_MESSAGES: [&str; 4] = ["heartbeat", "heartbeat-reply", "pre-vote", "pre-vote-reply"];

fn shorten(trace: &str, shown: &Shown) -> String {
    let mut kept = String::new();
    let mut follows = false;
    for line in trace.lines() {
        // The fates of a power cut have no time.
        let is_fate = line.starts_with("                  ");
        follows = if is_fate {
            follows
        } else {
            is_told(line, shown)
        };
        if follows {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn is_told(line: &str, shown: &Shown) -> bool {
    let line_words = words(line);
    let mut words = line_words.split(' ');
    let first = words.next().unwrap_or_default();
    let Some(node) = first
        .strip_prefix('n')
        .filter(|id| id.parse::<u64>().is_ok())
    else {
        return !SMALL_TALK.contains(&first);
    };
    let verb = words.next().unwrap_or_default();
    let is_file = line
        .split_whitespace()
        .nth(2)
        .is_some_and(|n| n.starts_with('.'));
    if !shown.members.iter().any(|id| id[1..] == *node) {
        return false;
    }
    if is_file {
        let named = shown.files.is_some_and(|name| line.contains(name));
        return named || line.contains("CRASH") || line.contains("FAULT");
    }
    let small = verb == "send"
        && words
            .nth(1)
            .is_some_and(|kind| SMALL_MESSAGES.contains(&kind));
    !small && !SMALL_TALK.contains(&verb)
}

#[test]
fn figure_8() {
    check(
        "figure-8",
        &[
            // (a)
            Then("n1 role leader term=1"),
            Then("step s5 n1: cut off"),
            Then("n1 durable"),
            Then("n1 CRASH"),
            // (b)
            Then("n5 role leader term=2"),
            Then("step s11 n5: cut off"),
            Then("n5 durable"),
            Then("n5 CRASH"),
            // (c) n3 and n4 have the entry of term 1 on their disks, and n1 knows.
            Then("n1 role leader term=3"),
            Not("n1 commit"),
            Then("n3 durable"),
            Not("n1 commit"),
            Then("n1 receive n3 append-accepted"),
            Not("n1 commit"),
            Then("n4 durable"),
            Not("n1 commit"),
            Then("n1 receive n4 append-accepted"),
            Not("n1 commit"),
            Then("step s25 n1: cut off"),
            // (d)
            Then("n5 role leader term=4"),
            Then("n4 truncated"),
        ],
        &Shown {
            members: &["n1", "n3", "n4", "n5"],
            files: None,
        },
    );
}

#[test]
fn deposed_leader() {
    check(
        "deposed-leader",
        &[
            Then("n1 role leader term=1"),
            Then("step s4 n1: cut off"),
            Then("n1 durable"),
            Then("n2 role leader term=2"),
            Then("n2 commit"),
            Then("step s10"),
            Not("n1 commit"),
            Then("n1 append 2/"),
            Then("n1 commit"),
            Then("n1 truncated"),
        ],
        &Shown {
            members: &["n1", "n2"],
            files: None,
        },
    );
}

#[test]
fn missed_purge() {
    check(
        "missed-purge",
        &[
            Then("step s3 n3: cut off"),
            Then("n1 purged"),
            Then("n3 receive n1 snapshot"),
            Then("n3 receive n1 snapshot"),
            Not("n3 installed"),
            Then("n3 killed"),
            Then("n3 up"),
            Then("n3 receive n1 snapshot"),
            Then("n3 send n1 snapshot-wanted"),
            Then("n3 installed"),
            Then("n3 commit"),
        ],
        &Shown {
            members: &["n3"],
            files: Some("snapshot"),
        },
    );
}

#[test]
fn leader_crash_before_sync() {
    check(
        "leader-crash-before-sync",
        &[
            Then("step s6 n1: power cut armed"),
            Then("n1 write log-"),
            Then("n2 durable"),
            Not("n1 commit"),
            Then("n1 receive n2 append-accepted"),
            Not("n1 commit"),
            // In between of the append and the sync, and it lost something.
            Not("n1 sync log-"),
            Then("n1 sync log-1.1 CRASH before"),
            Then("n1 CRASH lost=3 kept=0"),
            Then("step s9 n2: cut off"),
            Then("n3 role leader term=2"),
            Then("n3 commit"),
            Then("n2 truncated"),
        ],
        &Shown {
            members: &["n1", "n2", "n3"],
            files: Some("log-"),
        },
    );
}

#[test]
fn save_during_transfer() {
    check(
        "save-during-transfer",
        &[
            Then("n1 saved snapshot=1/10"),
            Then("n1 purged"),
            Then("n1 send n3 snapshot term=1 snapshot=1/10 @0"),
            Then("n1 send n3 snapshot term=1 snapshot=1/10 @128"),
            Not("n3 installed"),
            Then("n1 saved"),
            Not("n3 installed"),
            Then("n1 purged"),
            // The old one to its end, and then the one that is needed.
            Then("n3 installed snapshot=1/10"),
            Then("n1 send n3 snapshot term=1"),
            Then("n3 installed snapshot=1/"),
        ],
        &Shown {
            members: &["n1", "n3"],
            files: Some("snapshot"),
        },
    );
}

#[test]
fn crash_in_install() {
    check(
        "crash-in-install",
        &[
            Then("step s3 n3: cut off"),
            Then("n1 purged"),
            Not("n3 installed"),
            Then("n3 create snapshot.tmp CRASH after"),
            Not("n3 installed"),
            // Before a write, in the middle of it, and behind the second.
            Then("n3 CRASH"),
            Not("n3 installed"),
            Then("n3 CRASH"),
            Not("n3 installed"),
            Then("n3 CRASH"),
            Not("n3 installed"),
            Then("n3 CRASH"),
            Not("n3 installed"),
            Then("n3 sync snapshot.tmp CRASH before"),
            Not("n3 installed"),
            Then("n3 sync snapshot.tmp CRASH after"),
            Not("n3 installed"),
            Then("n3 rename snapshot.tmp -> snapshot CRASH before"),
            Not("n3 installed"),
            Then("n3 rename snapshot.tmp -> snapshot CRASH after"),
            Then("n3 installed"),
            Then("n3 commit"),
        ],
        &Shown {
            members: &["n3"],
            files: Some("snapshot"),
        },
    );
}

#[test]
fn leader_disk_full() {
    check(
        "leader-disk-full",
        &[
            Then("step s3 n1: 100 bytes left"),
            Then("n1 stalled"),
            Not("n1 durable"),
            Then("n1 commit"),
            Then("n1 durable"),
            Then("n1 CRASH"),
            Then("n1 up"),
        ],
        &Shown {
            members: &["n1"],
            files: Some("log-"),
        },
    );
}

#[test]
fn corrupt_follower() {
    check(
        "corrupt-follower",
        &[
            Then("step s3 n3: rot in log-"),
            Then("n3 CRASH"),
            Not("n3 up"),
            Then("n3 refused"),
            Not("n3 up"),
            Then("n1 commit"),
            Not("n3 up"),
            Then("converged after"),
        ],
        &Shown {
            members: &["n3"],
            files: None,
        },
    );
}

/// Each fails with the bug that it was told for.
#[cfg(feature = "mutants")]
#[test]
fn each_kills_its_mutant() {
    use afterimage_sim::verdict::Invariant::{self, *};
    // A recovery may be judged on a copy of the disk first, or on the disk.
    const RECOVERY: &[Invariant] = &[RecoveryAvailable, RecoveryIdempotent];
    let told_for: [(&str, &str, &[Invariant]); 8] = [
        ("figure-8", "commit-old-term", &[LeaderCompleteness]),
        (
            "deposed-leader",
            "commit-past-append",
            &[StateMachineSafety],
        ),
        ("missed-purge", "transfer-not-resumed", &[Converges]),
        (
            "leader-crash-before-sync",
            "leader-counts-early",
            &[MembershipSafety],
        ),
        (
            "save-during-transfer",
            "sends-purged-snapshot",
            &[Converges],
        ),
        ("crash-in-install", "snapshot-renamed-before-sync", RECOVERY),
        ("leader-disk-full", "hole-after-failed-write", RECOVERY),
        (
            "corrupt-follower",
            "cut-durable-record",
            &[CorruptionReported],
        ),
    ];
    let names: Vec<&str> = told_for.iter().map(|(story, ..)| *story).collect();
    for story in stories::STORIES {
        assert!(
            names.contains(&story.name),
            "{} is told for nothing",
            story.name
        );
    }
    for (story, mutant, invariants) in told_for {
        for seed in SEEDS {
            let report = told(story, seed, Some(mutant));
            let fails = matches!(report.verdict, Verdict::Fail(rule) if invariants.contains(&rule));
            assert!(
                fails,
                "{story} with {mutant}, seed {seed}: {:?}",
                report.violation
            );
        }
    }
}
