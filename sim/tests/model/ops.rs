//! What is done to the store, drawn by proptest. Numbers are relative to what
//! the store holds at that moment, so that every sequence makes sense and any
//! part of it can be left out.

use afterimage_engine::store::Options;
use afterimage_sim::disk::{CrashPoint, FaultKind, OpKind};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Sizes of one case.
#[derive(Debug, Clone)]
pub struct Setup {
    pub seed: u64,
    segment_bytes: u64,
    cache_bytes: usize,
    chunk_bytes: usize,
}

impl Setup {
    pub fn options(&self) -> Options {
        Options {
            segment_bytes: self.segment_bytes,
            cache_bytes: self.cache_bytes,
            chunk_bytes: self.chunk_bytes,
            ..Options::default()
        }
    }
}

pub fn setup() -> impl Strategy<Value = Setup> {
    (
        any::<u64>(),
        select(vec![1024, 2048, 8192]),
        select(vec![0, 1000, 100_000]),
        select(vec![128, 1024]),
    )
        .prop_map(|(seed, segment_bytes, cache_bytes, chunk_bytes)| Setup {
            seed,
            segment_bytes,
            cache_bytes,
            chunk_bytes,
        })
}

/// A power cut at the `nth` file operation from now.
#[derive(Debug, Clone)]
pub struct Cut {
    pub nth: u64,
    pub point: CrashPoint,
    pub fates: u64,
}

#[derive(Debug, Clone)]
pub enum Op {
    /// A batch that replaces the last `depth` entries, if it may.
    Append {
        depth: u64,
        sizes: Vec<usize>,
    },
    Truncate {
        depth: u64,
    },
    HardState {
        later: u64,
        vote: u64,
    },
    /// Of the state `back` entries before the durable end.
    Save {
        back: u64,
        bytes: usize,
    },
    /// Of a snapshot so far before (or behind) the end of the log.
    Install {
        offset: i64,
        agrees: bool,
        bytes: usize,
    },
    /// Some steps, each of a task that `order` chooses.
    Run {
        steps: u32,
        order: u64,
    },
    /// All steps of all tasks, in such an order.
    Drain {
        order: u64,
    },
    Cut(Cut),
    /// The process dies; its next opens are cut off so.
    Kill {
        recovery: Vec<Cut>,
    },
    /// The next recoveries are cut off.
    CutRecovery(Cut),
    Fail {
        kind: OpKind,
        nth: u64,
        fault: FaultKind,
    },
    Full {
        bytes: u64,
    },
    Space,
    Evict,
    Check,
}

fn cut() -> impl Strategy<Value = Cut> {
    let point = select(vec![CrashPoint::Before, CrashPoint::Mid, CrashPoint::After]);
    (1u64..12, point, any::<u64>()).prop_map(|(nth, point, fates)| Cut { nth, point, fates })
}

pub fn op() -> impl Strategy<Value = Op> {
    let depth = prop_oneof![3 => Just(0u64), 1 => 1u64..6];
    let size = select(vec![0usize, 8, 100, 464, 700, 2000]);
    let fault = prop_oneof![
        (
            select(vec![OpKind::Sync, OpKind::SyncDir]),
            select(vec![FaultKind::Eio, FaultKind::Enospc])
        ),
        (
            select(vec![
                OpKind::Write,
                OpKind::Create,
                OpKind::Rename,
                OpKind::Unlink
            ]),
            select(vec![FaultKind::Eio, FaultKind::Enospc])
        ),
        (
            select(vec![OpKind::Read, OpKind::Write]),
            Just(FaultKind::Short)
        ),
        (Just(OpKind::Read), Just(FaultKind::Eio)),
    ];
    prop_oneof![
        10 => (depth, vec(size, 1..4)).prop_map(|(depth, sizes)| Op::Append { depth, sizes }),
        1 => (1u64..8).prop_map(|depth| Op::Truncate { depth }),
        2 => (0u64..3, 1u64..4).prop_map(|(later, vote)| Op::HardState { later, vote }),
        3 => (0u64..5, select(vec![0usize, 100, 1500])).prop_map(|(back, bytes)| Op::Save { back, bytes }),
        2 => (-4i64..5, any::<bool>(), select(vec![0usize, 100, 1500]))
            .prop_map(|(offset, agrees, bytes)| Op::Install { offset, agrees, bytes }),
        10 => (1u32..25, any::<u64>()).prop_map(|(steps, order)| Op::Run { steps, order }),
        4 => any::<u64>().prop_map(|order| Op::Drain { order }),
        5 => cut().prop_map(Op::Cut),
        2 => vec(cut(), 0..3).prop_map(|recovery| Op::Kill { recovery }),
        1 => cut().prop_map(Op::CutRecovery),
        2 => (fault, 1u64..6).prop_map(|((kind, fault), nth)| Op::Fail { kind, nth, fault }),
        1 => select(vec![0u64, 512, 4096]).prop_map(|bytes| Op::Full { bytes }),
        1 => Just(Op::Space),
        1 => Just(Op::Evict),
        2 => Just(Op::Check),
    ]
}
