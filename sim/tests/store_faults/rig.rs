//! One store on a simulated disk, and what it has promised.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Batch, Install, Options, Report, SnapshotSource, Store, Writer};
use afterimage_engine::{
    Entry, EntryKind, Env, Error, Event, HardState, Host, Index, Job, Membership, NodeId,
    SnapshotMeta, Step, Term,
};
use afterimage_sim::disk::{FailTrigger, Fates, FaultKind, SimFs};

/// Numbers one after the other for entropy; nobody watches.
#[derive(Default)]
struct Counting(AtomicU64);

impl Env for Counting {
    fn now_ms(&self) -> i64 {
        0
    }
    fn random(&self) -> u64 {
        let n = self.0.fetch_add(1, Ordering::Relaxed);
        n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
    fn observe(&self, _: Event) {}
}

pub struct Rig {
    pub disk: SimFs,
    pub options: Options,
    env: Arc<Counting>,
}

impl Rig {
    pub fn new() -> Self {
        Rig::with(Options::default())
    }

    /// With small segments and chunks, whatever the options say of them.
    pub fn with(options: Options) -> Self {
        Rig {
            disk: SimFs::new(7),
            options: Options {
                segment_bytes: 2048,
                chunk_bytes: 512,
                ..options
            },
            env: Arc::default(),
        }
    }

    /// The same, on a copy of the disk.
    pub fn fork(&self) -> Self {
        Rig {
            disk: self.disk.fork(),
            options: self.options.clone(),
            env: Arc::new(Counting(self.env.0.load(Ordering::Relaxed).into())),
        }
    }

    pub fn open(&self) -> Result<Store, Error> {
        let (store, _) = self.opening().run()?;
        Ok(store)
    }

    /// The open, to be done step by step.
    pub fn opening(&self) -> Job<Result<(Store, Report), Error>> {
        let host = Host {
            fs: self.disk.boot(),
            env: self.env.clone(),
        };
        Store::open(host, Path::new("/raft"), self.options.clone())
    }

    /// The `nth` operation that matches from now on fails.
    pub fn fail(&self, pattern: &str, nth: u64, fault: FaultKind) {
        self.disk.arm_fail(FailTrigger {
            pattern: pattern.parse().unwrap(),
            nth,
            fault,
        });
    }

    /// The power goes, and nothing of what is pending survives.
    pub fn cut(&self) {
        self.disk.power_cut(&Fates::Lose);
    }

    /// The process dies after a fault; where the filesystem went read-only, the
    /// machine has to be started again.
    pub fn die(&self, evicts: bool) {
        self.disk.kill();
        if evicts {
            self.disk.evict();
        }
        if self.disk.is_read_only() {
            self.cut();
        }
    }
}

/// The faults that an operation reports.
pub fn told_faults() -> impl Iterator<Item = FaultKind> {
    let all = FaultKind::ALL.into_iter();
    all.filter(|fault| !fault.is_latent())
}

pub fn entry(term: u64, index: u64) -> Entry {
    Entry {
        index: Index(index),
        term: Term(term),
        kind: EntryKind::Command,
        timestamp_ms: 0,
        data: vec![index as u8; 100].into(),
    }
}

pub fn submit(store: &Store, entries: &[(u64, u64)]) -> Result<u64, Error> {
    store.submit(Batch {
        hard_state: None,
        entries: entries.iter().map(|&(t, i)| entry(t, i)).collect(),
    })
}

/// Until there is nothing to do; `true` if it waits for space.
pub fn drain(writer: &mut Writer) -> Result<bool, Error> {
    loop {
        match writer.step()? {
            Step::Ran => {}
            Step::Idle => return Ok(false),
            Step::Stalled => return Ok(true),
        }
    }
}

/// Terms of the whole log.
pub fn terms(store: &Store) -> Vec<u64> {
    let range = store.first_index().0..=store.last_index().0;
    range.map(|i| store.term(Index(i)).unwrap().0).collect()
}

pub fn vote(term: u64, node: u64) -> HardState {
    HardState {
        term: Term(term),
        vote: Some(NodeId(node)),
    }
}

pub fn meta(term: u64, last: u64) -> SnapshotMeta {
    SnapshotMeta {
        last_index: Index(last),
        last_term: Term(term),
        membership: Membership {
            voters: vec![NodeId(1)],
            learners: Vec::new(),
        },
    }
}

/// All of a snapshot, handed over.
pub fn install(store: &Store, term: u64, last: u64) -> Install {
    let mut install = store.install(meta(term, last));
    assert!(install.push(0, vec![5; 1500], true));
    install
}

/// A state of so many pieces, which make a few chunks.
pub struct Bytes(pub u32);

impl SnapshotSource for Bytes {
    fn read(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        out.resize(out.len() + max.min(300), 9);
        self.0 -= 1;
        self.0 > 0
    }
}

/// What a store has promised.
#[derive(Clone, Debug, Default)]
pub struct Acked {
    /// Terms by index, from 1 on; 0 where nothing is promised.
    terms: Vec<u64>,
    snapshot: u64,
    hard_state: HardState,
    /// One that was asked for behind it: either may be found.
    asked: Option<HardState>,
}

impl Acked {
    pub fn replace_from(&mut self, index: u64) {
        self.terms.truncate(index as usize - 1);
    }

