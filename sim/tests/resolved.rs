//! The plan that a run writes back replays it: nothing is left to chance.
#![cfg(madsim)]

use afterimage_sim::plan::{Action, Plan, generate};
use afterimage_sim::run::{RunOptions, run_fresh};

/// The steps of the plan that cut somebody's power.
fn cuts(plan: &Plan) -> usize {
    let fates = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Crash { keep, .. } => keep.as_ref(),
        _ => None,
    });
    fates.count()
}

#[test]
fn a_resolved_plan_has_the_fates_of_every_power_cut_and_replays_alike() {
    let mut crashes = 0;
    for seed in 0..12 {
        let plan = generate("raft-3", seed).unwrap();
        let first = run_fresh(&plan, RunOptions::default());
        crashes += first.crashes;
        assert_eq!(
            cuts(&first.resolved) as u64,
            first.crashes,
            "seed {seed}: a power cut without a step, or a step whose fates are unknown"
        );
        let text = first.resolved.to_string();
        let again = run_fresh(&text.parse().unwrap(), RunOptions::default());
        assert_eq!(again.digest, first.digest, "seed {seed} drifts");
        assert_eq!(again.resolved.to_string(), text, "seed {seed}");
    }
    assert!(crashes > 30, "{crashes}");
}
