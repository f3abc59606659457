//! One member with its host: the core, a log in memory, a disk that lags behind.

use std::collections::VecDeque;

use afterimage_engine::mutant::Mutant;
use afterimage_engine::raft::{
    Body, Config, LogView, Message, Raft, ReadState, Ready, SnapshotPiece, SnapshotRead,
};
use afterimage_engine::{
    Entry, EntryKind, Error, HardState, Index, Membership, NodeId, Result as EngineResult,
    SnapshotMeta,
};

use crate::oracle::{Oracle, Violation, apply, violated};
use crate::rng::Rng;

use crate::image::Image;

/// Bytes of a snapshot in one message.
const PIECE_BYTES: usize = 16;

struct Batch {
    seq: u64,
    hard_state: Option<HardState>,
    entries: Vec<Entry>,
    after_persist: Vec<Message>,
}

pub struct Member {
    pub id: NodeId,
    config: Config,
    /// `None` while it is down.
    pub raft: Option<Raft>,
    /// What readers see: everything submitted.
    pub view: Image,
    /// What a crash leaves.
    pub disk: Image,
    /// On its way to the disk, in order.
    queue: VecDeque<Batch>,
    pub applied: Index,
    state: u64,
    install: Option<(SnapshotMeta, Vec<u8>)>,
    /// Starts so far: what was scheduled for an earlier one is void.
    pub life: u64,
}

/// What a call asks of the world around.
#[derive(Default)]
pub struct Out {
    pub messages: Vec<Message>,
    /// A batch was queued: call `persist` some time later.
    pub wrote: bool,
    /// Call `stored`, or `finish_install` after the last piece.
    pub piece: Option<SnapshotPiece>,
    pub reads: Vec<ReadState>,
    pub failed_reads: Vec<u64>,
}

impl Out {
    fn add(&mut self, later: Out) {
        self.messages.extend(later.messages);
        self.wrote |= later.wrote;
        self.reads.extend(later.reads);
        self.failed_reads.extend(later.failed_reads);
        assert!(self.piece.is_none() || later.piece.is_none());
        self.piece = self.piece.take().or(later.piece);
    }
}

impl Member {
    pub fn new(config: Config) -> Self {
        Member {
            id: config.id,
            config,
            raft: None,
            view: Image::new(),
            disk: Image::new(),
            queue: VecDeque::new(),
            applied: Index(0),
            state: 0,
            install: None,
            life: 0,
        }
    }

    pub fn core(&self) -> &Raft {
        self.raft.as_ref().expect("it is up")
    }

    pub fn is_leader(&self) -> bool {
        self.raft.as_ref().is_some_and(Raft::is_leader)
    }

    pub fn start(&mut self, entropy: u64) {
        self.view = self.disk.clone();
        let (hard_state, meta) = (self.disk.hard_state, self.disk.meta());
        let raft = Raft::new(self.config.clone(), hard_state, meta, &self.view, entropy);
        self.raft = Some(raft.unwrap());
        (self.applied, self.state) = match &self.disk.snapshot {
            Some((meta, data)) => (meta.last_index, snapshot_state(data).unwrap()),
            None => (Index(0), 0),
        };
        self.life += 1;
    }

    /// Power goes. Of what was on its way, some may have arrived, in order.
    pub fn crash(&mut self, rng: &mut Rng, oracle: &mut Oracle) -> Result<(), Violation> {
        oracle.stats.lost_batches += self.queue.len() as u64;
        let arrived = rng.below(self.queue.len() as u64 + 1);
        for _ in 0..arrived {
            let batch = self.queue.pop_front().unwrap();
            self.write(&batch, oracle)?;
        }
        oracle.stats.lost_batches -= arrived;
        if let Some(mut torn) = self.queue.pop_front() {
            let entries = rng.below(torn.entries.len() as u64 + 1);
            torn.entries.truncate(entries as usize);
            if rng.chance(1, 2) {
                self.write(&torn, oracle)?;
            }
        }
        oracle.crashed(self.id);
        self.queue.clear();
        self.raft = None;
        self.install = None;
        Ok(())
    }

