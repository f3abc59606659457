//! Failures by rule: the plan fails if it has what the rule asks for.

use std::collections::BTreeSet;

use super::{BROKEN, report, shrunk};
use crate::plan::Plan;
use crate::shrink::{End, Tried, shrink};
use crate::verdict::Verdict;

/// Shrinks `plan`, which fails as long as `fails` says so.
#[track_caller]
fn check(plan: &Plan, fails: impl Fn(&Plan) -> bool, expected: &str) {
    let verdict = |plan: &Plan| if fails(plan) { BROKEN } else { Verdict::Pass };
    let smallest = shrunk(report(plan, verdict(plan)), 10_000, |candidate| {
        report(candidate, verdict(candidate))
    });
    assert_eq!(smallest.end, End::Minimum);
    assert_eq!(smallest.report.resolved.to_string(), expected);
}

fn drawn(scenario: &str, seed: u64) -> Plan {
    crate::plan::generate(scenario, seed).unwrap()
}

fn has(plan: &Plan, ids: &[u32]) -> bool {
    let there: BTreeSet<u32> = plan.steps.iter().map(|step| step.id).collect();
    ids.iter().all(|id| there.contains(id))
}

#[test]
fn nothing_is_left_of_a_plan_that_always_fails() {
    let least = "plan 1\nscenario raft-5\nseed 0x3\n\
                 cluster nodes=1 duration_ms=0\nworkload clients=0\n";
    check(&drawn("raft-5", 3), |_| true, least);
    check(
        &drawn("store", 3),
        |_| true,
        "plan 1\nscenario store\nseed 0x3\n",
    );
}

#[test]
fn the_steps_it_takes_are_left_in_their_simplest_form() {
    let text = "plan 1\nscenario raft-3\nseed 0x1\ncluster segment_bytes=1024\n\
                net loss=1/100\nworkload clients=4 readers=2 keys=7\n\
                s1 @100 kill n1 down=300\n\
                s2 @200 partition n1,n2 one_way for=900\n\
                s3 @300 crash n3 during=append op=write:log-* nth=4 point=after keep=3[0-2]#,5\n\
                s4 @400 evict n2\n\
                s5 @500 slow n2 factor=9 for=800\n";
    check(
        &text.parse().unwrap(),
        |plan| has(plan, &[2, 3]) && plan.workload.clients >= 1,
        "plan 1\nscenario raft-3\nseed 0x1\ncluster nodes=2 duration_ms=0\n\
         workload clients=1\n\
         s2 partition n1 for=0\n\
         s3 crash n2 op=write:log-* nth=0 point=before down=0 keep=none\n",
    );
}

#[test]
fn a_setting_that_it_takes_stays() {
    let text = "plan 1\nscenario raft-3\ncluster segment_bytes=1024 cache_bytes=0\n\
                net loss=1/100 duplicate=2/100\ns1 kill leader\n";
    check(
        &text.parse().unwrap(),
        |plan| plan.net.loss.numerator > 0 && plan.cluster.cache_bytes == 0,
        "plan 1\nscenario raft-3\nseed 0x0\n\
         cluster nodes=1 cache_bytes=0 duration_ms=0\nnet loss=1/100\nworkload clients=0\n",
    );
}

#[test]
fn a_flag_of_a_section_goes_unless_it_takes_it() {
    let plan: Plan = "plan 1\nscenario store\ndisk short=1/9 direct\ns1 check\n"
        .parse()
        .unwrap();
    let least = "plan 1\nscenario store\nseed 0x0\n";
    check(&plan, |_| true, least);
    check(
        &plan,
        |plan| plan.disk.direct,
        &format!("{least}disk direct\n"),
    );
    check(
        &plan,
        |plan| plan.disk.short.numerator > 0,
        &format!("{least}disk short=1/9\n"),
    );
}

#[test]
fn members_that_no_step_names_go_first() {
    let text = "plan 1\nscenario raft-5\ncluster nodes=5\n\
                s1 kill n4\ns2 kill n2\ns3 kill n4\n";
    check(
        &text.parse().unwrap(),
        |plan| has(plan, &[1, 2]) && plan.steps[0].action != plan.steps[1].action,
        "plan 1\nscenario raft-5\nseed 0x0\ncluster nodes=2 duration_ms=0\n\
         workload clients=0\ns1 kill n2 down=0\ns2 kill n1 down=0\n",
    );
}

#[test]
fn what_follows_in_a_log_moves_up() {
    let text = "plan 1\nscenario store\n\
                s1 append 3/1:8 3/2:9 3/3:7\ns2 append 3/4:5\ns3 hard_state term=9\n\
                s4 append 7/5:40 7/6:2\ns5 save upto=5 bytes=100\ns6 truncate from=6\n";
    let reaches = |plan: &Plan| {
        // A log without a gap, from the first index on, that the save is in.
        let mut last = 0;
        plan.steps.iter().any(|step| match &step.action {
            crate::plan::Action::Store(op) => match op {
                crate::plan::StoreOp::Append { entries, .. } => {
                    if entries[0].index.0 <= last + 1 {
                        last = entries.iter().map(|e| e.index.0).max().unwrap_or(0);
                    }
                    false
                }
                crate::plan::StoreOp::Save { upto, .. } => upto.0 <= last,
                _ => false,
            },
            _ => false,
        })
    };
    check(
        &text.parse().unwrap(),
        reaches,
        "plan 1\nscenario store\nseed 0x0\ns4 append 1/1:0\ns5 save upto=1 bytes=0\n",
    );
}

#[test]
fn each_candidate_is_a_smaller_plan_that_reads_and_none_comes_twice_after_it_passed() {
    let plan = drawn("raft-3", 7);
    let fails = |plan: &Plan| has(plan, &[3, 11]);
    let mut passed = BTreeSet::new();
    let failed = report(&plan, BROKEN);
    let smallest = shrunk(failed, 10_000, |candidate| {
        let text = candidate.to_string();
        let read: Plan = text.parse().unwrap();
        assert_eq!(read.to_string(), text);
        assert!(!passed.contains(&text), "again:\n{text}");
        match fails(candidate) {
            true => report(candidate, BROKEN),
            false => {
                passed.insert(text);
                report(candidate, Verdict::Pass)
            }
        }
    });
    assert_eq!(smallest.end, End::Minimum);
    assert_eq!(smallest.report.resolved.steps.len(), 2);
}

#[test]
fn a_budget_and_a_stop_end_it_with_what_was_found() {
    let plan = drawn("raft-3", 7);
    let fails = |plan: &Plan| {
        if has(plan, &[3]) {
            BROKEN
        } else {
            Verdict::Pass
        }
    };
    let mut runs = 0;
    let short = shrunk(report(&plan, BROKEN), 9, |candidate| {
        runs += 1;
        report(candidate, fails(candidate))
    });
    assert_eq!((short.end, short.tried, runs), (End::Budget, 9, 9));
    assert!(short.report.resolved.steps.len() < plan.steps.len());
    assert!(has(&short.report.resolved, &[3]));

    let stopped = shrink(report(&plan, BROKEN), 9, &mut |_| Tried::Stopped);
    assert_eq!((stopped.end, stopped.tried), (End::Stopped, 0));
    assert_eq!(stopped.report.resolved, plan);
}
