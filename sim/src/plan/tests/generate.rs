use std::collections::{BTreeMap, BTreeSet};

use super::{SCENARIOS, drawn};
use crate::plan::generate::{STORM, generate_unbounded};
use crate::plan::{Action, Heal, Plan, Side, Step, Target, generate};

#[test]
fn a_drawn_plan_has_faults_within_its_time() {
    let mut names = BTreeSet::new();
    for seed in 0..1000 {
        for scenario in SCENARIOS {
            let drawn = || generate(scenario, seed).unwrap();
            let plan = drawn();
            assert!(!plan.steps.is_empty(), "seed {seed} has no fault");
            assert!(plan.steps.len() < 400, "seed {seed}: {}", plan.steps.len());
            assert!(plan.steps.is_sorted_by_key(|step| step.at_ms));
            assert!(
                plan.steps
                    .iter()
                    .all(|step| step.at_ms < plan.cluster.duration_ms)
            );
            // What is out of bounds would not read back.
            assert_eq!(plan.to_string().parse(), Ok(plan.clone()), "seed {seed}");
            assert_eq!(drawn(), plan, "seed {seed} drawn twice");
            names.extend(plan.steps.iter().map(|step| step.action.name()));
        }
    }
    let all = [
        "add_learner",
        "crash",
        "evict",
        "fail",
        "full",
        "jump",
        "kill",
        "lose_disk",
        "partition",
        "pause",
        "promote",
        "remove",
        "rot",
        "slow",
        "transfer",
        "unreadable",
    ];
    assert_eq!(names, BTreeSet::from(all));
}

#[test]
fn a_drawn_plan_for_one_store_reads_back() {
    let mut names = BTreeSet::new();
    for seed in 0..500 {
        let plan = generate("store", seed).unwrap();
        assert!((30..150).contains(&plan.steps.len()), "seed {seed}");
        assert_eq!(plan.to_string().parse(), Ok(plan.clone()), "seed {seed}");
        assert_eq!(generate("store", seed), Ok(plan.clone()), "seed {seed}");
        names.extend(plan.steps.iter().map(|step| step.action.name()));
    }
    assert_eq!(names.len(), 23, "{names:?}");
}

#[test]
fn drawn_plans_lose_all_power_at_times() {
    let all_at_once = |plan: &Plan| {
        plan.steps.windows(3).any(|steps| {
            let hit = |step: &Step, n: u64| {
                step.at_ms == steps[0].at_ms
                    && matches!(&step.action, Action::Crash { target: Target::Node(id), during: None, .. } if id.0 == n)
            };
            steps.iter().zip(1..).all(|(step, n)| hit(step, n))
        })
    };
    let with = (0..200)
        .filter(|seed| all_at_once(&drawn(false, *seed)))
        .count();
    assert!((50..=150).contains(&with), "{with} of 200 seeds");
}

#[test]
fn disks_go_bad_in_a_minority_only() {
    let mut with = 0;
    for seed in 0..300 {
        for raft_5 in [false, true] {
            let mut victims = BTreeSet::new();
            for step in drawn(raft_5, seed).steps {
                if let Action::Damage { target, .. } = step.action {
                    let Target::Node(id) = target else {
                        panic!("seed {seed}: {target:?} may be anybody");
                    };
                    victims.insert(id);
                }
            }
            assert!(victims.len() <= if raft_5 { 2 } else { 1 }, "seed {seed}");
            with += usize::from(!victims.is_empty());
        }
    }
    assert!((40..=120).contains(&with), "{with} of 600 plans");
}

#[test]
fn a_random_side_is_a_proper_part() {
    for seed in 0..300 {
        for step in drawn(true, seed).steps {
            if let Action::Partition {
                side: Side::Nodes(nodes),
                ..
            } = step.action
            {
                assert!((1..=4).contains(&nodes.len()), "seed {seed}: {nodes:?}");
            }
        }
    }
}