    fn write(&mut self, batch: &Batch, oracle: &mut Oracle) -> Result<(), Violation> {
        if let Some(hard_state) = batch.hard_state {
            oracle.hard_state(self.id, hard_state)?;
            self.disk.hard_state = hard_state;
        }
        self.disk.append(&batch.entries);
        Ok(())
    }

    /// One call of the core, and all that follows from it.
    pub fn call<T>(
        &mut self,
        oracle: &mut Oracle,
        call: impl FnOnce(&mut Raft, &Image) -> EngineResult<T>,
    ) -> Result<(T, Out), Violation> {
        let raft = self.raft.as_mut().expect("it is up");
        let before = raft.commit_index();
        let answer = call(raft, &self.view).or_else(failed)?;
        let ready = raft.ready(&self.view).or_else(failed)?;
        let events = raft.take_events();
        let commit = raft.commit_index();
        assert!(before <= commit && ready.commit == (before < commit).then_some(commit));
        for event in &events {
            oracle.event(self.id, event, &self.view)?;
        }
        let out = self.handle(ready, before, oracle)?;
        oracle.leads(self.id, self.core())?;
        Ok((answer, out))
    }

    fn handle(
        &mut self,
        ready: Ready,
        before: Index,
        oracle: &mut Oracle,
    ) -> Result<Out, Violation> {
        let mut out = Out {
            messages: ready.messages,
            wrote: ready.seq.is_some(),
            piece: ready.snapshot_piece,
            reads: ready.reads,
            failed_reads: ready.failed_reads,
        };
        match ready.seq {
            None => {
                assert!(ready.hard_state.is_none() && ready.entries.is_empty());
                assert!(ready.after_persist.is_empty());
            }
            Some(seq) => {
                self.submit(&ready.entries, ready.hard_state, oracle)?;
                self.queue.push_back(Batch {
                    seq,
                    hard_state: ready.hard_state,
                    entries: ready.entries,
                    after_persist: ready.after_persist,
                });
            }
        }
        for message in &out.messages {
            oracle.sends(message, &self.disk)?;
        }
        for read in ready.snapshot_reads {
            out.messages.push(self.read_snapshot(read));
        }
        self.check_durable()?;
        if let Some(commit) = ready.commit {
            oracle.commits(self.id, (before, commit), &self.view)?;
        }
        self.apply(oracle)?;
        Ok(out)
    }

    fn submit(
        &mut self,
        entries: &[Entry],
        hard_state: Option<HardState>,
        oracle: &mut Oracle,
    ) -> Result<(), Violation> {
        if let Some(first) = entries.first() {
            let finishing = self.install.as_ref().is_some_and(|_| self.is_finishing());
            assert!(!finishing, "entries during an install");
            let prev = self.view.term(first.index.prev()).or_else(failed)?;
            oracle.appended(self.id, prev, entries)?;
            oracle.stats.truncations += u64::from(first.index <= self.view.last_index());
            let undone = self.membership_at(self.view.last_index()).0 >= first.index;
            oracle.stats.undone_changes += u64::from(undone);
            if self.is_leader() {
                self.check_change(first)?;
            }
        }
        self.view.hard_state = hard_state.unwrap_or(self.view.hard_state);
        self.view.append(entries);
        if !entries.is_empty() {
            self.check_membership()?;
        }
        Ok(())
    }

    /// The membership with the log up to `index`, and since when it counts.
    fn membership_at(&self, index: Index) -> (Index, Membership) {
        let initial = || (Index(0), self.config.membership.clone());
        self.view.membership_at(index).unwrap_or_else(initial)
    }

