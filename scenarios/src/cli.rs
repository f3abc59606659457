//! The arguments. Names and defaults are a contract: scripts depend on them.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use afterimage_sim::disk::Profile;
use afterimage_sim::explore::{self, Level};
use afterimage_sim::linear;
use afterimage_sim::mutants::{self, MutantInfo};
use afterimage_sim::run::SCENARIOS;
use clap::builder::{PossibleValuesParser, RangedU64ValueParser};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::error;
use crate::openraft;
use crate::seed::{Seed, SeedOrFile};
use crate::status::Status;

/// Seeds of each scenario in a campaign: well under a minute on two cores.
pub const SEEDS_DEFAULT: u64 = 300;

/// Deterministic simulation of a crash-safe Raft log: campaigns, replays,
/// regression seeds, planted bugs.
///
/// Without a command it runs a campaign: `run` with its defaults.
#[derive(Debug, Parser)]
#[command(
    name = "afterimage",
    bin_name = "cargo sim",
    version,
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run many seeds and judge each
    Run(RunArgs),
    /// One run again, with its trace
    Replay(ReplayArgs),
    /// Every crash point of a workload, with every state that a crash may leave
    Explore(ExploreArgs),
    /// Find the smallest plan that breaks the same invariant
    Shrink(ShrinkArgs),
    /// Run every file of a directory of regression seeds, and compare
    Regress(RegressArgs),
    /// Plant each known bug in turn and count the seeds until it is caught
    Mutants(MutantsArgs),
    /// Is a client history linearizable?
    Check(CheckArgs),
    /// Hold the profiles of the disk against what real filesystems left
    Litmus(LitmusArgs),
    /// Name the scenarios, profiles, invariants and planted bugs
    List(ListArgs),
    /// Look into a real log directory, check it, or mend it
    #[command(subcommand)]
    Log(LogCommand),
    /// One run for the `--twice` of another process
    #[command(hide = true)]
    Again(AgainArgs),
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Run this scenario [default: raft-3, raft-5, membership-5 and swarm]
    #[arg(long, value_name = "NAME", value_parser = runnable_names())]
    pub scenario: Vec<String>,
    /// Seeds of each scenario [default: 300, or without limit if --time is given]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: Option<u64>,
    /// The first seed: a number, or any string to be hashed
    #[arg(long, value_name = "S", default_value = "1")]
    pub first_seed: Seed,
    /// Start no seed after this long: 90s, 5m, 1h30m
    #[arg(long, value_name = "DURATION", value_parser = time)]
    pub time: Option<Duration>,
    /// Seeds at a time [default: one a core]
    #[arg(long, value_name = "J", value_parser = job_numbers())]
    pub jobs: Option<usize>,
    /// Disks of this filesystem [default: posix-worst]
    #[arg(long, value_name = "P", value_parser = profile_names())]
    pub profile: Option<String>,
    /// Plant this known bug (`cargo sim list` has their names)
    #[arg(long, value_name = "M", value_parser = mutant_names(), hide_possible_values = true)]
    pub mutant: Option<String>,
    /// Let any number of disks go bad, and ask for safety alone
    #[arg(long)]
    pub unbounded: bool,
    /// Go on after a failure
    #[arg(long)]
    pub keep_going: bool,
    /// Leave the plans of failing seeds as they are
    #[arg(long)]
    pub no_shrink: bool,
    /// Run each seed again in a fresh process and compare the digests
    #[arg(long)]
    pub twice: bool,
    /// Where the plans of failing seeds go
    #[arg(long, value_name = "DIR", default_value = "target/afterimage")]
    pub out: PathBuf,
    /// Write a report in JSON (`-`: to standard output)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a report in JUnit's XML (`-`: to standard output)
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// A file if it has a `/` or a `.` in it, else a number, else a string to be hashed
    pub seed_or_file: SeedOrFile,
    /// The scenario of a seed [default: raft-3]; a file names its own
    #[arg(long, value_name = "NAME", value_parser = runnable_names())]
    pub scenario: Option<String>,
    /// On disks of this filesystem [default: the file's, else posix-worst]
    #[arg(long, value_name = "P", value_parser = profile_names())]
    pub profile: Option<String>,
    /// Plant this known bug (`cargo sim list` has their names)
    #[arg(long, value_name = "M", value_parser = mutant_names(), hide_possible_values = true)]
    pub mutant: Option<String>,
    /// Print what happened, event by event
    #[arg(long)]
    pub trace: bool,
    /// Write what the clients saw, as JSON lines for `check --model kv`
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// Write a report in JSON (`-`: to standard output)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ExploreArgs {
    /// Workloads of one store [default: all of them]
    #[arg(value_name = "SCENARIO", value_parser = explored_names())]
    pub scenarios: Vec<String>,
    /// 1: prefixes of what is pending; 2: with two exceptions; 3: and writes torn
    /// at every sector; 4: all subsets
    #[arg(long, value_name = "1..4", default_value = "3")]
    pub level: Level,
    /// Crashes in a row: 2 also cuts the power in the recovery from the first
    #[arg(long, value_name = "D", default_value = "2",
          value_parser = clap::value_parser!(u32).range(1..=9))]
    pub depth: u32,
    /// What kind of filesystem the disk has [default: posix-worst]
    #[arg(long, value_name = "P", value_parser = profile_names())]
    pub profile: Option<String>,
    /// Plant this known bug (`cargo sim list` has their names)
    #[arg(long, value_name = "M", value_parser = mutant_names(), hide_possible_values = true)]
    pub mutant: Option<String>,
    /// Images at a time [default: one a core]
    #[arg(long, value_name = "J", value_parser = job_numbers())]
    pub jobs: Option<usize>,
    /// Where the plans of violations go
    #[arg(long, value_name = "DIR", default_value = "target/afterimage")]
    pub out: PathBuf,
    /// Write a report in JSON (`-`: to standard output)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ShrinkArgs {
    /// A file if it has a `/` or a `.` in it, else a number, else a string to be hashed
    pub seed_or_file: SeedOrFile,
    /// The scenario of a seed [default: raft-3]; a file names its own
    #[arg(long, value_name = "NAME", value_parser = scenario_names())]
    pub scenario: Option<String>,
    /// Plant this known bug [default: none, or what a file expects to fail]
    #[arg(long, value_name = "M", value_parser = mutant_names(), hide_possible_values = true)]
    pub mutant: Option<String>,
    /// Where the smallest plan goes [default: target/afterimage/NAME-shrunk.toml]
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Candidates to try at the most
    #[arg(long, value_name = "N", default_value = "2000",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub budget: u64,
    /// Candidates at a time [default: one a core]
    #[arg(long, value_name = "J", value_parser = job_numbers())]
    pub jobs: Option<usize>,
    /// Write a report in JSON (`-`: to standard output)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct RegressArgs {
    /// The directory of *.toml files
    #[arg(default_value = "seeds")]
    pub dir: PathBuf,
    /// Files at a time [default: one a core]
    #[arg(long, value_name = "J", value_parser = job_numbers())]
    pub jobs: Option<usize>,
    /// Write a report in JSON (`-`: to standard output)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct MutantsArgs {
    /// Only this bug (`cargo sim list` has their names)
    #[arg(long, value_name = "NAME", value_parser = known_bugs(), hide_possible_values = true)]
    pub only: Vec<String>,
    /// Seeds until a bug counts as survived
    #[arg(long, value_name = "N", default_value = "2000",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
    /// What kind of filesystem the disks have [default: posix-worst]
    #[arg(long, value_name = "P", value_parser = profile_names())]
    pub profile: Option<String>,
    /// Seeds at a time [default: one a core]
    #[arg(long, value_name = "J", value_parser = job_numbers())]
    pub jobs: Option<usize>,
    /// Write a report in JSON (`-`: to standard output)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The history: JSON lines, as docs/histories.md has them (`-`: standard input)
    pub file: PathBuf,
    /// What the operations work on: register or kv
    #[arg(long, value_name = "M")]
    pub model: linear::Model,
    /// Write a report in JSON (`-`: to standard output)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct LitmusArgs {
    /// The tests, and what was observed
    pub file: PathBuf,
    /// Against this profile [default: that of each filesystem's name, and posix-worst]
    #[arg(long, value_name = "P", value_parser = profile_names())]
    pub profile: Option<String>,
    /// Write a report in JSON (`-`: to standard output)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Write it in JSON (`-`: to standard output)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Print all that is in it: hard state, snapshot, segments, records
    Dump(LogArgs),
    /// Read all of it and name each problem; 1 if there is one
    Verify(LogArgs),
    /// Say what would mend it and what would be lost; with --yes, back it up and do it
    Repair(LogRepairArgs),
}

