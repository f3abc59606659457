//! Stores with planted bugs, shrunk from plans that random draws made.

use super::shrunk;
use crate::mutants::{self, MutantInfo};
use crate::plan::{Plan, generate};
use crate::report::RunReport;
use crate::run::{Detail, RunOptions};
use crate::shrink::{End, Shrunk};
use crate::verdict::Verdict;

const BUDGET: u64 = 2000;

fn run(plan: &Plan, mutant: &'static MutantInfo) -> RunReport {
    let options = RunOptions {
        history: false,
        mutant: Some(mutant),
        trace: None,
    };
    crate::single::run(plan, &options)
}

/// The first drawn plan that shows the bug, as it was carried out.
fn found(mutant: &'static MutantInfo) -> RunReport {
    (1..200)
        .map(|seed| run(&generate("store", seed).unwrap(), mutant))
        .find(|report| matches!(report.verdict, Verdict::Fail(_)))
        .unwrap_or_else(|| panic!("{} is not found", mutant.name))
}

fn smallest(mutant: &'static MutantInfo) -> Shrunk {
    shrunk(found(mutant), BUDGET, |candidate| run(candidate, mutant))
}

/// Some that need no feature, and show soon.
fn bugs() -> impl Iterator<Item = &'static MutantInfo> {
    let names = [
        "segment-name-not-synced",
        "snapshot-name-not-synced",
        "hard-state-not-synced",
        "ack-before-sync",
        "segment-renamed-before-sync",
    ];
    names.into_iter().filter_map(mutants::find)
}

#[test]
fn a_found_bug_shrinks_to_ten_steps_of_which_it_takes_each() {
    for mutant in bugs() {
        let verdict = found(mutant).verdict;
        let smallest = smallest(mutant);
        let plan = &smallest.report.resolved;
        let name = mutant.name;
        assert_eq!(smallest.end, End::Minimum, "{name}");
        assert_eq!(smallest.report.verdict, verdict, "{name}");
        assert!(plan.steps.len() <= 10, "{name}: {plan}");

        let again = run(&plan.to_string().parse().unwrap(), mutant);
        assert_eq!(again.verdict, verdict, "{name}: {plan}");
        assert_eq!(again.resolved.to_string(), plan.to_string(), "{name}");
        for at in 0..plan.steps.len() {
            let mut fewer = plan.clone();
            let step = fewer.steps.remove(at);
            let without = run(&fewer, mutant);
            assert_ne!(without.verdict, verdict, "{name} does not need {step}");
        }
    }
}

#[test]
fn shrinking_comes_to_the_same_bytes_every_time() {
    for mutant in bugs() {
        let (one, two) = (smallest(mutant), smallest(mutant));
        assert_eq!(one.tried, two.tried, "{}", mutant.name);
        assert_eq!(
            one.report.resolved.to_string(),
            two.report.resolved.to_string()
        );
        assert_eq!(one.report.digest, two.report.digest);
    }
}

#[test]
fn the_smallest_plan_tells_the_story() {
    let mutant = mutants::find("ack-before-sync").unwrap();
    let plan = smallest(mutant).report.resolved;
    let options = RunOptions {
        history: false,
        mutant: Some(mutant),
        trace: Some(Detail::Story),
    };
    let trace = crate::single::run(&plan, &options).trace.unwrap();
    insta::assert_snapshot!(format!("{plan}\n{trace}"));
}
