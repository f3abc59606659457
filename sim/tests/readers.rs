//! Readers that are open while the log is written, truncated, purged and
//! discarded beside them, one file operation at a time.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use afterimage_engine::raft::LogView;
use afterimage_engine::store::{
    Batch, Cleaner, LogReader, Options, SnapshotReader, SnapshotSource, Store, Writer,
};
use afterimage_engine::{
    Entry, EntryId, EntryKind, Env, Error, Event, Host, Index, Membership, NodeId, SnapshotMeta,
    Step, Term,
};
use afterimage_sim::disk::{Fates, SimFs};
use afterimage_sim::rng::SimRng;

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

fn open(disk: &SimFs, trail_entries: u64) -> Store {
    let host = Host {
        fs: disk.boot(),
        env: Arc::new(Counting(AtomicU64::new(disk.op_count()))),
    };
    let options = Options {
        segment_bytes: 1024,
        cache_bytes: 300,
        chunk_bytes: 128,
        trail_entries,
        ..Options::default()
    };
    Store::open(host, Path::new("/raft"), options)
        .run()
        .unwrap()
        .0
}

fn entry(term: u64, index: u64) -> Entry {
    Entry {
        index: Index(index),
        term: Term(term),
        kind: EntryKind::Command,
        timestamp_ms: 0,
        data: vec![index as u8; 90].into(),
    }
}

fn meta(term: u64, last: u64) -> SnapshotMeta {
    SnapshotMeta {
        last_index: Index(last),
        last_term: Term(term),
        membership: Membership {
            voters: vec![NodeId(1)],
            learners: Vec::new(),
        },
    }
}

/// A state that tells which one it is.
fn state(term: u64, last: u64) -> Vec<u8> {
    [term, last].map(u64::to_le_bytes).concat().repeat(30)
}

struct Once(Vec<u8>);

impl SnapshotSource for Once {
    fn read(&mut self, out: &mut Vec<u8>, _: usize) -> bool {
        out.append(&mut self.0);
        false
    }
}

/// An open reader, and what it has returned.
struct Reading {
    reader: LogReader,
    from: u64,
    read: Vec<EntryId>,
    /// The log was discarded since.
    discarded: bool,
}

/// How often each case came up.
#[derive(Debug, Default)]
struct Tally {
    /// Entries that a purge would have taken.
    pinned: u64,
    replaced: u64,
    purged: u64,
    /// Given up by a reader, and gone.
    released: u64,
    /// Snapshots read to their end although newer ones replaced them.
    outlived: u64,
}

struct Life<'a> {
    rng: SimRng,
    store: Store,
    writer: Writer,
    cleaner: Cleaner,
    /// The log: entries by index, from 1 on; below the first nobody looks.
    log: Vec<EntryId>,
    term: u64,
    covered: u64,
    readings: Vec<Reading>,
    snapshots: Vec<(SnapshotReader, Vec<u8>)>,
    tally: &'a mut Tally,
}

