//! `afterimage mutants`: what the harness is worth.

use std::io::Write;
use std::ops::ControlFlow;

use afterimage_sim::disk::Profile;
use afterimage_sim::mutants::{MutantInfo, catalogue, impossible};
use afterimage_sim::verdict::{Invariant, Verdict};

use crate::campaign::Campaign;
use crate::cli::{self, MutantsArgs};
use crate::clock::Stopwatch;
use crate::error::Error;
use crate::interrupt;
use crate::json;
use crate::out::Outputs;
use crate::progress::Progress;
use crate::status::Status;
use crate::summary::{GREEN, RED, grouped, plural, seconds, styled};

/// The first seed, the same for every bug.
const FIRST_SEED: u64 = 1;

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
        let (tried, broken) = hunt(args, mutant)?;
        // A bug that was not hunted to the end neither survived nor was caught.
        if broken.is_none() && interrupt::requested() {
            break;
        }
        let wall = clock.elapsed();
        if broken.is_none() {
            report.survived.push(mutant.name);
        }
        let verdict = match broken {
            Some(rule) => styled(GREEN, &format!("{:<rule_width$}", rule.name())),
            None => styled(RED, &format!("{:<rule_width$}", "SURVIVED")),
        };
        progress.aside(|| {
            writeln!(
                out,
                "{:<name_width$}  {verdict}  {:>11}  {:>8}  {}",
                mutant.name,
                plural(tried, "seed"),
                seconds(wall),
                mutant.source,
            )
        })?;
        report.mutants.push(json::Mutant {
            name: mutant.name,
            rows: mutant.rows,
            source: mutant.source,
            caught: broken.is_some(),
            by: broken.map(|_| "run"),
            scenario: Some(mutant.scenario),
            invariant: broken.map(Invariant::name),
            seeds: Some(tried),
            states: None,
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

/// Runs seeds until an invariant breaks; how many, and which one.
fn hunt(
    args: &MutantsArgs,
    mutant: &'static MutantInfo,
) -> Result<(u64, Option<Invariant>), Error> {
    let campaign = Campaign {
        scenarios: vec![mutant.scenario],
        first_seed: FIRST_SEED,
        seeds: None,
        time: None,
        jobs: cli::jobs(args.jobs),
        profile: Profile::default(),
        mutant: Some(mutant),
        twice: false,
    };
    let (mut tried, mut broken) = (0, None);
    campaign.run(|ran| {
        tried += 1;
        if let Verdict::Fail(invariant) = ran.verdict() {
            broken = Some(invariant);
        }
        Ok(match broken.is_some() || tried == args.seeds {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    })?;
    Ok((tried, broken))
}
