//! `afterimage shrink`: the smallest plan that fails in the same way; and what a
//! campaign does with each failure.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use afterimage_sim::mutants::{self, MutantInfo};
use afterimage_sim::plan::Plan;
use afterimage_sim::plan::seed_file::{Expectation, SeedFile};
use afterimage_sim::report::RunReport;
use afterimage_sim::run::run_fresh;
use afterimage_sim::shrink::{End, Shrunk, Tried, shrink};
use afterimage_sim::verdict::{Invariant, Verdict};

use crate::campaign::options;
use crate::cli::{self, ShrinkArgs};
use crate::clock::Stopwatch;
use crate::error::Error;
use crate::files::{self, DEFAULT_DIR};
use crate::interrupt;
use crate::json;
use crate::out::{Out, Outputs, Sink, note};
use crate::pool;
use crate::progress::Progress;
use crate::replay::{Subject, subject};
use crate::status::Status;
use crate::summary::{RED, plural, seconds, styled};

type Mutant = Option<&'static MutantInfo>;

pub fn command(args: &ShrinkArgs) -> Result<Status, Error> {
    let subject = subject(&args.seed_or_file, args.scenario.as_deref())?;
    let outputs = Outputs::open(args.json.as_deref(), None)?;
    let (goal, failed) = goal(&subject, cli::mutant(args.mutant.as_deref()))?;
    let path = match &args.out {
        Some(path) => path.clone(),
        None => default_path(&subject, goal.mutant)?,
    };
    // With a directory in front, `-` is a file like others.
    let sink = Sink::open(&Path::new(".").join(&path))?;

    let clock = Stopwatch::start();
    let before = failed.resolved.clone();
    let mut progress = Progress::new("candidates", None);
    let shrunk = smallest(&goal, failed, cli::jobs(args.jobs), args.budget, |steps| {
        progress.advance(|| format!(", {} left", plural(steps as u64, "step")));
    });
    drop(progress);
    let wall = clock.elapsed();

    let file = seed_file(&subject, &goal, &shrunk.report);
    sink.write(file.to_string().as_bytes())?;
    let mut out = outputs.out;
    tell(&mut out, &goal, &before, &shrunk, wall)?;
    let command = files::replay_command(&path, goal.mutant.map(|mutant| mutant.name));
    writeln!(out, "  replay    {command}")?;
    out.flush()?;
    let after = &shrunk.report.resolved;
    json::write(
        outputs.json,
        &json::Shrink {
            scenario: &after.scenario,
            seed: subject.seed,
            mutant: goal.mutant.map(|mutant| mutant.name),
            invariant: goal.invariant.name(),
            detail: detail(&shrunk.report),
            file: path.to_string_lossy().into_owned(),
            steps_before: before.steps.len(),
            steps: after.steps.len(),
            nodes_before: before.cluster.nodes,
            nodes: after.cluster.nodes,
            candidates: shrunk.tried,
            minimal: shrunk.end == End::Minimum,
            wall_s: json::seconds(wall),
        },
    )?;
    Ok(Status::Ok)
}

/// What a candidate must come to.
pub struct Goal {
    pub mutant: Mutant,
    pub invariant: Invariant,
    /// What a seed file expects besides: that the engine passes, say. Without
    /// it a plan could shrink until it no longer tests anything.
    pub others: Vec<(Mutant, Verdict)>,
}

impl Goal {
    /// The run of the candidate, if it fails as it must.
    fn met(&self, candidate: &Plan) -> Option<RunReport> {
        let report = run_fresh(candidate, options(self.mutant, None));
        let as_expected = |(mutant, verdict): &(Mutant, Verdict)| {
            run_fresh(&report.resolved, options(*mutant, None)).verdict == *verdict
        };
        let fails = report.verdict == Verdict::Fail(self.invariant);
        (fails && self.others.iter().all(as_expected)).then_some(report)
    }
}

/// Shrinks the plan of a failed run. What comes out is the same for any number
/// of jobs. `tried` is told after each candidate how many steps are left.
pub fn smallest(
    goal: &Goal,
    failed: RunReport,
    jobs: usize,
    budget: u64,
    mut tried: impl FnMut(usize),
) -> Shrunk {
    let mut left = failed.resolved.steps.len();
    shrink(failed, budget, &mut |candidates| {
        let (mut passed, mut found) = (0, None);
        pool::in_order(
            jobs,
            candidates.len() as u64,
            || !interrupt::requested(),
            |number| goal.met(&candidates[number as usize]),
            |_, met| {
                found = met;
                if let Some(report) = &found {
                    left = left.min(report.resolved.steps.len());
                }
                tried(left);
                match found {
                    Some(_) => ControlFlow::Break(()),
                    None => {
                        passed += 1;
                        ControlFlow::Continue(())
                    }
                }
            },
        );
        match found {
            Some(report) => Tried::Failed {
                at: passed,
                report: Box::new(report),
            },
            None if passed < candidates.len() => Tried::Stopped,
            None => Tried::Passed,
        }
    })
}