    /// The core counts by what stands in its log.
    fn check_membership(&self) -> Result<(), Violation> {
        let (_, logged) = self.membership_at(self.view.last_index());
        let counts = self.core().membership();
        if *counts != logged {
            let what = format!("{} counts by {counts:?}, logged is {logged:?}", self.id);
            return violated("membership-as-logged", what);
        }
        Ok(())
    }

    /// A leader is about to append this to its log.
    fn check_change(&self, entry: &Entry) -> Result<(), Violation> {
        if entry.kind != EntryKind::Membership {
            return Ok(());
        }
        let (former, _) = self.membership_at(entry.index.prev());
        let commit = self.core().commit_index();
        if former > commit {
            let what = format!("{}: {former}, then {}", self.id, entry.index);
            return violated("one-change-at-a-time", what);
        }
        let committed = self.view.term(commit).or_else(failed)?;
        if committed != entry.term {
            let what = format!("{} in {}, committed in {committed}", self.id, entry.term);
            return violated("changes-after-own-commit", what);
        }
        Ok(())
    }

    fn is_finishing(&self) -> bool {
        matches!(&self.install, Some((_, data)) if snapshot_state(data).is_some())
    }

    /// Whatever the core claims as durable is on the disk, as readers see it.
    fn check_durable(&self) -> Result<(), Violation> {
        let durable = self.core().durable_index();
        let (disk, view) = (self.disk.term(durable).ok(), self.view.term(durable).ok());
        if durable > self.disk.last_index() || disk != view {
            let what = format!("{} claims {durable}: {disk:?}, {view:?}", self.id);
            return violated("acked-durable", what);
        }
        Ok(())
    }

    fn apply(&mut self, oracle: &mut Oracle) -> Result<(), Violation> {
        let upto = self.core().commit_index().min(self.core().durable_index());
        while self.applied < upto {
            self.applied = self.applied.next();
            self.state = apply(self.state, self.view.entry(self.applied).id());
            oracle.state(self.id, self.applied, self.state)?;
        }
        Ok(())
    }

    /// The first batches reach the disk, `count` at the most.
    pub fn persist(&mut self, count: usize, oracle: &mut Oracle) -> Result<Out, Violation> {
        let mut out = Out::default();
        let mut done = None;
        for _ in 0..count.min(self.queue.len()) {
            let batch = self.queue.pop_front().unwrap();
            self.write(&batch, oracle)?;
            for message in &batch.after_persist {
                oracle.sends(message, &self.disk)?;
            }
            out.messages.extend(batch.after_persist);
            done = Some(batch.seq);
        }
        if let Some(seq) = done {
            out.add(self.call(oracle, |raft, log| raft.persisted(seq, log))?.1);
        }
        Ok(out)
    }

