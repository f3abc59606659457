//! The process that is killed.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;

use afterimage_engine::fs::OsFs;
use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Batch, Options, SnapshotSource, Store};
use afterimage_engine::threads::{SystemEnv, Threads};
use afterimage_engine::{HardState, Host, Index, Membership, NodeId, SnapshotMeta, Term};

use super::{draw, entry};

pub fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        chunk_bytes: 4096,
        ..Options::default()
    }
}

pub fn host() -> Host {
    Host {
        fs: Arc::new(OsFs),
        env: Arc::new(SystemEnv::unobserved().expect("entropy")),
    }
}

/// The state of the machine that has applied everything up to `index`.
pub fn state(index: u64) -> Vec<u8> {
    vec![index as u8; 9000 + (index % 5000) as usize]
}

struct State(Vec<u8>);

impl SnapshotSource for State {
    fn read(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        let rest = self.0.split_off(max.min(self.0.len()));
        out.append(&mut self.0);
        self.0 = rest;
        !self.0.is_empty()
    }
}

/// One line, in one write: a kill leaves it whole or away.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())
        .and_then(|()| out.flush())
        .expect("the parent reads to the end");
}

/// Works until it is killed. What it is about to replace it says before, what
/// was acknowledged after.
pub fn run(dir: &Path, seed: u64) {
    let (store, report) = Store::open(host(), dir, options()).run().expect("it opens");
    say(&format!("open {}", report.last_index));
    let threads = Arc::new(Threads::start(store).expect("threads"));
    // Several batches are on their way at a time: another thread waits.
    let (waiting, queue) = mpsc::sync_channel::<(u64, Vec<String>)>(16);
    let waiter = threads.clone();
    let waits = std::thread::Builder::new().spawn(move || {
        for (ticket, lines) in queue {
            waiter.wait(ticket).expect("the disk is well");
            lines.iter().for_each(|line| say(line));
        }
    });
    let mut term = report.hard_state.term.0.max(1);
    let mut next = report.last_index.0 + 1;
    // Of batches that nobody waits for, until one comes that is waited for.
    let mut left: Vec<String> = Vec::new();
    for step in 0.. {
        let roll = draw((seed << 32) | step);
        let snapshot = threads.store().snapshot().map_or(0, |s| s.last_index.0);
        let from = next.saturating_sub((roll >> 40) % 5);
        if roll.is_multiple_of(11) && from < next && from > snapshot + 1 {
            // A new leader replaces the end of the log.
            term += 1;
            next = from;
            say(&format!("replace {next} {term}"));
        }
        if roll.is_multiple_of(37) && next > snapshot + 60 {
            save(&threads, next - 40);
        }
        let count = 1 + (roll >> 8) % 8;
        let hard_state = HardState {
            term: Term(term),
            vote: Some(NodeId(term % 3)),
        };
        let hard_state = (threads.store().hard_state() != hard_state).then_some(hard_state);
        let entries = (next..next + count).map(|i| entry(term, i)).collect();
        let line = format!("ack {next} {term} {count}");
        next += count;
        // In every other life, for some segments at a time.
        if seed.is_multiple_of(2) && hard_state.is_none() && !(roll >> 48).is_multiple_of(200) {
            threads.append_unsynced(entries).expect("the disk is well");
            left.push(line);
            continue;
        }
        let batch = Batch {
            hard_state,
            entries,
        };
        let ticket = threads.append(batch).expect("the disk is well");
        left.push(line);
        let lines = std::mem::take(&mut left);
        if waiting.send((ticket, lines)).is_err() {
            break; // the other thread panicked
        }
    }
    waits.expect("a thread").join().expect("the disk is well");
}

fn save(threads: &Threads, upto: u64) {
    let store = threads.store();
    if store.durable_index() < Index(upto) || store.first_index() > Index(upto) {
        return;
    }
    let meta = SnapshotMeta {
        last_index: Index(upto),
        last_term: store.term(Index(upto)).expect("it is in the log"),
        membership: Membership {
            voters: vec![NodeId(0), NodeId(1), NodeId(2)],
            learners: Vec::new(),
        },
    };
    let saved = threads.save_snapshot(meta, Box::new(State(state(upto))));
    if saved.expect("the disk is well") {
        say(&format!("snapshot {upto}"));
    }
}
