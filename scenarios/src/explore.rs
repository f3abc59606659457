//! `afterimage explore`: every crash point of a workload, with every state that
//! a crash may leave.

use std::io::Write;
use std::path::PathBuf;

use afterimage_sim::disk::Profile;
use afterimage_sim::explore::store::{self, Counterexample, Explored, SCENARIOS, Scenario};
use afterimage_sim::explore::{Bounds, Counts, Level};
use afterimage_sim::mutants::MutantInfo;
use afterimage_sim::plan::seed_file::{Expectation, SeedFile};
use afterimage_sim::verdict::Verdict;

use crate::cli::{self, ExploreArgs};
use crate::clock::Stopwatch;
use crate::error::Error;
use crate::files;
use crate::interrupt;
use crate::json;
use crate::out::{Out, Outputs};
use crate::progress::Progress;
use crate::status::Status;
use crate::summary::{GREEN, RED, grouped, plural, seconds, styled};

pub fn explore(args: &ExploreArgs) -> Result<Status, Error> {
    let outputs = Outputs::open(args.json.as_deref(), None)?;
    let mut out = outputs.out;
    files::prepare_dir(&args.out)?;
    let mutant = cli::mutant(args.mutant.as_deref());
    let profile = cli::profile(args.profile.as_deref());
    let chosen: Vec<&Scenario> = SCENARIOS
        .iter()
        .filter(|s| args.scenarios.is_empty() || args.scenarios.iter().any(|n| n == s.name))
        .collect();
    let width = chosen.iter().map(|s| s.name.len()).max().unwrap_or(0);

    let mut report: Vec<json::Explored> = Vec::new();
    let mut total = Counts::default();
    let mut progress = Progress::new("recoveries", None);
    let clock = Stopwatch::start();
    for scenario in chosen {
        if interrupt::requested() {
            break;
        }
        let bounds = Bounds {
            level: args.level.min(scenario.level_max),
            depth: args.depth,
            jobs: cli::jobs(args.jobs),
            ..Bounds::default()
        };
        let started = Stopwatch::start();
        let before = total.recoveries;
        let mut plan = scenario.plan();
        plan.disk.profile = profile;
        let explored = store::explore(&plan, mutant, bounds, &mut |counts| {
            let name = scenario.name;
            progress.reach(before + counts.recoveries, || {
                format!(", {name}: {} states", grouped(counts.states))
            });
            !interrupt::requested()
        });
        let wall = started.elapsed();
        let files: Vec<PathBuf> = explored
            .violations
            .iter()
            .enumerate()
            .map(|(n, found)| write(args, scenario, mutant, n, found))
            .collect::<Result<_, _>>()?;
        progress.aside(|| tell(&mut out, scenario, width, bounds.level, &explored, wall))?;
        for (found, file) in explored.violations.iter().zip(&files) {
            progress.aside(|| tell_violation(&mut out, found, file, mutant))?;
        }
        add(&mut total, &explored.counts);
        report.push(entry(
            scenario,
            profile,
            bounds,
            &explored,
            &files,
            json::seconds(wall),
        ));
    }
    drop(progress);

    let broken: usize = report.iter().map(|entry| entry.violations.len()).sum();
    writeln!(
        out,
        "{}: {} at {}, {} images, {} recoveries, {} in {}",
        plural(report.len() as u64, "scenario"),
        plural(total.states, "state"),
        plural(total.crash_points, "crash point"),
        grouped(total.distinct_images),
        grouped(total.recoveries),
        plural(broken as u64, "violation"),
        seconds(clock.elapsed()),
    )?;
    out.flush()?;
    json::write(outputs.json, &report)?;
    Ok(match broken {
        0 => Status::Ok,
        _ => Status::Broken,
    })
}

fn add(total: &mut Counts, counts: &Counts) {
    total.crash_points += counts.crash_points;
    total.states += counts.states;
    total.distinct_images += counts.distinct_images;
    total.recoveries += counts.recoveries;
}

/// The plan of a violation, as a seed file that expects it.
fn write(
    args: &ExploreArgs,
    scenario: &Scenario,
    mutant: Option<&MutantInfo>,
    number: usize,
    found: &Counterexample,
) -> Result<PathBuf, Error> {
    let verdict = Verdict::Fail(found.violation.invariant);
    let file = SeedFile {
        about: format!(
            "explore {}: {verdict}: {}; {}",
            scenario.name,
            found.violation.detail,
            found.crash_point()
        ),
        expect: vec![Expectation {
            mutant: mutant.map(|mutant| mutant.name.to_owned()),
            verdict: found.replayed,
        }],
        plan: found.plan.clone(),
    };
    let of = mutant.map_or(String::new(), |mutant| format!("-{}", mutant.name));
    let name = format!("explore-{}{of}-{}.toml", scenario.name, number + 1);
    files::write_as(&args.out.join(name), &file)
}

fn tell(
    out: &mut Out,
    scenario: &Scenario,
    width: usize,
    level: Level,
    explored: &Explored,
    wall: std::time::Duration,
) -> Result<(), Error> {
    let counts = &explored.counts;
    let verdict = match (explored.violations.len(), explored.complete) {
        (0, true) => styled(GREEN, "ok"),
        (0, false) => "stopped".to_owned(),
        _ => styled(RED, "FAIL"),
    };
    writeln!(
        out,
        "{:<width$}  {verdict}  level {level}, {}, {}, {} images, {} recoveries, {}",
        scenario.name,
        plural(counts.crash_points, "crash point"),
        plural(counts.states, "state"),
        grouped(counts.distinct_images),
        grouped(counts.recoveries),
        seconds(wall),
    )?;
    Ok(())
}

fn tell_violation(
    out: &mut Out,
    found: &Counterexample,
    file: &std::path::Path,
    mutant: Option<&MutantInfo>,
) -> Result<(), Error> {
    writeln!(
        out,
        "    {}: {}",
        styled(RED, found.violation.invariant.name()),
        found.violation.detail
    )?;
    writeln!(out, "      {}", found.crash_point())?;
    if found.replayed != Verdict::Fail(found.violation.invariant) {
        writeln!(out, "      a replay comes to {}", found.replayed)?;
    }
    let command = files::replay_command(file, mutant.map(|mutant| mutant.name));
    writeln!(out, "      {command} --trace")?;
    Ok(())
}

fn entry(
    scenario: &Scenario,
    profile: Profile,
    bounds: Bounds,
    explored: &Explored,
    files: &[PathBuf],
    wall_s: f64,
) -> json::Explored {
    let violations = explored.violations.iter().zip(files);
    json::Explored {
        scenario: scenario.name,
        profile: profile.name,
        level: bounds.level.number(),
        depth: bounds.depth,
        crash_points: explored.counts.crash_points,
        states: explored.counts.states,
        distinct_images: explored.counts.distinct_images,
        recoveries: explored.counts.recoveries,
        violations: violations
            .map(|(found, file)| json::ExploredViolation {
                invariant: found.violation.invariant.name(),
                crash_point: found.crash_point(),
                file: file.to_string_lossy().into_owned(),
                detail: found.violation.detail.clone(),
            })
            .collect(),
        complete: explored.complete,
        wall_s,
    }
}
