//! The command line from outside: exit statuses, one line for what is wrong,
//! the fields of the reports, and that threads and processes change nothing.
#![cfg(madsim)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A directory to run in, so that `target/afterimage` is its own.
struct Shell(TempDir);

impl Shell {
    fn new() -> Self {
        Shell(tempfile::tempdir().expect("a directory"))
    }
    fn path(&self) -> &Path {
        self.0.path()
    }
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_afterimage"));
        command
            .args(line.split_whitespace())
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }
    fn run(&self, line: &str) -> Output {
        self.command(line).output().expect("it starts")
    }
    /// Runs with `--json -` and reads the report.
    #[track_caller]
    fn json(&self, line: &str, status: i32) -> Value {
        let output = self.run(&format!("{line} --json -"));
        assert_eq!(output.status.code(), Some(status), "{line}: {output:?}");
        serde_json::from_slice(&output.stdout).expect("standard output is JSON alone")
    }
}

#[track_caller]
fn check_usage(shell: &Shell, line: &str, expected: &str) {
    let output = shell.run(line);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{line}: {told}");
    assert_eq!(told.lines().count(), 1, "{line}: {told}");
    assert!(told.contains(expected), "{line}: {told}");
    assert!(output.stdout.is_empty(), "{line}: it ran");
}

/// A passing plan, as a seed file that expects `verdict`.
fn seed_file(shell: &Shell, name: &str, verdict: &str) {
    let file = afterimage_sim::plan::seed_file::SeedFile {
        about: "written by a test".to_owned(),
        expect: vec![afterimage_sim::plan::seed_file::Expectation {
            mutant: None,
            verdict: verdict.parse().expect("a verdict"),
        }],
        plan: afterimage_sim::plan::generate::generate("raft-3", 1).expect("a scenario"),
    };
    let dir = shell.path().join("seeds");
    fs::create_dir_all(&dir).expect("a directory");
    put(&dir.join(name), &file.to_string());
}

#[allow(clippy::disallowed_methods)] // A test's own files are real.
fn put(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
}

#[track_caller]
fn fields(value: &Value, names: &[&str]) {
    for name in names {
        assert!(value.get(name).is_some(), "no field `{name}` in {value}");
    }
}

#[test]
fn wrong_usage_is_one_line_and_status_2() {
    let shell = Shell::new();
    fs::create_dir(shell.path().join("empty")).expect("created");
    put(&shell.path().join("bad.toml"), "this is\nno plan\nat all");
    put(&shell.path().join("file"), "");
    for (line, expected) in [
        ("run --seeds 0", "--seeds"),
        ("run --jobs 0", "--jobs"),
        ("run --time soon", "--time"),
        ("run --time 0s", "--time"),
        ("run --scenario raft-33", "raft-3"),
        ("run --mutant no-such-bug", "no-such-bug"),
        ("run --no-such-option", "--no-such-option"),
        ("no-such-command", "no-such-command"),
        ("run --seeds 1 --out file", "file"),
        ("run --seeds 1 --out /proc/afterimage", "/proc/afterimage"),
        ("run --seeds 1 --json empty", "empty"),
        ("run --seeds 1 --json no/such/dir.json", "no/such/dir.json"),
        ("run --seeds 1 --junit no/such/dir.xml", "no/such/dir.xml"),
        ("run --seeds 1 --json - --junit -", "--junit"),
        ("run --seeds 1 --json report --junit report", "report"),
        (
            "run --scenario openraft-3 --scenario raft-3",
            "another --scenario",
        ),
        ("run --scenario openraft-3 --junit report", "--junit"),
        ("replay ./empty --scenario openraft-3", "no seed files"),
        ("shrink 1 --scenario openraft-3", "openraft-3"),
        ("replay", "SEED_OR_FILE"),
        ("replay no/such.toml", "no/such.toml"),
        ("replay bad.toml", "bad.toml"),
        ("replay ./empty", "empty"),
        ("regress", "seeds"),
        ("regress empty", "empty"),
        ("mutants --only no-such-bug", "no-such-bug"),
        ("list --json no/such/dir.json", "no/such/dir.json"),
        ("check file", "--model"),
        ("check file --model queue", "queue"),
        ("check no/such --model kv", "no/such"),
        ("check bad.toml --model kv", "bad.toml: line 1: not JSON"),
    ] {
        check_usage(&shell, line, expected);
    }
}

