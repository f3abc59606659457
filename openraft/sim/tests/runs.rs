//! The program as it is used. A seed's run changes with the code, so each test asks
//! a few seeds, and not what one of them comes to.
#![cfg(madsim)]

use std::process::Command;

/// Exit status, and what was printed.
fn run(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_afterimage-openraft-sim"))
        .args(args)
        .output()
        .expect("the program can be run");
    let text = String::from_utf8(output.stdout).expect("it prints UTF-8");
    (output.status.code(), text)
}

/// Some of these seeds break this rule.
fn breaks(rule: &str, args: &[&str]) {
    let (status, text) = run(args);
    assert_eq!(status, Some(1), "{args:?}\n{text}");
    assert!(
        text.contains(&format!("verdict=fail({rule})")),
        "{args:?}\n{text}"
    );
}

#[test]
fn runs_pass_and_are_the_same_in_another_process() {
    let (status, text) = run(&["--seeds", "12", "--twice"]);
    assert_eq!(status, Some(0), "{text}");
    let (_, first) = run(&["--seed", "1", "--trace"]);
    let (_, second) = run(&["--seed", "1", "--trace"]);
    assert!(first.lines().count() > 1000, "{first}");
    assert!(first == second);
}

#[test]
fn an_adapter_that_promises_too_much_is_caught() {
    let early = ["--seeds", "2", "--mutant", "adapter-acks-before-sync"];
    breaks("persist-before-send", &early);
    let vote = ["--seeds", "2", "--mutant", "adapter-vote-not-saved"];
    breaks("persist-before-send", &vote);
    let kept = ["--seeds", "16", "--mutant", "adapter-truncation-left-out"];
    breaks("recovery-available", &kept);
}

#[test]
fn an_engine_that_promises_too_much_is_caught() {
    breaks(
        "acked-durable",
        &["--seeds", "8", "--mutant", "ack-before-sync"],
    );
    breaks(
        "acked-durable",
        &["--seeds", "8", "--mutant", "hard-state-not-synced"],
    );
}

/// OpenRaft's own: see the README.
#[test]
fn a_leader_that_leads_on_after_a_restart_is_not_to_be_asked_at_once() {
    let at_once = ["--seeds", "8", "--leader-restore", "--judge-clients"];
    let (status, text) = run(&at_once);
    assert_eq!(status, Some(0), "{text}");
    breaks(
        "fresh-reads",
        &[&at_once[..], &["--reads", "at-once"]].concat(),
    );
}

/// Likewise.
#[test]
fn a_leader_that_leads_on_after_a_restart_gives_a_log_id_twice() {
    breaks("log-matching", &["--seeds", "8", "--leader-restore"]);
}

#[test]
fn wrong_usage_is_said() {
    assert_eq!(run(&["--mutant", "none-of-this-name"]).0, Some(2));
    assert_eq!(run(&["--seeds"]).0, Some(2));
}
