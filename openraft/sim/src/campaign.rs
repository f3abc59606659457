//! One seed in this process, or many in a process each.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use afterimage_sim::verdict::{Verdict, Violation};

use clap::Parser;

use crate::options::Options;
use crate::world::{self, Setup};

pub fn main() -> ExitCode {
    let options = Options::parse();
    let (said, status) = match options.seed {
        Some(seed) => alone(seed, &options),
        None => campaign(&options),
    };
    match std::io::stdout().write_all(said.as_bytes()) {
        // Whoever read it has seen enough.
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("standard output: {e}");
            ExitCode::from(2)
        }
        _ => status,
    }
}

const TAKES_ALL: &str = "a string takes all";

/// Real time for one run, which takes a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends a run that does not end: a task that never waits stops simulated time.
fn watch(seed: u64) {
    let watchdog = std::thread::Builder::new().spawn(move || {
        std::thread::sleep(PATIENCE);
        println!("seed={seed} verdict=fail(no-panic)");
        println!("  no-panic: no end after {} s", PATIENCE.as_secs());
        std::process::exit(1);
    });
    // It is of no interest when it ends.
    drop(watchdog.expect("the system has a thread to give"));
}

/// One seed, in this process: a line of `key=value`, and what is wrong.
fn alone(seed: u64, options: &Options) -> (String, ExitCode) {
    watch(seed);
    let report = world::run(Setup {
        seed,
        trace: options.trace,
        reads: options.run.reads,
        restore: options.run.leader_restore,
        from_outside: options.run.judge_clients,
        plant: options.run.plant(),
    });
    let mut said = report.text.unwrap_or_default();
    write!(
        said,
        "seed={seed} verdict={} digest={:#018x} records={} simulated-ms={}",
        report.verdict, report.digest, report.records, report.simulated_ms
    )
    .expect(TAKES_ALL);
    for (key, count) in &report.counts {
        write!(said, " {key}={count}").expect(TAKES_ALL);
    }
    for (key, count) in &report.faults {
        write!(said, " fault.{key}={count}").expect(TAKES_ALL);
    }
    said.push('\n');
    let status = match (&report.verdict, report.violation) {
        (_, Some(violation)) => {
            let Violation { invariant, detail } = violation;
            writeln!(said, "  {invariant}: {detail}").expect(TAKES_ALL);
            ExitCode::from(1)
        }
        (Verdict::Vacuous, None) => ExitCode::from(4),
        (_, None) => ExitCode::SUCCESS,
    };
    (said, status)
}

/// How one seed went.
struct Outcome {
    text: String,
    verdict: String,
    same: bool,
}

fn campaign(options: &Options) -> (String, ExitCode) {
    let next = AtomicU64::new(0);
    let outcomes = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.get() {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= options.seeds.get() {
                        return;
                    }
                    let outcome = one_of_many(options.first_seed.wrapping_add(n), options);
                    outcomes.lock().expect("nobody panics").insert(n, outcome);
                }
            });
        }
    });
    summary(&outcomes.into_inner().expect("nobody panics"), options)
}

fn summary(outcomes: &BTreeMap<u64, Outcome>, options: &Options) -> (String, ExitCode) {
    let mut said = String::new();
    let mut verdicts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
    let mut differ = 0;
    for (n, outcome) in outcomes {
        *verdicts.entry(&outcome.verdict).or_default() += 1;
        if outcome.verdict != "pass" {
            said.push_str(&outcome.text);
        }
        if !outcome.same {
            let seed = options.first_seed.wrapping_add(*n);
            writeln!(said, "seed={seed} nondeterministic").expect(TAKES_ALL);
            differ += 1;
        }
        let pairs = outcome.text.split_whitespace();
        for (key, value) in pairs.filter_map(|pair| pair.split_once('=')) {
            if let (false, Ok(count)) = (key == "seed", value.parse::<u64>()) {
                *totals.entry(key).or_default() += count;
            }
        }
    }
    let twice = options.twice.then_some(("nondeterministic", differ));
    let counts = verdicts.iter().map(|(key, count)| (*key, *count));
    let counts = counts.chain(twice);
    let counts = counts.chain(totals.iter().map(|(key, count)| (*key, *count)));
    let (seeds, first) = (options.seeds, options.first_seed);
    writeln!(said, "{seeds} seeds from {first}").expect(TAKES_ALL);
    for (key, count) in counts {
        writeln!(said, "  {key:<28}{count:>12}").expect(TAKES_ALL);
    }
    let broken = verdicts
        .keys()
        .any(|verdict| !matches!(*verdict, "pass" | "vacuous"));
    let status = match (broken, differ > 0, verdicts.contains_key("vacuous")) {
        (true, ..) => ExitCode::from(1),
        (_, true, _) => ExitCode::from(3),
        (.., true) => ExitCode::from(4),
        _ => ExitCode::SUCCESS,
    };
    (said, status)
}

fn one_of_many(seed: u64, options: &Options) -> Outcome {
    let text = child(seed, options);
    let verdict = text
        .split_whitespace()
        .find_map(|pair| pair.strip_prefix("verdict="))
        .unwrap_or("fail(no-panic)")
        .to_owned();
    let same = !options.twice || child(seed, options) == text;
    Outcome {
        text,
        verdict,
        same,
    }
}

/// What it said; of one that panicked, why.
fn child(seed: u64, options: &Options) -> String {
    let this = std::env::current_exe().expect("this program has a path");
    let output = Command::new(this)
        .args(["--seed", &seed.to_string()])
        .args(options.run.arguments())
        .output();
    let output = output.expect("this program can be run");
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !text.contains("verdict=") {
        let why = String::from_utf8_lossy(&output.stderr);
        writeln!(text, "seed={seed} verdict=fail(no-panic)\n{why}").expect(TAKES_ALL);
    }
    text
}
