//! Shrinking from outside: the smallest plan replays, does not depend on the
//! number of jobs, and a campaign hands out nothing else.
#![cfg(madsim)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const MUTANT: &str = "ack-before-sync";

fn shell() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn run(shell: &TempDir, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_afterimage"));
    command
        .args(line.split_whitespace())
        .current_dir(shell.path());
    command.output().expect("it starts")
}

/// Runs with `--json -` and reads the report.
#[track_caller]
fn json(shell: &TempDir, line: &str, status: i32) -> Value {
    let output = run(shell, &format!("{line} --json -"));
    assert_eq!(output.status.code(), Some(status), "{line}: {output:?}");
    serde_json::from_slice(&output.stdout).expect("standard output is JSON alone")
}

fn text(shell: &TempDir, path: &str) -> String {
    fs::read_to_string(shell.path().join(path)).expect("a file")
}

/// A seed of the scenario `store` that shows the bug.
fn failing_seed(shell: &TempDir) -> Value {
    let line = format!("run --scenario store --mutant {MUTANT} --no-shrink");
    let mut run = json(shell, &line, 1);
    let failure = run["failures"][0].take();
    assert_eq!(failure["shrunk"], Value::Null);
    failure
}

#[test]
fn the_smallest_plan_of_a_seed_replays_and_is_the_same_for_any_number_of_jobs() {
    let shell = shell();
    let failure = failing_seed(&shell);
    let seed = &failure["seed"];
    let shrink = format!("shrink {seed} --scenario store --mutant {MUTANT}");
    let one = json(&shell, &format!("{shrink} -o one.toml --jobs 1"), 0);
    let more = json(&shell, &format!("{shrink} --out more.toml --jobs 5"), 0);
    assert_eq!(text(&shell, "one.toml"), text(&shell, "more.toml"));
    for field in [
        "scenario",
        "seed",
        "mutant",
        "invariant",
        "detail",
        "steps_before",
        "steps",
        "nodes_before",
        "nodes",
        "candidates",
        "minimal",
    ] {
        assert!(one.get(field).is_some(), "no field `{field}` in {one}");
        assert_eq!(one[field], more[field], "{field}");
    }
    assert_eq!(one["minimal"], true);
    assert_eq!(one["file"], "one.toml");
    assert!(one["steps"].as_u64() <= Some(10), "{one}");
    assert!(
        one["steps"].as_u64() < one["steps_before"].as_u64(),
        "{one}"
    );

    let line = format!("replay ./one.toml --mutant {MUTANT}");
    let replayed = json(&shell, &line, 1);
    assert_eq!(replayed["invariant"], failure["invariant"]);
    assert_eq!(replayed["detail"], one["detail"]);
    let regress = json(&shell, "regress .", 0);
    assert_eq!(regress["passed"], 2, "both files expect what they show");

    let little = json(&shell, &format!("{shrink} --budget 3"), 0);
    assert_eq!(little["minimal"], false);
    assert_eq!(little["candidates"], 3);
    let path = little["file"].as_str().expect("a path");
    assert!(path.starts_with("target/afterimage/store-"), "{path}");
    assert!(shell.path().join(path).exists());
}

#[test]
fn a_seed_file_keeps_what_it_says_and_all_that_it_expects() {
    let shell = shell();
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../seeds");
    let original = seeds.join("clean-too-much-store.toml");
    let line = format!("shrink {} -o small.toml", original.display());
    let report = json(&shell, &line, 0);
    assert_eq!(report["mutant"], "clean-too-much", "as the file expects");
    let (small, original) = (
        text(&shell, "small.toml"),
        fs::read_to_string(original).expect("a seed file"),
    );
    let head = |text: &str| text.split("plan =").next().map(str::to_owned);
    assert_eq!(head(&small), head(&original));
    assert_eq!(json(&shell, "regress .", 0)["passed"], 1);
}

#[test]
fn a_campaign_shrinks_what_it_finds() {
    let shell = shell();
    let line = format!("run --scenario store --mutant {MUTANT} --out found");
    let run_one = |jobs| json(&shell, &format!("{line} --jobs {jobs}"), 1);
    let (one, more) = (run_one(1), run_one(3));
    assert_eq!(one["failures"], more["failures"]);
    let failure = &one["failures"][0];
    let shrunk = &failure["shrunk"];
    assert!(shrunk["steps"].as_u64() <= Some(10), "{failure}");
    assert!(shrunk["steps"].as_u64() < shrunk["steps_before"].as_u64());
    let file = failure["file"].as_str().expect("a path");
    assert!(file.ends_with("-shrunk.toml"), "{file}");
    let replayed = json(&shell, &format!("replay {file} --mutant {MUTANT}"), 1);
    for field in ["invariant", "detail"] {
        assert_eq!(replayed[field], failure[field], "{field}");
    }
    let original = shrunk["original"].as_str().expect("a path");
    let replayed = json(&shell, &format!("replay {original} --mutant {MUTANT}"), 1);
    assert_eq!(replayed["invariant"], failure["invariant"]);

    let told = run(&shell, &line);
    let told = String::from_utf8_lossy(&told.stdout);
    let from_to = format!(
        "shrunk from {} to {} step",
        shrunk["steps_before"], shrunk["steps"]
    );
    assert!(told.contains(&from_to), "{told}");
}

#[test]
fn what_does_not_fail_is_wrong_usage_in_one_line() {
    let shell = shell();
    for (line, expected) in [
        ("shrink 7", "raft-3 0x7 passes: nothing to shrink"),
        ("shrink no/such.toml", "no/such.toml"),
        ("shrink 7 --budget 0", "--budget"),
        ("shrink", "SEED_OR_FILE"),
    ] {
        let output = run(&shell, line);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {told}");
        assert_eq!(told.lines().count(), 1, "{line}: {told}");
        assert!(told.contains(expected), "{line}: {told}");
    }
}
