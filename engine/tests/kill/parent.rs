//! The process that kills and judges.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use afterimage_engine::fs::OsReadOnly;
use afterimage_engine::inspect::{Effect, Inspector};
use afterimage_engine::raft::LogView;
use afterimage_engine::store::Store;
use afterimage_engine::{Error, Index};

use super::child::{host, options, state};
use super::{draw, entry};

/// What was promised so far, by all children.
#[derive(Default)]
struct Promises {
    /// Terms by index.
    entries: BTreeMap<u64, u64>,
    /// Replacements of this life: from this index on, by this term. What is
    /// acknowledged afterwards of an older term was on its way before.
    replaced: Vec<(u64, u64)>,
    snapshot: u64,
    /// The hard state of this term was written before entries of it.
    term: u64,
}

impl Promises {
    /// What a child said. Returns how many entries it acknowledged.
    fn take(&mut self, line: &str) -> u64 {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().expect(line);
        match words[0] {
            "open" => {
                self.replaced.clear();
                0
            }
            "replace" => {
                self.entries.split_off(&number(1));
                self.replaced.push((number(1), number(2)));
                0
            }
            "snapshot" => {
                self.snapshot = self.snapshot.max(number(1));
                0
            }
            "ack" => {
                let (from, term, count) = (number(1), number(2), number(3));
                let gone = |index| self.replaced.iter().any(|&(k, t)| k <= index && term < t);
                let kept = (from..from + count).take_while(|&index| !gone(index));
                self.entries.extend(kept.map(|index| (index, term)));
                self.term = self.term.max(term);
                count
            }
            _ => panic!("the child says {line:?}"),
        }
    }
}

pub fn run(rounds: u64) {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path().join("log");
    let mut promises = Promises::default();
    let mut acknowledged = 0;
    for round in 0..rounds {
        acknowledged += one_life(&dir, round, &mut promises);
        judge(&dir, round, &promises);
    }
    assert!(
        acknowledged > rounds * 10,
        "{acknowledged} in {rounds} rounds"
    );
    println!("{rounds} kills, {acknowledged} entries acknowledged, none lost");
}

/// Starts a child, and kills it once it has said so many bytes.
fn one_life(dir: &Path, round: u64, promises: &mut Promises) -> u64 {
    // Between the open and some hundreds of acknowledgements; every fourth one
    // dies young.
    let most = if round.is_multiple_of(4) { 40 } else { 6000 };
    let deadline = draw(round) % most;
    let exe = std::env::current_exe().expect("this program");
    let mut child = Command::new(exe)
        .args(["child".as_ref(), dir.as_os_str()])
        .arg(round.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let pid = child.id();
    let mut said = BufReader::new(child.stdout.take().expect("piped"));
    let (mut heard, mut acknowledged, mut killed) = (0, 0, false);
    let mut line = String::new();
    loop {
        if !killed && heard >= deadline {
            if heard > 0 {
                is_refused(dir, pid);
            }
            child.kill().expect("SIGKILL");
            killed = true;
        }
        line.clear();
        // What it said before it died counts, whenever it is heard.
        let n = said.read_line(&mut line).expect("text");
        if n == 0 {
            break;
        }
        let whole = line.strip_suffix('\n').expect("a line is one write");
        acknowledged += promises.take(whole);
        heard += n as u64;
    }
    let status = child.wait().expect("it was ours");
    assert!(killed, "round {round}: the child ended by itself: {status}");
    acknowledged
}

/// While the child lives, nobody else gets in; and it is named.
fn is_refused(dir: &Path, pid: u32) {
    let holder = format!("process {pid}");
    match Store::open(host(), dir, options()).run() {
        Err(Error::Locked { holder: found, .. }) => assert_eq!(found, holder),
        other => panic!("opened, or not for the lock: {other:?}"),
    }
    match Inspector::open(Arc::new(OsReadOnly), dir) {
        Err(Error::Locked { holder: found, .. }) => assert_eq!(found, holder),
        other => panic!("opened, or not for the lock: {other:?}"),
    }
}

fn judge(dir: &Path, round: u64, promises: &Promises) {
    if !dir.join("hardstate").exists() {
        assert!(promises.entries.is_empty(), "round {round}: all is gone");
        return;
    }
    let inspector = Inspector::open(Arc::new(OsReadOnly), dir)
        .unwrap_or_else(|e| panic!("round {round}: the dead hold no lock: {e}"));
    let verified = inspector.verify().expect("the disk is well");
    let heals = verified.problems.iter().all(|p| p.effect == Effect::Heals);
    assert!(heals, "round {round}: {verified:#?}");
    drop(inspector);

    let opened = Store::open(host(), dir, options()).run();
    let (store, report) = opened.unwrap_or_else(|e| panic!("round {round}: {e}"));
    let said = verified.opens.expect("as verified");
    assert_eq!(said.last_index, report.last_index, "round {round}");
    let snapshot = store.snapshot().map_or(0, |s| s.last_index.0);
    assert!(snapshot >= promises.snapshot, "round {round}: {snapshot}");
    assert!(report.hard_state.term.0 >= promises.term, "round {round}");
    check_log(&store, round, snapshot, promises);
    check_snapshot(&store, snapshot);
}

fn check_log(store: &Store, round: u64, snapshot: u64, promises: &Promises) {
    let mut terms = BTreeMap::new();
    let mut next = store.first_index();
    while next <= store.last_index() {
        for found in store.entries(next, 1 << 20).expect("every record is right") {
            let (term, index) = (found.term.0, found.index.0);
            assert_eq!(found, entry(term, index), "round {round}: wrong bytes");
            terms.insert(index, term);
            next = found.index.next();
        }
    }
    assert!(
        store.first_index() <= Index(snapshot + 1),
        "round {round}: a gap"
    );
    for (index, term) in promises.entries.range(snapshot + 1..) {
        let found = terms.get(index);
        assert_eq!(found, Some(term), "round {round}: {index} was acknowledged");
    }
}

fn check_snapshot(store: &Store, last: u64) {
    let Some(reader) = store.open_snapshot().expect("it is open") else {
        return;
    };
    let mut data = Vec::new();
    while (data.len() as u64) < reader.data_len() {
        data.extend(
            reader
                .read(data.len() as u64)
                .expect("every chunk is right"),
        );
    }
    assert_eq!(data, state(last));
}
