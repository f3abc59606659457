//! `afterimage replay`: one run again.

use std::io::Write;
use std::path::{Path, PathBuf};

use afterimage_sim::disk::Profile;
use afterimage_sim::plan::Plan;
use afterimage_sim::plan::seed_file::Expectation;
use afterimage_sim::report::RunReport;
use afterimage_sim::run::{Detail, run_fresh};
use afterimage_sim::verdict::Verdict;

use crate::campaign::{draw, options};
use crate::cli::{self, ReplayArgs};
use crate::clock::Stopwatch;
use crate::digest::hex;
use crate::error::Error;
use crate::files::{self, DEFAULT_DIR};
use crate::json;
use crate::out::{Out, Outputs, Sink};
use crate::seed::{Seed, SeedOrFile};
use crate::status::Status;
use crate::summary::{GREEN, RED, YELLOW, grouped, seconds, styled};

const SCENARIO_DEFAULT: &str = "raft-3";

/// What to run, and where it came from.
pub struct Subject {
    pub plan: Plan,
    pub seed: Seed,
    pub file: Option<PathBuf>,
    /// What the file says of itself, and of its runs.
    pub about: String,
    pub expect: Vec<Expectation>,
}

pub fn replay(args: &ReplayArgs) -> Result<Status, Error> {
    let mutant = cli::mutant(args.mutant.as_deref());
    let mut subject = subject(&args.seed_or_file, args.scenario.as_deref())?;
    if args.profile.is_some() {
        let profile = cli::profile(args.profile.as_deref());
        if subject.plan.disk.profile != profile {
            // What a file expects, it does on the disks that it names.
            subject.expect.clear();
        }
        subject.plan.disk.profile = profile;
    }
    let outputs = Outputs::open(args.json.as_deref(), None)?;
    if subject.file.is_none() {
        files::prepare_dir(Path::new(DEFAULT_DIR))?;
    }

    let sink = args.history.as_deref().map(Sink::open).transpose()?;
    let mut options = options(mutant, args.trace.then_some(Detail::Story));
    options.history = sink.is_some();
    let clock = Stopwatch::start();
    let report = run_fresh(&subject.plan, options);
    let wall = clock.elapsed();

    if let (Some(sink), Some(history)) = (sink, &report.history) {
        sink.write(history.to_string().as_bytes())?;
    }

    let detail = report.violation.as_ref().map(|v| v.detail.as_str());
    let (file, invariant) = match (subject.file, report.verdict) {
        (Some(file), Verdict::Fail(invariant)) => (Some(file), Some(invariant)),
        (file @ Some(_), _) => (file, None),
        (None, Verdict::Fail(invariant)) => {
            let (dir, detail) = (Path::new(DEFAULT_DIR), detail.unwrap_or(""));
            let file = files::write(dir, &report.resolved, mutant, report.verdict, detail)?;
            (Some(file), Some(invariant))
        }
        (None, _) => (None, None),
    };

    let mut out = outputs.out;
    let took = seconds(wall);
    let this = |expected: &&Expectation| expected.mutant == args.mutant;
    let expected = subject.expect.iter().find(this).map(|e| e.verdict);
    tell(&mut out, &report, expected, &took)?;
    if let (Some(file), Some(_)) = (&file, invariant) {
        let command = files::replay_command(file, args.mutant.as_deref());
        writeln!(out, "  replay    {command}")?;
    }
    out.flush()?;
    json::write(
        outputs.json,
        &json::Replay {
            scenario: &report.resolved.scenario,
            seed: subject.seed,
            verdict: report.verdict.to_string(),
            invariant: invariant.map(|invariant| invariant.name()),
            digest: hex(report.digest),
            events: report.events,
            file: file.map(|file| file.to_string_lossy().into_owned()),
            detail,
            mutant: mutant.map(|mutant| mutant.name),
            simulated_s: json::micros(report.simulated_us),
            wall_s: json::seconds(wall),
        },
    )?;
    Ok(Status::of(report.verdict))
}

pub fn subject(of: &SeedOrFile, scenario: Option<&str>) -> Result<Subject, Error> {
    match of {
        SeedOrFile::Seed(seed) => {
            let scenario = scenario.unwrap_or(SCENARIO_DEFAULT);
            Ok(Subject {
                plan: draw(scenario, seed.value(), Profile::default(), false)?,
                seed: seed.clone(),
                file: None,
                about: String::new(),
                expect: Vec::new(),
            })
        }
        SeedOrFile::File(path) => {
            let file = files::read(path)?;
            if let Some(asked) = scenario
                && asked != file.plan.scenario
            {
                return Err(Error::OtherScenario {
                    of: file.plan.scenario,
                    asked: asked.to_owned(),
                });
            }
            Ok(Subject {
                seed: Seed::Number(file.plan.seed),
                plan: file.plan,
                file: Some(path.clone()),
                about: file.about,
                expect: file.expect,
            })
        }
    }
}

/// The trace, if there is one, and then what it came to.
fn tell(
    out: &mut Out,
    report: &RunReport,
    expected: Option<Verdict>,
    took: &str,
) -> Result<(), Error> {
    if let Some(trace) = &report.trace {
        writeln!(out, "{}", trace.trim_end_matches('\n'))?;
    }
    let style = match report.verdict {
        Verdict::Pass => GREEN,
        Verdict::Fail(_) => RED,
        Verdict::Vacuous | Verdict::Nondeterministic => YELLOW,
    };
    let (scenario, seed) = (&report.resolved.scenario, report.resolved.seed);
    let verdict = styled(style, &report.verdict.to_string());
    writeln!(out, "{scenario} {seed:#x}: {verdict}")?;
    if let Some(violation) = &report.violation {
        writeln!(out, "  seen      {}", violation.detail)?;
    }
    if let Some(expected) = expected.filter(|expected| *expected != report.verdict) {
        writeln!(out, "  expected  {expected}, says the file")?;
    }
    writeln!(
        out,
        "  run       {} events, {}.{:03} s simulated in {took}",
        grouped(report.events),
        report.simulated_us / 1_000_000,
        report.simulated_us / 1_000 % 1_000,
    )?;
    writeln!(out, "  digest    {}", hex(report.digest))?;
    Ok(())
}