    pub fn log_is(&mut self, store: &Store) {
        assert_eq!(store.durable_index(), store.last_index());
        self.terms.resize(store.last_index().0 as usize, 0);
        for i in store.first_index().0..=store.last_index().0 {
            self.terms[i as usize - 1] = store.term(Index(i)).unwrap().0;
        }
    }

    pub fn snapshot_is(&mut self, last: u64) {
        self.snapshot = last;
    }

    pub fn asks(&mut self, hard_state: HardState) {
        self.asked = Some(hard_state);
    }

    pub fn hard_state_is(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
        self.asked = None;
    }

    pub fn check(&self, store: &Store, what: &str) {
        let snapshot = store.snapshot().map_or(0, |s| s.last_index.0);
        assert!(
            snapshot >= self.snapshot,
            "{what}: snapshot {snapshot}, {self:?}"
        );
        for (i, &term) in (1..).zip(&self.terms) {
            if i > snapshot && term != 0 {
                let found = store.term(Index(i)).map(|t| t.0).ok();
                assert_eq!(found, Some(term), "{what}: {i} of {self:?}");
            }
        }
        let hard_state = store.hard_state();
        assert!(
            hard_state == self.hard_state || Some(hard_state) == self.asked,
            "{what}: {hard_state:?}, {self:?}"
        );
        check_reads(store, what);
    }
}

/// All of a store can be read.
fn check_reads(store: &Store, what: &str) {
    let mut next = store.first_index();
    while next <= store.last_index() {
        for found in store.entries(next, 1000).unwrap() {
            assert_eq!(found.index, next, "{what}");
            assert_eq!(found, entry(found.term.0, next.0), "{what}");
            next = next.next();
        }
    }
    if let Some(reader) = store.open_snapshot().unwrap() {
        let mut bytes = BTreeSet::<u8>::new();
        let mut at = 0;
        while at < reader.data_len() {
            let piece = reader.read(at).unwrap();
            bytes.extend(&piece);
            at += piece.len() as u64;
        }
        // Nothing is mixed up: a saved one has nines, an installed one fives.
        assert_eq!(bytes.len(), 1, "{what}: {bytes:?}");
    }
}

/// Whatever a store has been through: it goes on, and keeps what it takes.
pub fn check_works(rig: &Rig, store: Store, acked: &Acked, what: &str) {
    let mut acked = acked.clone();
    acked.check(&store, what);
    let mut writer = store.writer();
    let mut hinter = store.hinter();
    // Enough to roll.
    for _ in 0..2 {
        let next = store.last_index().0 + 1;
        let entries: Vec<_> = (next..next + 8).map(|i| (90, i)).collect();
        submit(&store, &entries).unwrap();
        assert!(!drain(&mut writer).unwrap(), "{what}: stalls");
        store.hint_commit(store.durable_index());
        while hinter.has_work() {
            assert_eq!(hinter.step().unwrap(), Step::Ran, "{what}");
        }
    }
    let voted = vote(99, 2);
    store
        .submit(Batch {
            hard_state: Some(voted),
            entries: Vec::new(),
        })
        .unwrap();
    assert!(!drain(&mut writer).unwrap(), "{what}: stalls");
    acked.hard_state_is(voted);
    acked.log_is(&store);
    let last = store.last_index().0 - 3;
    let save = store.save_snapshot(meta(90, last), Box::new(Bytes(5)));
    assert!(save.run().unwrap(), "{what}");
    acked.snapshot_is(last);
    let mut cleaner = store.cleaner();
    while cleaner.has_work() {
        cleaner.step().unwrap();
    }
    // Nothing is left lying about: not even what an open before left.
    let live = store.status().segments;
    let is_kept = |name: &&String| !name.ends_with(".seg");
    let files = rig.disk.cached_files();
    let others: Vec<_> = files.keys().filter(is_kept).collect();
    let expected = [
        "raft/LOCK",
        "raft/commit",
        "raft/hardstate",
        "raft/snapshot",
    ];
    let expected: Vec<_> = (expected.iter())
        .filter(|name| rig.options.commit_hint_every > 0 || **name != "raft/commit")
        .collect();
    assert_eq!(others, expected, "{what}");
    assert_eq!(files.len() - others.len(), live, "{what}");
    acked.log_is(&store);
    drop((store, writer, hinter, cleaner));
    for fates in [Fates::Lose, Fates::Random(1)] {
        let after = rig.fork();
        after.disk.power_cut(&fates);
        let store = after
            .open()
            .unwrap_or_else(|e| panic!("{what}, {fates:?}: {e}"));
        acked.check(&store, &format!("{what}, {fates:?}"));
    }
}