#[test]
fn a_campaign_is_the_same_with_any_number_of_jobs_and_in_another_process() {
    let shell = Shell::new();
    let one = shell.json("run --seeds 2 --jobs 1", 0);
    let four = shell.json("--seeds 2 --jobs 4 --twice", 0);
    fields(
        &one,
        &[
            "seeds",
            "passed",
            "failures",
            "vacuous",
            "nondeterministic",
            "simulated_s",
            "wall_s",
            "fs_ops",
            "messages",
            "crashes",
            "kills",
            "elections",
            "client_ops",
            "faults",
            "sometimes",
            "missed",
            "kinds",
            "watermarks",
            "digest",
        ],
    );
    assert_eq!(one["seeds"], 8, "two seeds of each of four scenarios");
    for field in [
        "seeds",
        "passed",
        "digest",
        "faults",
        "sometimes",
        "kinds",
        "watermarks",
        "fs_ops",
        "simulated_s",
    ] {
        assert_eq!(one[field], four[field], "{field}");
    }
    assert_ne!(one["client_ops"], 0);
    assert_ne!(one["elections"], 0);
    let other = shell.json("run --seeds 2 --first-seed 100", 0);
    assert_ne!(one["digest"], other["digest"]);
}

#[test]
fn a_replay_is_the_same_run() {
    let shell = Shell::new();
    let replayed = shell.json("replay 0x7", 0);
    fields(
        &replayed,
        &[
            "scenario",
            "seed",
            "verdict",
            "invariant",
            "digest",
            "events",
            "file",
        ],
    );
    assert_eq!(replayed["seed"], 7);
    assert_eq!(replayed["scenario"], "raft-3");
    assert_eq!(replayed["verdict"], "pass");
    assert_eq!(replayed, {
        let mut traced = shell.json("replay 7 --trace", 0);
        traced["wall_s"] = replayed["wall_s"].clone();
        traced
    });
    let five = shell.json("replay 7 --scenario raft-5", 0);
    assert_ne!(five["digest"], replayed["digest"]);
    let hashed = shell.json("replay a-commit", 0);
    assert_eq!(hashed["seed"], "a-commit");
    let big = shell.json("replay 18446744073709551615", 0);
    assert_eq!(big["seed"], "18446744073709551615");
}

#[test]
fn a_planted_bug_is_caught_and_its_file_replays() {
    let shell = Shell::new();
    // Promises that are not durable do not need luck to be seen.
    let mutant = "vote-before-durable";
    let hunt = |jobs| shell.json(&format!("mutants --only {mutant} --jobs {jobs}"), 0);
    let (hunt, again) = (hunt(1), hunt(3));
    let bug = &hunt["mutants"][0];
    fields(
        bug,
        &[
            "name",
            "source",
            "caught",
            "by",
            "invariant",
            "seeds",
            "states",
            "wall_s",
            "impossible",
        ],
    );
    assert_eq!(bug["by"], "run");
    assert_eq!(hunt["survived"], Value::Array(Vec::new()));
    for field in ["seeds", "invariant"] {
        assert_eq!(bug[field], again["mutants"][0][field], "{field}");
    }

    let line = format!("run --mutant {mutant} --no-shrink --out found --junit report.xml");
    let run = shell.json(&line, 1);
    assert_eq!(
        run["seeds"], bug["seeds"],
        "both count up to the first failure"
    );
    let failure = &run["failures"][0];
    fields(failure, &["seed", "scenario", "invariant", "file"]);
    assert_eq!(failure["invariant"], bug["invariant"]);
    let file = failure["file"].as_str().expect("a path");
    assert!(file.starts_with("found/raft-"), "{file}");
    let xml = fs::read_to_string(shell.path().join("report.xml")).expect("a report");
    assert!(xml.contains("failures=\"1\""), "{xml}");

    let replayed = shell.json(&format!("replay {file} --mutant {mutant}"), 1);
    assert_eq!(replayed["invariant"], failure["invariant"]);
    assert_eq!(replayed["file"].as_str(), Some(file));
    // Not only the same verdict: the file is the same run as the seed.
    let (seed, scenario) = (&failure["seed"], failure["scenario"].as_str());
    let scenario = scenario.expect("a name");
    let line = format!("replay {seed} --scenario {scenario} --mutant {mutant}");
    let drawn = shell.json(&line, 1);
    for field in ["digest", "events", "detail"] {
        assert_eq!(drawn[field], replayed[field], "{field}");
    }
    let regress = shell.json("regress found", 0);
    assert_eq!(regress["passed"], 1, "the file expects what was found");
}

