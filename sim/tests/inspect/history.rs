//! Stores with a past: appends, truncations, snapshots, installs, kills, and a
//! power cut at the end of it, anywhere.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Batch, Options, Report, SnapshotSource, Store, Writer};
use afterimage_engine::{
    Entry, EntryKind, Env, Event, HardState, Host, Index, Membership, NodeId, Result, SnapshotMeta,
    Step, Term,
};
use afterimage_sim::disk::{CrashPoint, CrashTrigger, Fates, SimFs};
use afterimage_sim::rng::SimRng;

pub const DIR: &str = "/raft";

/// Numbers one after the other for entropy; nobody watches.
#[derive(Default)]
pub struct Counting(pub AtomicU64);

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

pub fn options(segment_bytes: u64) -> Options {
    Options {
        segment_bytes,
        chunk_bytes: 512,
        commit_hint_every: 2,
        ..Options::default()
    }
}

/// `salt` keeps the entropy of one open apart from that of another.
pub fn open_store(disk: &SimFs, salt: u64) -> Result<(Store, Report)> {
    let host = Host {
        fs: disk.boot(),
        env: Arc::new(Counting(salt.into())),
    };
    Store::open(host, Path::new(DIR), options(1500)).run()
}

/// The entry that stands at this place of any history: content follows from it.
pub fn entry(term: u64, index: u64) -> Entry {
    let len = (index * 37 + term * 11) % 150;
    let data = [term as u8, index as u8].repeat(len as usize);
    Entry {
        index: Index(index),
        term: Term(term),
        kind: EntryKind::Command,
        timestamp_ms: 7,
        data: data.into(),
    }
}

struct Bytes(Vec<u8>);

impl SnapshotSource for Bytes {
    fn read(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        let rest = self.0.split_off(max.min(self.0.len()));
        out.append(&mut self.0);
        self.0 = rest;
        !self.0.is_empty()
    }
}

fn meta(term: u64, last: u64) -> SnapshotMeta {
    SnapshotMeta {
        last_index: Index(last),
        last_term: Term(term),
        membership: Membership {
            voters: vec![NodeId(1), NodeId(2)],
            learners: vec![NodeId(3)],
        },
    }
}

/// A disk after a history that this seed drew, and after a power cut or a kill.
pub fn crashed(seed: u64) -> SimFs {
    let mut rng = SimRng::new(seed, "history");
    let disk = SimFs::new(seed);
    let lives = rng.between(1, 3);
    for life in 0..lives {
        if rng.below(4) > 0 {
            // A tail is torn between a write and its sync.
            let (pattern, most) = *rng.pick(&[("*", 150), ("sync:log-*", 15), ("write:log-*", 15)]);
            disk.arm_crash(CrashTrigger {
                pattern: pattern.parse().expect("a pattern"),
                nth: rng.between(1, most),
                point: *rng.pick(&CrashPoint::ALL),
            });
        }
        // It fails when the power goes.
        if let Ok((store, report)) = open_store(&disk, (seed << 20) + (life << 16)) {
            let _ = live(&store, report.commit_hint.0, &mut rng);
        }
        match disk.crash_fired() || rng.below(3) > 0 {
            true => drop(disk.power_cut(&Fates::Random(rng.next_u64()))),
            false => disk.kill(),
        }
        disk.disarm_crash();
    }
    disk
}

/// `committed`: up to there nothing is replaced any more.
fn live(store: &Store, mut committed: u64, rng: &mut SimRng) -> Result<()> {
    let mut writer = store.writer();
    let mut cleaner = store.cleaner();
    let mut preparer = store.preparer();
    let mut hinter = store.hinter();
    let mut term = store.hard_state().term.0.max(1);
    // Of ten appends in a life, so many are not synced.
    let unsynced = *rng.pick(&[0, 0, 7, 10]);
    for _ in 0..rng.between(1, 25) {
        let (first, last) = (store.first_index().0, store.last_index().0);
        let snapshot = store.snapshot().map_or(0, |s| s.last_index.0);
        committed = committed.max(snapshot).max(last.saturating_sub(4));
        store.hint_commit(Index(committed));
        while hinter.step()? == Step::Ran {}
        match rng.below(12) {
            0..6 if rng.below(10) < unsynced => {
                let entries = entries(store, last + 1, rng.between(1, 6), term);
                store.submit_unsynced(entries)?;
            }
            0..6 => append(store, last + 1, rng.between(1, 6), term)?,
            6 | 7 if last > committed => {
                term += 1;
                let from = rng.between(committed + 1, last);
                match rng.below(3) {
                    0 => drop(store.truncate_suffix(Index(from))?),
                    _ => append(store, from, rng.between(1, 4), term)?,
                }
            }
            8 => {
                term += 1;
                store.submit(Batch {
                    hard_state: Some(HardState {
                        term: Term(term),
                        vote: Some(NodeId(term % 3)),
                    }),
                    entries: Vec::new(),
                })?;
            }
            9 if last > snapshot && last >= first => {
                drain(&mut writer)?;
                let upto = rng.between(first.max(snapshot + 1), last);
                let of = store.term(Index(upto))?.0;
                let data = vec![upto as u8; rng.below(2000) as usize];
                store
                    .save_snapshot(meta(of, upto), Box::new(Bytes(data)))
                    .run()?;
            }
            10 => {
                drain(&mut writer)?;
                let upto = (last + rng.below(5)).max(1);
                let mut install = store.install(meta(term, upto));
                install.push(0, vec![upto as u8; rng.below(2000) as usize], true);
                while install.outcome().is_none() {
                    // It waits for a sync at times.
                    drain(&mut writer)?;
                    install.step()?;
                }
            }
            11 => while cleaner.step()? == Step::Ran {},
            _ => while preparer.step()? == Step::Ran {},
        }
        drain(&mut writer)?;
    }
    Ok(())
}

fn append(store: &Store, from: u64, count: u64, term: u64) -> Result<()> {
    store.submit(Batch {
        hard_state: None,
        entries: entries(store, from, count, term),
    })?;
    Ok(())
}

fn entries(store: &Store, from: u64, count: u64, term: u64) -> Vec<Entry> {
    let before = store.term(Index(from - 1)).map_or(term, |before| before.0);
    let term = term.max(before);
    (from..from + count).map(|i| entry(term, i)).collect()
}

fn drain(writer: &mut Writer) -> Result<()> {
    while writer.step()? == Step::Ran {}
    Ok(())
}