impl Life<'_> {
    fn step(&mut self) {
        match self.rng.below(16) {
            0..5 => self.append(),
            5 => self.replace(),
            6 => self.save(),
            7 if self.rng.below(3) == 0 => self.install(),
            7..9 => self.open_reader(),
            9..13 => self.read(),
            13 => self.close_reader(),
            14 => self.read_snapshots(),
            _ => self.clean(),
        }
        // The cleaner is one operation further now and then.
        if self.rng.below(2) == 0 {
            self.cleaner.step().unwrap();
        }
    }

    fn submit(&mut self, from: u64, count: u64) {
        let entries: Vec<_> = (from..from + count).map(|i| entry(self.term, i)).collect();
        self.log.truncate(from as usize - 1);
        self.log.extend(entries.iter().map(Entry::id));
        let batch = Batch {
            hard_state: None,
            entries,
        };
        self.store.submit(batch).unwrap();
        // At times the next thing happens while this is on its way.
        let steps = match self.rng.below(3) {
            0 => self.rng.below(4),
            _ => u64::MAX,
        };
        for _ in 0..steps {
            if self.writer.step().unwrap() == Step::Idle {
                break;
            }
        }
    }

    fn append(&mut self) {
        let count = self.rng.between(1, 4);
        self.submit(self.log.len() as u64 + 1, count);
    }

    fn replace(&mut self) {
        let last = self.log.len() as u64;
        if last > self.covered {
            let from = self.rng.between(self.covered + 1, last);
            self.term += 1;
            match self.rng.below(2) {
                0 => self.submit(from, 2),
                _ => {
                    self.store.truncate_suffix(Index(from)).unwrap();
                    self.log.truncate(from as usize - 1);
                }
            }
        }
    }

    fn drain(&mut self) {
        while self.writer.step().unwrap() != Step::Idle {}
    }

    fn save(&mut self) {
        self.drain();
        let last = self.log.len() as u64;
        if last > self.covered {
            let upto = self.rng.between(self.covered + 1, last);
            let term = self.log[upto as usize - 1].term.0;
            let source = Box::new(Once(state(term, upto)));
            let job = self.store.save_snapshot(meta(term, upto), source);
            assert!(job.run().unwrap());
            self.took_snapshot(term, upto);
        }
    }

    /// Far ahead: the whole log goes.
    fn install(&mut self) {
        self.drain();
        self.term += 1;
        let last = self.log.len() as u64 + self.rng.between(1, 5);
        let mut install = self.store.install(meta(self.term, last));
        assert!(install.push(0, state(self.term, last), true));
        while install.outcome().is_none() {
            install.step().unwrap();
        }
        let nothing = EntryId {
            index: Index(0),
            term: Term(self.term),
            fingerprint: 0,
        };
        self.log = vec![nothing; last as usize];
        self.took_snapshot(self.term, last);
        for reading in &mut self.readings {
            reading.discarded = true;
        }
    }

    fn took_snapshot(&mut self, term: u64, last: u64) {
        self.covered = last;
        if let Some(reader) = self.store.open_snapshot().unwrap() {
            self.snapshots.push((reader, state(term, last)));
        }
    }

    fn open_reader(&mut self) {
        let first = self.store.first_index().0;
        if first > 1 {
            let early = self.store.reader(Index(first - 1));
            assert!(matches!(early, Err(Error::Purged { .. })), "{early:?}");
        }
        let end = self.log.len() as u64 + 1;
        let late = self.store.reader(Index(end + 1));
        assert!(matches!(late, Err(Error::Unavailable { .. })), "{late:?}");
        let from = self.rng.between(first, end);
        self.readings.push(Reading {
            reader: self.store.reader(Index(from)).unwrap(),
            from,
            read: Vec::new(),
            discarded: false,
        });
    }

    fn read(&mut self) {
        if self.readings.is_empty() {
            return;
        }
        let at = self.rng.below(self.readings.len() as u64) as usize;
        let max_bytes = *self.rng.pick(&[0, 200, 1000]);
        let reading = &mut self.readings[at];
        let next = reading.from + reading.read.len() as u64;
        assert_eq!(reading.reader.next_index(), Index(next));
        let before = reading.read.last().copied();
        let follows = before.is_none_or(|id| self.log.get(id.index.0 as usize - 1) == Some(&id));
        match reading.reader.read(max_bytes) {
            Ok(entries) => {
                assert!(follows, "{next}: what it read before is not there any more");
                let found: Vec<_> = entries.iter().map(Entry::id).collect();
                let log = self.log.get(next as usize - 1..).unwrap_or_default();
                assert!(log.starts_with(&found), "{found:?} of {log:?}");
                assert_eq!(found.is_empty(), log.is_empty(), "at {next}");
                let covered = found.iter().filter(|id| id.index.0 < self.covered);
                self.tally.pinned += covered.count() as u64;
                reading.read.extend(found);
                return;
            }
            Err(Error::Replaced { index }) => {
                assert_eq!(Some(index), before.map(|id| id.index));
                assert!(!follows, "{index} is still there");
                self.tally.replaced += 1;
            }
            Err(Error::Purged { .. }) => {
                assert!(reading.discarded, "purged under a reader at {next}");
                self.tally.purged += 1;
            }
            Err(e) => panic!("a reader at {next}: {e}"),
        }
        // It says so as often as it is asked.
        assert!(reading.reader.read(max_bytes).is_err());
        self.readings.remove(at);
    }

    /// What only this reader kept goes.
    fn close_reader(&mut self) {
        self.clean();
        let first = self.store.first_index();
        if self.readings.is_empty() {
            return;
        }
        let at = self.rng.below(self.readings.len() as u64) as usize;
        self.readings.remove(at);
        self.clean();
        self.tally.released += u64::from(self.store.first_index() > first);
    }

    fn clean(&mut self) {
        while self.cleaner.has_work() {
            self.cleaner.step().unwrap();
        }
    }

    fn read_snapshots(&mut self) {
        let newest = self.snapshots.len();
        for (n, (reader, expected)) in self.snapshots.iter().enumerate() {
            let mut data = Vec::new();
            while data.len() < expected.len() {
                data.extend(reader.read(data.len() as u64).unwrap());
            }
            assert!(data == *expected, "a snapshot became another");
            self.tally.outlived += u64::from(n + 1 < newest);
        }
        if self.rng.below(2) == 0 {
            self.snapshots.clear();
        }
    }
}