#[test]
fn regress_tells_which_expectation_was_missed() {
    let shell = Shell::new();
    seed_file(&shell, "a.toml", "pass");
    let report = shell.json("regress", 0);
    fields(&report, &["files", "passed", "failures"]);
    seed_file(&shell, "b.toml", "fail(acked-durable)");
    let report = shell.json("regress seeds", 1);
    assert_eq!(report["files"], 2);
    assert_eq!(report["passed"], 1);
    let missed = &report["failures"][0];
    assert_eq!(missed["file"], "seeds/b.toml");
    assert_eq!(missed["mutant"], Value::Null);
    assert_eq!(missed["expected"], "fail(acked-durable)");
    assert_eq!(missed["got"], "pass");
}

#[test]
fn a_history_is_checked() {
    let shell = Shell::new();
    let event = |kind: &str, f: &str, value: u64| {
        format!(r#"{{"process":0,"type":"{kind}","f":"{f}","value":{value}}}"#) + "\n"
    };
    let write = |value| event("invoke", "write", value) + &event("ok", "write", value);
    let read = |value| event("invoke", "read", 0) + &event("ok", "read", value);
    let good = write(1) + &write(2) + &read(2);
    put(&shell.path().join("good"), &good);
    put(&shell.path().join("stale"), &(good + &read(1) + &read(2)));

    let passed = shell.json("check good --model register", 0);
    fields(&passed, &["linearizable", "operations", "wall_s", "prefix"]);
    assert_eq!(passed["linearizable"], true);
    assert_eq!(passed["operations"], 3);
    assert_eq!(passed["prefix"], Value::Null);

    let failed = shell.json("check stale --model register", 1);
    assert_eq!(failed["linearizable"], false);
    assert_eq!(failed["operations"], 5);
    let prefix = &failed["prefix"];
    fields(
        prefix,
        &["lines", "operations", "completions", "key", "stuck"],
    );
    assert_eq!(prefix["lines"], 8);
    let stuck = prefix["stuck"].as_array().expect("a list");
    assert_eq!(stuck.last().expect("not empty")["invoked"], 7);

    let mut piped = shell
        .command("check - --model register")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut stdin = piped.stdin.take().expect("piped");
    std::io::Write::write_all(&mut stdin, write(1).as_bytes()).expect("taken");
    drop(stdin);
    assert_eq!(piped.wait().expect("it ends").code(), Some(0));
}

#[test]
fn what_simulated_clients_saw_can_be_checked() {
    let shell = Shell::new();
    shell.json("replay 7 --history seen.jsonl", 0);
    let checked = shell.json("check seen.jsonl --model kv", 0);
    assert!(checked["operations"].as_u64() > Some(50), "{checked}");
}

#[test]
fn any_number_of_disks_may_go_bad_where_only_safety_is_asked() {
    let shell = Shell::new();
    let report = shell.json("run --seeds 5 --unbounded --twice", 0);
    assert_eq!(report["passed"], report["seeds"], "{report}");
    let kinds = &report["kinds"];
    let on = |kind: &str| kinds[kind]["on"].as_u64().unwrap_or(0);
    assert!(on("rot") + on("unreadable") >= 5, "{report}");
    assert_eq!(report["watermarks"]["ms-to-converge"], Value::Null);
}

#[test]
fn everything_with_a_name_is_listed() {
    let list = Shell::new().json("list", 0);
    for (section, name) in [
        ("scenarios", "raft-3"),
        ("scenarios", "openraft-3"),
        ("profiles", "posix-worst"),
        ("profiles", "btrfs"),
        ("invariants", "acked-durable"),
        ("mutants", "vote-before-durable"),
    ] {
        let section = list[section].as_array().expect("a list");
        assert!(section.iter().any(|item| item["name"] == name), "{name}");
    }
}

/// One test on one filesystem, which left `content` of a synced `f=A512` that
/// was being overwritten with `B`.
fn litmus_file(shell: &Shell, fs: &str, content: &str) {
    let test = serde_json::json!({
        "name": "over",
        "setup": [
            {"op": "create", "file": "f"},
            {"op": "append", "file": "f", "byte": "A", "len": 8192},
        ],
        "steps": [{"label": "B", "ops": [
            {"op": "write", "file": "f", "offset": 0, "byte": "B", "len": 8192},
        ]}],
        "observed": {fs: {"start": [{"f": content}]}},
    });
    let suite = serde_json::json!({"tests": [test]}).to_string();
    put(&shell.path().join("tests.json"), &suite);
}

#[test]
fn litmus_says_what_cannot_be_left() {
    let shell = Shell::new();
    litmus_file(&shell, "btrfs", "B8192");
    let report = shell.json("litmus tests.json", 0);
    let [own, worst] = &report["tests"].as_array().expect("a list")[..] else {
        panic!("the profile of its name, and posix-worst: {report}");
    };
    fields(
        own,
        &["name", "fs", "profile", "observed", "reachable", "missing"],
    );
    assert_eq!(
        (&own["profile"], &worst["profile"]),
        (&"btrfs".into(), &"posix-worst".into())
    );
    assert_eq!(
        (&own["observed"], &own["reachable"]),
        (&1.into(), &4.into())
    );
    assert_eq!(
        (&worst["observed"], &worst["reachable"]),
        (&1.into(), &131_072.into())
    );

    litmus_file(&shell, "btrfs", "B512 A7680");
    let report = shell.json("litmus tests.json", 1);
    let missing = serde_json::json!([{"label": "start", "content": {"f": "B512 A7680"}}]);
    assert_eq!(report["tests"][0]["missing"], missing);
    assert_eq!(report["tests"][1]["missing"], serde_json::json!([]));
    shell.json("litmus tests.json --profile xfs", 0);
    let told = shell.run("litmus tests.json --profile btrfs");
    assert_eq!(told.status.code(), Some(1));
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("start: {f=B512 A7680}"), "{told}");
}

