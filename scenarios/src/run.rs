//! `afterimage run`: a campaign, told as it goes.

use std::io::Write;
use std::ops::ControlFlow;
use std::time::Duration;

use afterimage_sim::disk::Profile;
use afterimage_sim::run::WATCHDOG;
use afterimage_sim::shrink::End;
use afterimage_sim::verdict::{Invariant, Verdict};

use crate::campaign::{Campaign, Ran};
use crate::cli::{self, RunArgs, SEEDS_DEFAULT};
use crate::clock::Stopwatch;
use crate::digest::hex;
use crate::error::Error;
use crate::files;
use crate::interrupt;
use crate::json;
use crate::junit::Junit;
use crate::out::Outputs;
use crate::progress::Progress;
use crate::shrink::{self, Goal};
use crate::status::Status;
use crate::summary::{self, RED, YELLOW, plural, styled};
use crate::totals::{Failure, ShrunkFrom, Totals};

/// Candidates that shrinking a failure may try: for the first of a scenario that
/// breaks an invariant, and for each that breaks it again. Counted, and not
/// timed, so that a campaign's report is the same every time.
const CANDIDATES_FIRST: u64 = 200;
const CANDIDATES_MORE: u64 = 40;

pub fn run(args: &RunArgs) -> Result<Status, Error> {
    let seeds = match (args.seeds, args.time) {
        (Some(seeds), _) => Some(seeds),
        (None, Some(_)) => None,
        (None, None) => Some(SEEDS_DEFAULT),
    };
    let campaign = Campaign {
        scenarios: cli::scenarios(&args.scenario),
        first_seed: args.first_seed.value(),
        seeds,
        time: args.time,
        jobs: cli::jobs(args.jobs),
        profile: cli::profile(args.profile.as_deref()),
        mutant: cli::mutant(args.mutant.as_deref()),
        twice: args.twice,
        unbounded: args.unbounded,
    };
    let outputs = Outputs::open(args.json.as_deref(), args.junit.as_deref())?;
    files::prepare_dir(&args.out)?;

    let mut out = outputs.out;
    let mut junit = outputs.junit.map(Junit::new);
    let mut totals = Totals::default();
    let clock = Stopwatch::start();
    let mut progress = Progress::new("seeds", campaign.total());
    campaign.run(|ran| {
        let told = keep(&campaign, args, &ran, &mut totals)?;
        if !told.is_empty() {
            progress.aside(|| writeln!(out, "{told}"))?;
        }
        if let Some(junit) = &mut junit {
            junit.add(&ran, &told);
        }
        progress.advance(|| note(&totals));
        let failed = matches!(ran.verdict(), Verdict::Fail(_));
        Ok(match failed && !args.keep_going {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    })?;
    drop(progress);
    let wall = clock.elapsed();

    summary::print(&mut out, &campaign, &totals, wall)?;
    json::write(outputs.json, &report(&campaign, &totals, wall))?;
    if let Some(junit) = junit {
        junit.write(wall)?;
    }
    Ok(match totals.missed(&campaign).is_empty() {
        true => totals.status(),
        // A broken invariant outranks what was not tried.
        false => totals.status().or(Status::Unproven),
    })
}

/// Counts a run and keeps the plan of a failing one; what is to be told of it,
/// which for a pass is nothing.
fn keep(
    campaign: &Campaign,
    args: &RunArgs,
    ran: &Ran,
    totals: &mut Totals,
) -> Result<String, Error> {
    totals.add(ran);
    let (scenario, seed, verdict) = (ran.scenario, ran.seed, ran.verdict());
    let mutant = campaign.mutant.map(|mutant| mutant.name);
    let mut on = match campaign.profile {
        Profile::POSIX_WORST => String::new(),
        profile => format!(" --profile {profile}"),
    };
    if campaign.unbounded {
        on += " --unbounded";
    }
    let mut told = match verdict {
        Verdict::Pass => return Ok(String::new()),
        Verdict::Fail(invariant) => {
            let failure = failure(campaign, args, ran, invariant, totals)?;
            let told = format!(
                "{} {scenario} {seed:#x} {invariant}: {}{}\n     {}",
                styled(RED, "FAIL"),
                failure.detail,
                failure.shrunk.as_ref().map_or(String::new(), told_of),
                files::replay_command(&failure.file, mutant),
            );
            totals.failures.push(failure);
            told
        }
        Verdict::Vacuous => format!(
            "{} {scenario} {seed:#x}: no planned fault had an effect\n     {}",
            styled(YELLOW, "VACUOUS"),
            with_mutant(
                match campaign.unbounded {
                    false => format!("cargo sim replay {seed:#x} --scenario {scenario}{on}"),
                    true => format!(
                        "cargo sim run --scenario {scenario} --first-seed {seed:#x} --seeds 1{on}"
                    ),
                },
                mutant
            ),
        ),
        Verdict::Nondeterministic => format!(
            "{} {scenario} {seed:#x}\n     {}",
            styled(YELLOW, "NONDETERMINISTIC"),
            with_mutant(
                format!(
                    "cargo sim run --scenario {scenario} --first-seed {seed:#x} --seeds 1 --twice{on}"
                ),
                mutant,
            ),
        ),
    };
    if let Some(difference) = &ran.difference {
        told += &format!(
            "\nthe second run differs: {}, then {}\n{}",
            difference.first, difference.second, difference.event
        );
    }
    Ok(told)
}

fn with_mutant(command: String, mutant: Option<&str>) -> String {
    match mutant {
        Some(mutant) => format!("{command} --mutant {mutant}"),
        None => command,
    }
}

/// Keeps the plan of a failing run: as it was, and the smallest that was found.
fn failure(
    campaign: &Campaign,
    args: &RunArgs,
    ran: &Ran,
    invariant: Invariant,
    totals: &Totals,
) -> Result<Failure, Error> {
    let (plan, mutant) = (&ran.report.resolved, campaign.mutant);
    let original = files::write(&args.out, plan, mutant, ran.verdict(), ran.detail())?;
    let mut failure = Failure {
        seed: ran.seed,
        scenario: ran.scenario,
        invariant,
        detail: ran.detail().to_owned(),
        file: original.clone(),
        shrunk: None,
    };
    // What the watchdog had to stop would be waited for with each candidate.
    if args.no_shrink || ran.wall >= WATCHDOG {
        return Ok(failure);
    }
    let goal = Goal {
        mutant,
        invariant,
        others: Vec::new(),
    };
    let like = |other: &Failure| other.scenario == ran.scenario && other.invariant == invariant;
    let budget = match totals.failures.iter().any(like) {
        false => CANDIDATES_FIRST,
        true => CANDIDATES_MORE,
    };
    let smallest = shrink::smallest(&goal, ran.report.clone(), campaign.jobs, budget, |_| {});
    failure.file = shrink::beside(&original);
    failure.detail = shrink::detail(&smallest.report).to_owned();
    failure.shrunk = Some(ShrunkFrom {
        steps_before: plan.steps.len(),
        steps: smallest.report.resolved.steps.len(),
        minimal: smallest.end == End::Minimum,
        original,
    });
    let (plan, verdict) = (&smallest.report.resolved, smallest.report.verdict);
    let file = files::failing(plan, mutant, verdict, &failure.detail);
    files::write_as(&failure.file, &file)?;
    Ok(failure)
}

fn told_of(shrunk: &ShrunkFrom) -> String {
    let not_all = match shrunk.minimal {
        true => "",
        false => ", which may not be the end of it",
    };
    format!(
        "\n     shrunk {}{not_all}; as it was: {}",
        shrink::from_to(shrunk.steps_before, shrunk.steps),
        shrunk.original.display(),
    )
}

fn note(totals: &Totals) -> String {
    let unproven = totals.vacuous + totals.nondeterministic;
    let mut note = format!(", {}", plural(totals.failures.len() as u64, "failure"));
    if unproven > 0 {
        note += &format!(", {unproven} unproven");
    }
    note
}

fn report<'a>(campaign: &'a Campaign, totals: &'a Totals, wall: Duration) -> json::Run<'a> {
    let failure = |failure: &'a Failure| json::RunFailure {
        seed: failure.seed,
        scenario: failure.scenario,
        invariant: failure.invariant.name(),
        file: failure.file.to_string_lossy().into_owned(),
        detail: &failure.detail,
        shrunk: failure.shrunk.as_ref().map(|shrunk| json::ShrunkFrom {
            steps_before: shrunk.steps_before,
            steps: shrunk.steps,
            minimal: shrunk.minimal,
            original: shrunk.original.to_string_lossy().into_owned(),
        }),
    };
    json::Run {
        seeds: totals.seeds,
        passed: totals.passed,
        failures: totals.failures.iter().map(failure).collect(),
        vacuous: totals.vacuous,
        nondeterministic: totals.nondeterministic,
        simulated_s: json::micros(totals.simulated_us),
        wall_s: json::seconds(wall),
        fs_ops: totals.fs_ops,
        messages: totals.messages,
        crashes: totals.crashes,
        kills: totals.kills,
        elections: totals.elections,
        client_ops: totals.client_ops,
        faults: &totals.faults,
        sometimes: &totals.sometimes,
        missed: totals.missed(campaign),
        kinds: &totals.kinds,
        watermarks: &totals.watermarks,
        digest: hex(totals.digest.value()),
        scenarios: &campaign.scenarios,
        first_seed: campaign.first_seed,
        profile: campaign.profile.name,
        mutant: campaign.mutant.map(|mutant| mutant.name),
        jobs: campaign.jobs,
        interrupted: interrupt::requested(),
    }
}