#[derive(Debug, Args)]
pub struct LogArgs {
    /// The log directory; no store may be open in it
    pub dir: PathBuf,
    /// Write it in JSON (`-`: to standard output)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct LogRepairArgs {
    #[command(flatten)]
    pub log: LogArgs,
    /// Copy the directory to DIR.before-repair, then do it
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct AgainArgs {
    #[arg(long, value_parser = scenario_names())]
    pub scenario: String,
    #[arg(long)]
    pub seed: u64,
    #[arg(long, value_parser = profile_names())]
    pub profile: Option<String>,
    #[arg(long, value_parser = mutant_names(), hide_possible_values = true)]
    pub mutant: Option<String>,
    #[arg(long)]
    pub unbounded: bool,
    #[arg(long)]
    pub trace: bool,
}

/// Each job is a thread: a slip of the finger must not ask for millions.
fn job_numbers() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=1024)
}

fn scenario_names() -> PossibleValuesParser {
    PossibleValuesParser::new(SCENARIOS.iter().map(|scenario| scenario.name))
}

/// What has no plan can be run, but not shrunk or explored.
fn runnable_names() -> PossibleValuesParser {
    let planned = SCENARIOS.iter().map(|scenario| scenario.name);
    PossibleValuesParser::new(planned.chain([openraft::NAME]))
}

fn explored_names() -> PossibleValuesParser {
    PossibleValuesParser::new(
        explore::store::SCENARIOS
            .iter()
            .map(|scenario| scenario.name),
    )
}