#[test]
fn a_reader_reads_one_history_to_its_end_whatever_is_purged() {
    let mut tally = Tally::default();
    for seed in 0..300 {
        let disk = SimFs::new(seed);
        let store = open(&disk, 0);
        let mut life = Life {
            rng: SimRng::new(seed, "readers"),
            writer: store.writer(),
            cleaner: store.cleaner(),
            store,
            log: Vec::new(),
            term: 1,
            covered: 0,
            readings: Vec::new(),
            snapshots: Vec::new(),
            tally: &mut tally,
        };
        for _ in 0..150 {
            life.step();
        }
        // Readers leave nothing behind that an open would see.
        life.drain();
        let (first, last) = (life.covered + 1, life.log.len() as u64);
        let expected = life.log.split_off(first as usize - 1);
        drop(life);
        disk.power_cut(&Fates::Lose);
        let store = open(&disk, 0);
        let mut found = Vec::new();
        let mut reader = store.reader(Index(first)).unwrap();
        while found.len() < expected.len() {
            found.extend(reader.read(1000).unwrap().iter().map(Entry::id));
        }
        assert_eq!((found, store.last_index()), (expected, Index(last)));
    }
    println!("{tally:?}");
    let Tally {
        pinned,
        replaced,
        purged,
        released,
        outlived,
    } = tally;
    assert!(
        [pinned, replaced, purged, released, outlived]
            .iter()
            .all(|&n| n > 100)
    );
}

/// The last index below which a purge leaves nothing, with such a trail.
fn first_after_purge(trail_entries: u64) -> u64 {
    let disk = SimFs::new(1);
    let store = open(&disk, trail_entries);
    let (mut writer, mut cleaner) = (store.writer(), store.cleaner());
    for index in 1..=60 {
        let batch = Batch {
            hard_state: None,
            entries: vec![entry(1, index)],
        };
        store.submit(batch).unwrap();
        while writer.step().unwrap() != Step::Idle {}
    }
    let job = store.save_snapshot(meta(1, 50), Box::new(Once(state(1, 50))));
    assert!(job.run().unwrap());
    while cleaner.has_work() {
        cleaner.step().unwrap();
    }
    store.first_index().0
}

#[test]
fn a_purge_leaves_the_trail() {
    // Seven entries make a segment.
    let none = first_after_purge(0);
    assert!((44..=50).contains(&none), "{none}");
    for trail in [1, 10, 30] {
        let first = first_after_purge(trail);
        let most = 50 - trail;
        assert!(
            first <= most && first + 7 > most,
            "{trail} entries: {first}"
        );
    }
    assert_eq!(first_after_purge(50), 1);
    assert_eq!(first_after_purge(u64::MAX), 1);
}
