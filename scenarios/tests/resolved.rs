//! What a seed file promises: the plan as it was carried out is the same run
//! again, byte for byte, whatever the generator will draw by then.
#![cfg(madsim)]

use afterimage_sim::mutants;
use afterimage_sim::plan::Plan;
use afterimage_sim::plan::generate::generate;
use afterimage_sim::run::{Detail, RunOptions, run_fresh};

/// Runs the plan of `seed`, and then the plan that it wrote back.
#[track_caller]
fn check(scenario: &str, seed: u64, mutant: Option<&str>) {
    let mutant = mutant.map(|name| mutants::find(name).expect("a known bug"));
    let options = |trace| RunOptions { mutant, trace };
    let drawn = generate(scenario, seed).expect("a known scenario");
    let first = run_fresh(&drawn, options(None));
    let resolved: Plan = first.resolved.to_string().parse().expect("its own text");
    assert_eq!(resolved, first.resolved, "the text form says it all");
    let second = run_fresh(&resolved, options(None));
    if (first.verdict, first.digest, first.events) == (second.verdict, second.digest, second.events)
    {
        assert_eq!(
            second.resolved, resolved,
            "there is nothing left to resolve"
        );
        return;
    }
    // Only now with the traces, which cost more than the runs.
    let everything = options(Some(Detail::Everything));
    let [first, second] = [&drawn, &resolved].map(|plan| {
        let trace = run_fresh(plan, everything).trace;
        trace.expect("it was asked for")
    });
    let same = first
        .lines()
        .zip(second.lines())
        .take_while(|(a, b)| a == b);
    let line = same.count();
    panic!(
        "{scenario} {seed:#x}: line {} is\n  {}\nand then\n  {}",
        line + 1,
        first.lines().nth(line).unwrap_or("(the end)"),
        second.lines().nth(line).unwrap_or("(the end)"),
    );
}

#[test]
fn a_resolved_plan_is_the_same_run() {
    for seed in 1..=3 {
        check("raft-3", seed, None);
        check("raft-5", seed, None);
        check("raft-3", seed, Some("vote-before-durable"));
    }
}