fn profile_names() -> PossibleValuesParser {
    PossibleValuesParser::new(Profile::ALL.iter().map(|profile| profile.name))
}

/// The profile of this name, which the parser has already looked up; without
/// one, the default.
pub fn profile(name: Option<&str>) -> Profile {
    let known = |name| Profile::by_name(name).expect("the parser takes known names only");
    name.map_or(Profile::default(), known)
}

fn mutant_names() -> PossibleValuesParser {
    PossibleValuesParser::new(mutants::catalogue().map(|mutant| mutant.name))
}

/// Also those that cannot be planted.
fn known_bugs() -> PossibleValuesParser {
    let planted = mutants::catalogue().map(|mutant| mutant.name);
    PossibleValuesParser::new(planted.chain(mutants::impossible().iter().map(|bug| bug.name)))
}

fn time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time.is_zero() => Err("no time to run in".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(format!("{error}; write 90s, 5m or 1h30m")),
    }
}

/// The planted bug of this name, which the parser has already looked up.
pub fn mutant(name: Option<&str>) -> Option<&'static MutantInfo> {
    name.map(|name| mutants::find(name).expect("the parser takes known names only"))
}

/// The scenarios to run, each once, in the order of [`SCENARIOS`], whatever the
/// order they were named in: the digest of a campaign follows it.
pub fn scenarios(named: &[String]) -> Vec<&'static str> {
    SCENARIOS
        .iter()
        .filter(|scenario| match named {
            [] => scenario.default,
            named => named.iter().any(|name| name == scenario.name),
        })
        .map(|scenario| scenario.name)
        .collect()
}

/// How many seeds to run at a time.
pub fn jobs(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZeroUsize::get))
}

/// There is nothing to do: help was asked for, or the arguments are wrong.
pub struct Stop(clap::Error);

impl Stop {
    /// Prints the help, or one line that says what is wrong.
    pub fn exit(self) -> ExitCode {
        match self.0.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match self.0.print() {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    Status::Usage.into()
                }
                _ => Status::Ok.into(),
            },
            _ => {
                error::complain(&usage(&self.0.render().to_string()));
                Status::Usage.into()
            }
        }
    }
}

/// clap's drawing of an error as one line: what is wrong, and its tips.
fn usage(rendered: &str) -> String {
    let mut message = rendered
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty())
        .map(|line| match line.strip_prefix("tip: ") {
            Some(tip) => format!("({tip})"),
            None if is_a_catalogue(line) => "(`cargo sim list` has them all)".to_owned(),
            None => line.to_owned(),
        })
        .collect::<Vec<_>>()
        .join(" ");
    if let Some(rest) = message.strip_prefix("error: ") {
        message = rest.to_owned();
    }
    message + "; see --help"
}

/// The names of all scenarios or mutants, which nobody reads in an error.
fn is_a_catalogue(line: &str) -> bool {
    line.starts_with("[possible values:") && line.split(',').count() > 10
}

pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, Stop> {
    let cli = Cli::try_parse_from(args).map_err(Stop)?;
    Ok(cli.command.unwrap_or(Command::Run(cli.run)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from))
            .map_err(|stop| usage(&stop.0.render().to_string()))
    }

    #[test]
    fn run_is_the_default_command_and_takes_its_options() {
        for line in ["afterimage --seeds 7", "afterimage run --seeds 7"] {
            let Ok(Command::Run(args)) = parsed(line) else {
                panic!("`{line}` is a run");
            };
            assert_eq!(args.seeds, Some(7));
            assert_eq!(args.first_seed, Seed::Number(1));
        }
    }

    #[test]
    fn the_derived_definition_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_wrong_argument_is_one_line() {
        #[track_caller]
        fn check(line: &str, expected: &str) {
            let message = parsed(line).expect_err("wrong usage");
            assert!(!message.contains('\n'), "{message}");
            assert!(message.contains(expected), "{message}");
        }
        check("afterimage --seeds 0", "'--seeds <N>': 0 is not in 1..");
        check("afterimage --jobs 0", "'--jobs <J>': 0 is not in 1..");
        check("afterimage --jobs 1000000", "not in 1..=1024");
        check("afterimage --time soon", "5m");
        check("afterimage --time 0s", "no time");
        check(
            "afterimage --scenario raft-33",
            "a similar value exists: 'raft-3'",
        );
        check(
            "afterimage --mutant no-such-bug",
            "'--mutant <M>' (`cargo sim list` has them all)",
        );
        check("afterimage --sedes 5", "similar argument");
        check("afterimage repaly 5", "'replay'");
        check("afterimage replay", "<SEED_OR_FILE>");
    }

    #[test]
    fn scenarios_do_not_depend_on_the_order_of_arguments() {
        let named = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            scenarios(&names)
        };
        assert_eq!(named(&["raft-5", "raft-3", "raft-5"]), ["raft-3", "raft-5"]);
        assert_eq!(named(&["raft-5"]), ["raft-5"]);
        assert_eq!(
            named(&[]).len(),
            SCENARIOS.iter().filter(|s| s.default).count()
        );
    }
}