#[test]
fn litmus_refuses_what_it_cannot_judge() {
    let shell = Shell::new();
    check_usage(&shell, "litmus none.json", "cannot read none.json");
    put(&shell.path().join("tests.json"), "{}");
    check_usage(&shell, "litmus tests.json", "not a litmus file");
    check_usage(&shell, "litmus tests.json --profile zfs", "xfs, btrfs");
    litmus_file(&shell, "zfs", "B8192");
    check_usage(
        &shell,
        "litmus tests.json",
        "no profile \"zfs\"; there are posix-worst",
    );
    shell.json("litmus tests.json --profile posix-worst", 0);
    litmus_file(&shell, "xfs", "B8192 and more");
    check_usage(&shell, "litmus tests.json", "not a content");
}

#[test]
fn a_plan_carries_its_profile() {
    let shell = Shell::new();
    let line = "run --scenario store --seeds 50 --mutant ack-before-sync --profile xfs";
    let report = shell.json(line, 1);
    assert_eq!(report["profile"], "xfs");
    let file = report["failures"][0]["file"].as_str().expect("a file");
    let plan = fs::read_to_string(shell.path().join(file)).expect("a seed file");
    assert!(plan.contains(" profile=xfs\n"), "{plan}");
    shell.json(&format!("replay {file} --mutant ack-before-sync"), 1);
    check_usage(&shell, "run --profile ntfs", "posix-worst");
}

#[test]
fn a_closed_pipe_changes_no_status() {
    let shell = Shell::new();
    for (line, status) in [
        ("run --seeds 1 --scenario raft-3", 0),
        ("run --seeds 1 --scenario raft-3 --json -", 0),
        ("list", 0),
        ("--help", 0),
        ("run --no-such-option", 2),
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let status_got = shell
            .command(line)
            .stdout(writer.try_clone().expect("a second end"))
            .stderr(writer)
            .status()
            .expect("it ends");
        // A panic would be 101.
        assert_eq!(status_got.code(), Some(status), "{line}");
    }
}

#[test]
fn ctrl_c_ends_with_the_report_of_what_ran() {
    let shell = Shell::new();
    // A campaign without an end, stopped as soon as it says that it is under way.
    let mut child = shell
        .command("run --time 1h --jobs 1 --twice --json report.json")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = std::io::BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut lines, &mut line).expect("a line of progress");
    assert!(line.contains("seeds"), "{line}");
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .expect("kill is there");
    assert!(killed.success());
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut lines, &mut rest).expect("text");
    assert_eq!(child.wait().expect("it ends").code(), Some(130), "{rest}");
    let text = fs::read_to_string(shell.path().join("report.json")).expect("a report");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(report["seeds"], report["passed"], "{report}");
    assert_ne!(report["seeds"], 0);
}
