//! The command line: one seed in this process, or many in a process each.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use afterimage_sim::verdict::Verdict;

use crate::client::Reads;
use crate::world::{self, Plant, Setup};

const USAGE: &str = "\
usage: afterimage-openraft-sim [--seeds N] [--first-seed S] [--jobs J] [--twice] [OPTIONS]
       afterimage-openraft-sim --seed S [--trace] [OPTIONS]

  --seeds N        so many runs, 20 unless told
  --first-seed S   the first one's seed, 1 unless told
  --jobs J         so many at once, 2 unless told
  --twice          each run again, in another process: is it the same?
  --seed S         this run alone
  --trace          with its text
options:
  --reads at-once  leaders are asked for reads before OpenRaft says that they
                   have recovered
  --leader-restore OpenRaft's default: who led before a restart leads on in its
                   term, without an election
  --judge-clients  the judges see what clients see, and nothing else
  --mutant NAME    with a bug on purpose: of the simulator's catalogue, or
                   adapter-acks-before-sync, adapter-vote-not-saved,
                   adapter-truncation-left-out

exit status: 0 all passed, 1 a rule was broken, 2 wrong usage, 3 a run was not the
same twice, 4 a run was vacuous";

struct Options {
    seeds: u64,
    first: u64,
    jobs: u64,
    twice: bool,
    one: Option<u64>,
    trace: bool,
    reads: Reads,
    restore: bool,
    from_outside: bool,
    plant: Plant,
    /// What the children are told as well.
    passed_on: Vec<String>,
}

impl Options {
    fn parse(args: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Options {
            seeds: 20,
            first: 1,
            jobs: 2,
            twice: false,
            one: None,
            trace: false,
            reads: Reads::Recovered,
            restore: false,
            from_outside: false,
            plant: Plant::Nothing,
            passed_on: Vec::new(),
        };
        let mut args = args;
        while let Some(arg) = args.next() {
            let mut number = || args.next()?.parse::<u64>().ok();
            match arg.as_str() {
                "--seeds" => options.seeds = number()?,
                "--first-seed" => options.first = number()?,
                "--jobs" => options.jobs = number()?.max(1),
                "--twice" => options.twice = true,
                "--seed" => options.one = Some(number()?),
                "--trace" => options.trace = true,
                "--reads" => {
                    let when = args.next()?;
                    options.reads = match when.as_str() {
                        "recovered" => Reads::Recovered,
                        "at-once" => Reads::AtOnce,
                        _ => return None,
                    };
                    options.passed_on.extend([arg, when]);
                }
                "--leader-restore" => {
                    options.restore = true;
                    options.passed_on.push(arg);
                }
                "--judge-clients" => {
                    options.from_outside = true;
                    options.passed_on.push(arg);
                }
                "--mutant" => {
                    let name = args.next()?;
                    options.plant = Plant::by_name(&name)?;
                    options.passed_on.extend([arg, name]);
                }
                _ => return None,
            }
        }
        Some(options)
    }
}

pub fn main() -> ExitCode {
    let Some(options) = Options::parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match options.one {
        Some(seed) => alone(seed, &options),
        None => campaign(&options),
    }
}

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
fn alone(seed: u64, options: &Options) -> ExitCode {
    watch(seed);
    let report = world::run(Setup {
        seed,
        trace: options.trace,
        reads: options.reads,
        restore: options.restore,
        from_outside: options.from_outside,
        plant: options.plant,
    });
    print!("{}", report.text.as_deref().unwrap_or_default());
    let mut line = format!(
        "seed={seed} verdict={} digest={:#018x} records={} simulated-ms={}",
        report.verdict, report.digest, report.records, report.simulated_ms
    );
    for (key, count) in &report.counts {
        write!(line, " {key}={count}").expect("a string takes all");
    }
    for (key, count) in &report.faults {
        write!(line, " fault.{key}={count}").expect("a string takes all");
    }
    println!("{line}");
    match (&report.verdict, report.violation) {
        (_, Some(violation)) => {
            println!("  {}: {}", violation.invariant, violation.detail);
            ExitCode::from(1)
        }
        (Verdict::Vacuous, None) => ExitCode::from(4),
        (_, None) => ExitCode::SUCCESS,
    }
}

/// How one seed went.
struct Outcome {
    text: String,
    verdict: String,
    same: bool,
}

fn campaign(options: &Options) -> ExitCode {
    let next = AtomicU64::new(0);
    let outcomes = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= options.seeds {
                        return;
                    }
                    let outcome = one_of_many(options.first + n, options);
                    outcomes.lock().expect("nobody panics").insert(n, outcome);
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().expect("nobody panics");
    let mut verdicts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
    let mut differ = 0;
    for (n, outcome) in &outcomes {
        *verdicts.entry(&outcome.verdict).or_default() += 1;
        if outcome.verdict != "pass" {
            print!("{}", outcome.text);
        }
        if !outcome.same {
            println!("seed={} nondeterministic", options.first + n);
            differ += 1;
        }
        let pairs = outcome.text.split_whitespace();
        for (key, value) in pairs.filter_map(|pair| pair.split_once('=')) {
            if let (false, Ok(count)) = (key == "seed", value.parse::<u64>()) {
                *totals.entry(key).or_default() += count;
            }
        }
    }
    println!("{} seeds from {}", options.seeds, options.first);
    for (verdict, count) in &verdicts {
        println!("  {verdict:<28}{count:>12}");
    }
    if options.twice {
        println!("  {:<28}{differ:>12}", "nondeterministic");
    }
    for (key, count) in &totals {
        println!("  {key:<28}{count:>12}");
    }
    let broken = verdicts
        .keys()
        .any(|verdict| !matches!(*verdict, "pass" | "vacuous"));
    match (broken, differ > 0, verdicts.contains_key("vacuous")) {
        (true, ..) => ExitCode::from(1),
        (_, true, _) => ExitCode::from(3),
        (.., true) => ExitCode::from(4),
        _ => ExitCode::SUCCESS,
    }
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
        .args(&options.passed_on)
        .output();
    let output = output.expect("this program can be run");
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !text.contains("verdict=") {
        let why = String::from_utf8_lossy(&output.stderr);
        writeln!(text, "seed={seed} verdict=fail(no-panic)\n{why}").expect("a string takes all");
    }
    text
}