/// What to shrink: the failure of the engine with the bug that was asked for,
/// or without one; else one with a bug that the file expects to break something.
fn goal(subject: &Subject, asked: Mutant) -> Result<(Goal, RunReport), Error> {
    let mut expected = Vec::new();
    for expectation in &subject.expect {
        expected.push((planted(expectation)?, expectation.verdict));
    }
    let mut suspects = vec![asked];
    if asked.is_none() {
        let fails = |(_, verdict): &&(Mutant, Verdict)| matches!(verdict, Verdict::Fail(_));
        suspects.extend(expected.iter().filter(fails).map(|(mutant, _)| *mutant));
    }
    let mut passed = Verdict::Pass;
    for mutant in suspects {
        let failed = run_fresh(&subject.plan, options(mutant, None));
        if let Verdict::Fail(invariant) = failed.verdict {
            let name = mutant.map(|mutant| mutant.name);
            expected.retain(|(other, _)| other.map(|other| other.name) != name);
            expected.retain(|other| is_met(&failed.resolved, *other));
            let goal = Goal {
                mutant,
                invariant,
                others: expected,
            };
            return Ok((goal, failed));
        }
        passed = failed.verdict;
    }
    let (scenario, seed) = (&subject.plan.scenario, subject.plan.seed);
    let with = asked.map_or(String::new(), |mutant| {
        format!(" with {} planted", mutant.name)
    });
    let how = match passed {
        Verdict::Pass => "passes".to_owned(),
        other => format!("is {other}"),
    };
    Err(Error::NothingToShrink(format!(
        "{scenario} {seed:#x}{with} {how}"
    )))
}

fn planted(expectation: &Expectation) -> Result<Mutant, Error> {
    let find = |name: &String| {
        mutants::find(name).ok_or_else(|| Error::UnknownMutant(name.escape_debug().to_string()))
    };
    expectation.mutant.as_ref().map(find).transpose()
}

/// Whether the file is right about this; if not, shrinking cannot keep it.
fn is_met(plan: &Plan, (mutant, verdict): (Mutant, Verdict)) -> bool {
    let got = run_fresh(plan, options(mutant, None)).verdict;
    if got != verdict {
        let on = mutant.map_or("the engine", |mutant| mutant.name);
        note(&format!(
            "the file expects {verdict} on {on}, which is {got}: not kept"
        ));
    }
    got == verdict
}

fn default_path(subject: &Subject, mutant: Mutant) -> Result<PathBuf, Error> {
    let dir = Path::new(DEFAULT_DIR);
    files::prepare_dir(dir)?;
    let name = match subject.file.as_deref().and_then(Path::file_name) {
        Some(name) => dir.join(name),
        None => dir.join(format!("{}.toml", files::stem(&subject.plan, mutant))),
    };
    Ok(beside(&name))
}

/// The name of the file with the smallest plan, next to that of a failure.
pub fn beside(original: &Path) -> PathBuf {
    let stem = original.file_stem().unwrap_or_default().to_string_lossy();
    original.with_file_name(format!("{stem}-shrunk.toml"))
}

/// The file that came in, with the smaller plan; or one for a seed.
fn seed_file(subject: &Subject, goal: &Goal, smallest: &RunReport) -> SeedFile {
    let (verdict, plan) = (smallest.verdict, &smallest.resolved);
    let mut file = files::failing(plan, goal.mutant, verdict, detail(smallest));
    if !subject.about.is_empty() {
        file.about.clone_from(&subject.about);
    }
    let found = file.expect.remove(0);
    file.expect.clone_from(&subject.expect);
    match file.expect.iter_mut().find(|e| e.mutant == found.mutant) {
        Some(expected) => *expected = found,
        None => file.expect.insert(0, found),
    }
    file
}

/// What was seen.
pub fn detail(report: &RunReport) -> &str {
    report.violation.as_ref().map_or("", |v| v.detail.as_str())
}

/// `from 49 to 3 steps`.
pub fn from_to(steps_before: usize, steps: usize) -> String {
    format!("from {steps_before} to {}", plural(steps as u64, "step"))
}

fn tell(
    out: &mut Out,
    goal: &Goal,
    before: &Plan,
    shrunk: &Shrunk,
    wall: Duration,
) -> Result<(), Error> {
    let report = &shrunk.report;
    let after = &report.resolved;
    let verdict = styled(RED, &report.verdict.to_string());
    let with = goal.mutant.map_or(String::new(), |mutant| {
        format!(", with {} planted", mutant.name)
    });
    writeln!(out, "{} {:#x}: {verdict}{with}", after.scenario, after.seed)?;
    for line in after.to_string().lines() {
        writeln!(out, "    {line}")?;
    }
    writeln!(out, "  seen      {}", detail(report))?;
    let members = match (before.cluster.nodes, after.cluster.nodes) {
        (before, after) if before == after => String::new(),
        (before, after) => format!(", from {before} to {}", plural(after.into(), "node")),
    };
    let steps = from_to(before.steps.len(), after.steps.len());
    writeln!(out, "  shrunk    {steps}{members}")?;
    let end = match shrunk.end {
        End::Minimum => "nothing that is left can be left out by itself",
        End::Budget => "not the smallest, --budget is used up",
        End::Stopped => "not the smallest, it was stopped",
    };
    let tried = plural(shrunk.tried, "candidate");
    writeln!(out, "  tried     {tried} in {}: {end}", seconds(wall))?;
    Ok(())
}