/// A kind that a scenario does not have takes no step, and no draw, of another.
#[test]
fn members_change_where_a_scenario_says_so() {
    let asks = |plan: &Plan| {
        let steps = plan.steps.iter();
        let members =
            |step: &&Step| matches!(step.action, Action::Ask { .. } | Action::LoseDisk { .. });
        steps.filter(members).count()
    };
    let mut with = 0;
    for seed in 0..100 {
        assert_eq!(
            (asks(&drawn(true, seed)), drawn(true, seed).cluster.spares),
            (0, 0)
        );
        let mut plan = generate("membership-5", seed).unwrap();
        assert!((2..=4).contains(&plan.cluster.spares));
        with += usize::from(asks(&plan) > 0);
        plan.cluster.spares = 0;
        assert_eq!(plan.cluster, drawn(true, seed).cluster);
        assert_eq!(plan.net, drawn(true, seed).net);
    }
    assert!(with > 90, "{with} of 100 plans");
}

#[test]
fn a_swarm_draws_everything() {
    let mut sizes = BTreeSet::new();
    let mut heals = BTreeSet::new();
    let (mut drifting, mut narrow, mut flapping, mut rings) = (0, 0, 0, 0);
    for seed in 0..200 {
        let plan = generate("swarm", seed).unwrap();
        sizes.insert(plan.cluster.nodes);
        heals.insert(format!("{:?}", plan.cluster.heal));
        drifting += u32::from(plan.cluster.drift.numerator > 0);
        narrow += u32::from(plan.net.bandwidth > 0);
        let sides = plan.steps.iter().filter_map(|step| match &step.action {
            Action::Partition { side, flap_ms, .. } => Some((side, *flap_ms)),
            _ => None,
        });
        let sides: Vec<_> = sides.collect();
        flapping += u32::from(sides.iter().any(|(_, flap_ms)| *flap_ms > 0));
        let ring = |side: &Side| matches!(side, Side::Ring | Side::Bridge(_));
        rings += u32::from(sides.iter().any(|(side, _)| ring(side)));
    }
    assert_eq!(sizes, (1..=7).collect());
    assert_eq!(heals.len(), 2, "{heals:?}");
    for count in [drifting, narrow, flapping, rings] {
        assert!((10..150).contains(&count), "{count} of 200 seeds");
    }
}

#[test]
fn a_storm_leaves_nothing_out() {
    let mut names = BTreeSet::new();
    for seed in 0..200 {
        let plan = generate(STORM, seed).unwrap();
        names.extend(plan.kinds(&BTreeMap::new()).into_keys());
        let chances = [
            plan.net.loss,
            plan.net.duplicate,
            plan.net.reorder,
            plan.net.corrupt,
        ];
        assert!(
            chances.iter().all(|chance| !chance.is_never()),
            "seed {seed}"
        );
        assert!(!plan.disk.short.is_never() && !plan.disk.stall.is_never());
        let heartbeat_ms = plan.cluster.tick_ms * plan.cluster.heartbeat_ticks;
        assert!((40..=100).contains(&heartbeat_ms), "{heartbeat_ms} ms");
    }
    let all = [
        "crash",
        "disk-short",
        "disk-stall",
        "fail",
        "full",
        "jump",
        "kill",
        "net-corrupt",
        "net-duplicate",
        "net-loss",
        "net-queue",
        "net-reorder",
        "partition",
        "pause",
        "rot",
        "slow",
        "unreadable",
    ];
    assert_eq!(names, BTreeSet::from(all));
}

#[test]
fn without_bounds_plans_harm_disks() {
    let mut harmed = 0;
    for scenario in SCENARIOS {
        for seed in 0..30 {
            let plan = generate_unbounded(scenario, seed).unwrap();
            assert_eq!(plan.cluster.heal, Heal::Nobody);
            let harms = |step: &Step| matches!(step.action, Action::Damage { .. });
            harmed += usize::from(plan.steps.iter().any(harms));
            assert_eq!(plan.to_string().parse(), Ok(plan));
        }
    }
    // In the others it would be the turn of the first after the end.
    assert!(harmed > 120, "{harmed} of 150 plans");
    assert_eq!(generate_unbounded("store", 1), generate("store", 1));
}

#[test]
fn unknown_scenarios_are_named() {
    let error = generate("raft-4", 0).unwrap_err().to_string();
    let expected = "unknown scenario `raft-4`; plans can be drawn for: raft-3, raft-5, \
                    membership-5, swarm, storm-5, store, figure-8";
    assert!(error.starts_with(expected), "{error}");
}

