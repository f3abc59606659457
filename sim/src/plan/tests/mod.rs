//! Plans to test with: drawn, for one store, and damaged.

mod generate;
mod seed_file;
mod text;

use afterimage_engine::{Index, NodeId, Term};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample;

use super::{Action, Plan, Step, StoreEntry, StoreOp, generate as generate_plan};
use crate::disk::{
    CrashPoint, CrashTrigger, Damage, DamageKind, FailTrigger, FaultKind, Keep, Pattern,
};
use crate::stories::STORIES;

const SCENARIOS: [&str; 5] = ["raft-3", "raft-5", "membership-5", "swarm", "storm-5"];

fn drawn(raft_5: bool, seed: u64) -> Plan {
    generate_plan(SCENARIOS[usize::from(raft_5)], seed).unwrap()
}

fn pattern() -> impl Strategy<Value = Pattern> {
    sample::select(vec![
        "*",
        "write",
        "sync:log-*",
        "rename:snapshot",
        "sync_dir",
    ])
    .prop_map(|text| text.parse().unwrap())
}

fn keep() -> impl Strategy<Value = Option<Keep>> {
    option::of(Just(Keep::default()))
}

fn store_op() -> impl Strategy<Value = StoreOp> {
    let position = 1u64..1000;
    let bytes = 0u64..5000;
    let point = sample::select(vec![CrashPoint::Before, CrashPoint::Mid, CrashPoint::After]);
    let fault = sample::select(FaultKind::ALL.to_vec());
    let entries =
        (position.clone(), vec((0u64..3, bytes.clone()), 1..6)).prop_map(|(first, entries)| {
            let mut term = 1;
            let entry = |(index, (later, bytes)): (u64, (u64, u64))| {
                term += later;
                StoreEntry {
                    term: Term(term),
                    index: Index(index),
                    bytes,
                }
            };
            (first..).zip(entries).map(entry).collect()
        });
    prop_oneof![
        (entries, any::<bool>())
            .prop_map(|(entries, unsynced)| StoreOp::Append { entries, unsynced }),
        position
            .clone()
            .prop_map(|from| StoreOp::Truncate { from: Index(from) }),
        (position.clone(), option::of(1u64..=7)).prop_map(|(term, vote)| StoreOp::HardState {
            term: Term(term),
            vote: vote.map(NodeId),
        }),
        (position.clone(), bytes.clone(), any::<bool>()).prop_map(|(upto, bytes, background)| {
            StoreOp::Save {
                upto: Index(upto),
                bytes,
                background,
            }
        }),
        (position.clone(), position, bytes.clone(), any::<bool>()).prop_map(
            |(last, term, bytes, background)| StoreOp::Install {
                last: Index(last),
                term: Term(term),
                bytes,
                background,
            }
        ),
        any::<bool>().prop_map(|background| StoreOp::Clean { background }),
        any::<bool>().prop_map(|background| StoreOp::Prepare { background }),
        (pattern(), 1u64..50, point, keep()).prop_map(|(pattern, nth, point, keep)| {
            let trigger = CrashTrigger {
                pattern,
                nth,
                point,
            };
            StoreOp::Crash { trigger, keep }
        }),
        keep().prop_map(|keep| StoreOp::Cut { keep }),
        (pattern(), 1u64..50).prop_map(|(pattern, nth)| StoreOp::KillAt { pattern, nth }),
        (pattern(), 1u64..50, fault).prop_map(|(pattern, nth, fault)| {
            StoreOp::Fail(FailTrigger {
                pattern,
                nth,
                fault,
            })
        }),
        bytes.prop_map(|bytes| StoreOp::Full { bytes }),
        damage().prop_map(StoreOp::Damage),
        sample::select(vec![
            StoreOp::Sync,
            StoreOp::Wait,
            StoreOp::Kill,
            StoreOp::Restart,
            StoreOp::Space,
            StoreOp::Heal,
            StoreOp::Evict,
            StoreOp::Check,
        ]),
    ]
}

fn damage() -> impl Strategy<Value = Damage> {
    let file = sample::select(vec!["*", "log-*", "hardstate", "raft/snapshot"]);
    let kind = sample::select(DamageKind::ALL.to_vec());
    (
        kind,
        file,
        option::of(any::<u32>()),
        option::of(any::<u32>()),
    )
        .prop_map(|(kind, file, sector, bit)| Damage {
            kind,
            file: file.to_owned(),
            sector,
            bit: bit.filter(|_| kind == DamageKind::Rot),
        })
}

fn store_plan() -> impl Strategy<Value = Plan> {
    (any::<u64>(), vec(store_op(), 0..20)).prop_map(|(seed, ops)| {
        let mut plan: Plan = "plan 1\nscenario store".parse().unwrap();
        plan.seed = seed;
        plan.cluster.segment_bytes = 1024 + seed % 5000;
        let step = |(id, op)| Step {
            id,
            at_ms: 0,
            action: Action::Store(op),
        };
        plan.steps = (3..).zip(ops).map(step).collect();
        plan
    })
}

fn plan() -> impl Strategy<Value = Plan> {
    prop_oneof![
        (sample::select(SCENARIOS.to_vec()), any::<u64>())
            .prop_map(|(scenario, seed)| generate_plan(scenario, seed).unwrap()),
        store_plan(),
        (sample::select(STORIES.to_vec()), any::<u64>())
            .prop_map(|(story, seed)| generate_plan(story.name, seed).unwrap()),
    ]
}

/// One edit of a text: at a place, some characters become others.
fn edit() -> impl Strategy<Value = (sample::Index, usize, String)> {
    let piece = prop_oneof![
        Just(String::new()),
        "[ -~\n]{1,3}",
        "\\PC{1,3}",
        Just("\n".to_string()),
        Just("#".to_string()),
        Just(" keep=".to_string()),
        Just("99999999999999999999".to_string()),
        Just("0/0".to_string()),
    ];
    (any::<sample::Index>(), 0usize..4, piece)
}

fn apply(text: &str, edits: &[(sample::Index, usize, String)]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for (at, len, piece) in edits {
        let start = at.index(chars.len() + 1);
        let end = (start + len).min(chars.len());
        chars.splice(start..end, piece.chars());
    }
    chars.into_iter().collect()
}
