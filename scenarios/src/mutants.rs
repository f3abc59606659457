//! `afterimage mutants`: what the harness is worth.

use std::io::Write;

use afterimage_sim::mutants::{catalogue, impossible};
use afterimage_sim::verdict::Invariant;

use crate::cli::MutantsArgs;
use crate::clock::Stopwatch;
use crate::error::Error;
use crate::hunt;
use crate::interrupt;
use crate::json;
use crate::out::Outputs;
use crate::progress::Progress;
use crate::status::Status;
use crate::summary::{GREEN, RED, grouped, plural, seconds, styled};

pub fn mutants(args: &MutantsArgs) -> Result<Status, Error> {
    let outputs = Outputs::open(args.json.as_deref(), None)?;
    let mut out = outputs.out;
    let asked = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let chosen: Vec<_> = catalogue().filter(|mutant| asked(mutant.name)).collect();
    let excused: Vec<_> = impossible().iter().filter(|bug| asked(bug.name)).collect();
    let names = chosen.iter().map(|mutant| mutant.name);
    let names = names.chain(excused.iter().map(|bug| bug.name));
    let name_width = names.map(str::len).max().unwrap_or(0);
    let rule_width = Invariant::ALL
        .iter()
        .map(|rule| rule.name().len())
        .max()
        .unwrap_or(0);

    let mut report = json::Mutants {
        mutants: Vec::new(),
        survived: Vec::new(),
    };
    let mut progress = Progress::new("planted bugs", Some(chosen.len() as u64));
    for mutant in chosen {
        let clock = Stopwatch::start();
        let explored = hunt::by_exploring(args, mutant);
        let run = hunt::by_running(args, mutant)?;
        let caught = match &explored {
            Some(explored) if explored.invariant.is_some() => explored.invariant,
            _ => run.invariant,
        };
        // A bug that was not hunted to the end neither survived nor was caught.
        if caught.is_none() && interrupt::requested() {
            break;
        }
        let wall = clock.elapsed();
        if caught.is_none() {
            report.survived.push(mutant.name);
        }
        let verdict = match caught {
            Some(rule) => styled(GREEN, &format!("{:<rule_width$}", rule.name())),
            None => styled(RED, &format!("{:<rule_width$}", "SURVIVED")),
        };
        let states = explored.as_ref().map_or(String::new(), |explored| {
            explored.column(plural(explored.tried, "state"))
        });
        let seeds = run.column(plural(run.tried, "seed"));
        progress.aside(|| {
            writeln!(
                out,
                "{:<name_width$}  {verdict}  {states:>18}  {seeds:>12}  {:>8}  {}",
                mutant.name,
                seconds(wall),
                mutant.source,
            )
        })?;
        report.mutants.push(json::Mutant {
            name: mutant.name,
            rows: mutant.rows,
            source: mutant.source,
            caught: caught.is_some(),
            by: match &explored {
                Some(explored) if explored.invariant.is_some() => Some("explore"),
                _ => run.invariant.map(|_| "run"),
            },
            scenario: Some(mutant.scenario),
            invariant: caught.map(Invariant::name),
            seeds: Some(run.tried),
            states: explored.as_ref().map(|explored| explored.tried),
            by_run: run.invariant.map(Invariant::name),
            by_explore: explored.and_then(|explored| explored.invariant.map(Invariant::name)),
            wall_s: json::seconds(wall),
            impossible: None,
        });
        progress.advance(|| format!(", {} survived", report.survived.len()));
    }
    drop(progress);

    let planted = report.mutants.len() as u64;
    for bug in &excused {
        writeln!(
            out,
            "{:<name_width$}  impossible: {}  {}",
            bug.name, bug.why, bug.source,
        )?;
        report.mutants.push(json::Mutant::impossible(bug));
    }
    let survived = report.survived.len() as u64;
    writeln!(
        out,
        "{} planted: {} caught, {} survived; {} impossible here",
        plural(planted, "known bug"),
        grouped(planted - survived),
        grouped(survived),
        grouped(excused.len() as u64),
    )?;
    out.flush()?;
    json::write(outputs.json, &report)?;
    Ok(match survived {
        0 => Status::Ok,
        _ => Status::Broken,
    })
}