/// Changes when the generator does: then every seed means another plan, and
/// seeds that are written down without their plan are void.
#[test]
fn the_plan_of_seed_42() {
    insta::assert_snapshot!(drawn(false, 42).to_string(), @r"
    plan 1
    scenario raft-3
    seed 0x2a
    cluster election_ticks=10 heartbeat_ticks=2 segment_bytes=16384 chunk_bytes=2048 cache_bytes=512 inflight_max=16 snapshot_every=99 duration_ms=23835
    net latency_us=780..1780 duplicate=16/1000 reorder_us_max=400000
    disk op_us=38..166 sync_us=592..9592 stall_us_max=20000 direct
    workload clients=1 readers=2 keys=1 value_bytes_max=16 reads=5/10 think_ms_max=50
    s1 @1921 fail leader op=sync:log-* nth=4 fault=enospc
    s2 @2341 crash n1 op=* nth=1 point=mid down=121
    s3 @2341 crash n2 op=* nth=4 point=mid down=93
    s4 @2341 crash n3 op=* nth=2 point=after down=125
    s5 @2369 kill n1 down=242
    s6 @2369 crash n1 during=recovery op=write:hardstate nth=1 point=mid down=119
    s7 @2370 partition leader for=1280
    s8 @2370 crash leader during=truncate op=* nth=1 point=before down=449
    s9 @2464 crash n2 during=roll op=* nth=3 point=before down=3559
    s10 @3269 crash n3 op=write:log-* nth=3 point=mid down=341
    s11 @3384 full n1 bytes=512 for=812
    s12 @6371 crash n1 op=* nth=4 point=mid down=163
    s13 @6371 crash n2 op=* nth=1 point=before down=443
    s14 @6371 crash n3 op=* nth=3 point=mid down=318
    s15 @8388 kill n3 down=223
    s16 @8388 crash n3 during=recovery op=unlink nth=3 point=mid down=459
    s17 @10522 crash leader op=write:log-* nth=6 point=before down=127
    s18 @10979 fail leader op=rename nth=1 fault=eio
    s19 @11372 kill n2 down=65
    s20 @11491 crash n2 op=* nth=1 point=after down=463
    s21 @12295 crash n1 op=* nth=2 point=before down=102
    s22 @12295 crash n2 op=* nth=2 point=mid down=552
    s23 @12295 crash n3 op=* nth=1 point=mid down=296
    s24 @12377 crash n2 during=clean op=* nth=1 point=mid down=161
    s25 @13209 partition leader for=1384
    s26 @13209 crash leader during=truncate op=* nth=2 point=mid down=447
    s27 @13995 crash follower.1 op=sync:hardstate nth=2 point=after down=400
    s28 @15627 full n1 bytes=4096 for=3705
    s29 @15966 fail leader op=create nth=2 fault=enospc
    s30 @16898 crash n1 op=* nth=4 point=mid down=295
    s31 @16898 crash n2 op=* nth=2 point=mid down=130
    s32 @16898 crash n3 op=* nth=2 point=mid down=571
    s33 @16983 kill n2 down=185
    s34 @17231 crash n2 op=* nth=3 point=after down=150
    s35 @18108 crash leader op=* nth=8 point=mid down=655
    s36 @19484 partition leader for=1729
    s37 @19484 crash leader during=truncate op=* nth=2 point=before down=3383
    s38 @19564 fail follower.0 op=write nth=7 fault=eio
    s39 @21036 full n2 bytes=0 for=1407
    s40 @21791 crash leader during=snapshot-install op=* nth=3 point=mid down=492
    s41 @21902 kill n2 down=53
    s42 @21902 crash n2 during=recovery op=write:segment-* nth=2 point=mid down=232
    s43 @22338 crash leader op=write:hardstate nth=1 point=after down=769
    s44 @22599 crash n1 op=* nth=0 point=before down=116
    s45 @22599 crash n2 op=* nth=0 point=before down=526
    s46 @22599 crash n3 op=* nth=0 point=before down=64
    ");
}