    pub fn has_unwritten(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Saves a snapshot of what is applied and purges up to `first`.
    pub fn save_snapshot(&mut self, purge: impl FnOnce(Index) -> Index) -> Result<(), Violation> {
        let last_index = self.applied;
        if self.view.meta().map_or(Index(0), |meta| meta.last_index) >= last_index {
            return Ok(());
        }
        let membership = self.core().membership_at(last_index).clone();
        let (_, logged) = self.membership_at(last_index);
        if membership != logged {
            let what = format!("{} saves {membership:?}, logged is {logged:?}", self.id);
            return violated("snapshot-of-its-time", what);
        }
        let meta = SnapshotMeta {
            last_index,
            last_term: self.view.term(last_index).unwrap(),
            membership,
        };
        let data = snapshot_data(self.id, self.state);
        let first = purge(last_index);
        for image in [&mut self.view, &mut self.disk] {
            image.snapshot = Some((meta.clone(), data.clone()));
            image.purge_prefix(first);
        }
        self.raft.as_mut().unwrap().snapshot_saved(last_index);
        Ok(())
    }

    fn read_snapshot(&self, read: SnapshotRead) -> Message {
        let (meta, data) = self.view.snapshot.as_ref().expect("the log was purged");
        let current = meta.last_index == read.last_index;
        let from = if current { read.offset as usize } else { 0 };
        let upto = data.len().min(from + PIECE_BYTES);
        let body = Body::Snapshot {
            meta: meta.clone(),
            offset: from as u64,
            data: data[from..upto].to_vec(),
            done: upto == data.len(),
        };
        Message {
            from: self.id,
            to: read.to,
            term: read.term,
            body,
        }
    }

    /// The install takes a piece.
    pub fn take_piece(&mut self, piece: &SnapshotPiece) {
        if piece.offset == 0 {
            self.install = Some((piece.meta.clone(), Vec::new()));
        }
        let (meta, data) = self.install.as_mut().expect("offset 0 comes first");
        assert_eq!((&*meta, data.len() as u64), (&piece.meta, piece.offset));
        data.extend_from_slice(&piece.data);
        assert_eq!(piece.done, snapshot_state(data).is_some());
    }

    /// A piece, not the last one, is safe.
    pub fn stored(&mut self, oracle: &mut Oracle, piece: &SnapshotPiece) -> Result<Out, Violation> {
        let offset = piece.offset + piece.data.len() as u64;
        let (from, last) = (piece.from, piece.meta.last_index);
        let call = |raft: &mut Raft, _: &Image| {
            raft.snapshot_stored(from, last, offset);
            Ok(())
        };
        Ok(self.call(oracle, call)?.1)
    }

    /// The whole snapshot is here: it takes the log's place, unless it `fails`.
    pub fn finish_install(&mut self, fails: bool, oracle: &mut Oracle) -> Result<Out, Violation> {
        // The store drains what is on its way first.
        let mut out = self.persist(usize::MAX, oracle)?;
        let (meta, data) = self.install.take().expect("a piece came");
        let newest = self.view.meta().map_or(Index(0), |meta| meta.last_index);
        if fails || newest >= meta.last_index {
            let call = |raft: &mut Raft, _: &Image| {
                raft.snapshot_failed();
                Ok(())
            };
            out.add(self.call(oracle, call)?.1);
            return Ok(out);
        }
        let state = snapshot_state(&data).expect("the last piece came");
        oracle.state(self.id, meta.last_index, state)?;
        let kept = self.view.term(meta.last_index).ok() == Some(meta.last_term)
            && !self.config.mutants.has(Mutant::InstallDropsLongerLog);
        for image in [&mut self.view, &mut self.disk] {
            image.snapshot = Some((meta.clone(), data.clone()));
            if !kept {
                image.discard(meta.last_index);
            }
        }
        if self.applied < meta.last_index {
            (self.applied, self.state) = (meta.last_index, state);
        }
        oracle.stats.installs += 1;
        let call = |raft: &mut Raft, log: &Image| raft.snapshot_installed(&meta, kept, log);
        out.add(self.call(oracle, call)?.1);
        self.check_membership()?;
        Ok(out)
    }
}

fn failed<T>(error: Error) -> Result<T, Violation> {
    violated("error", error.to_string())
}

/// The state, then filler that differs from member to member, so that pieces
/// of two members' snapshots don't make one.
fn snapshot_data(id: NodeId, state: u64) -> Vec<u8> {
    let length = 20 + 13 * id.0 as usize;
    let mut data = vec![length as u8];
    data.extend(state.to_le_bytes());
    data.resize(length, id.0 as u8);
    data
}

/// `None` while pieces are missing.
fn snapshot_state(data: &[u8]) -> Option<u64> {
    let (&length, rest) = data.split_first()?;
    if data.len() < usize::from(length) {
        return None;
    }
    let (state, filler) = rest.split_at(8);
    assert!(
        filler.iter().all(|&byte| byte == filler[0]),
        "a mixed snapshot"
    );
    assert_eq!(data.len(), 20 + 13 * usize::from(filler[0]));
    Some(u64::from_le_bytes(state.try_into().unwrap()))
}
