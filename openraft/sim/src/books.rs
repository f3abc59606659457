//! What happened, as the simulator's records: they go into the digest, to the
//! judges, to the counters and into the text.
//!
//! The judges are those of the engine's own Raft, and two of its ideas are not
//! OpenRaft's:
//!
//! - The engine's vote is a node; OpenRaft's is (term, node, committed), and within
//!   a term who voted for a loser later saves the winner's, committed. The judges of
//!   a cluster are shown whom a node voted for (`Books::voted`). Those of a store are
//!   shown the term times two, plus one if it is committed, and the node: an order in
//!   which what OpenRaft saves never goes back.
//! - The engine has one directory a node; here the snapshots have their own. It is
//!   judged as the store of a node of its own, [`snapshots_of`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use afterimage_engine::store::Store;
use afterimage_engine::{EntryId, Error, Event, HardState, Index, NodeId, Role, Term};
use afterimage_engine::{Env, Membership};
use afterimage_sim::check::Judges;
use afterimage_sim::disk::{FaultKind, OpOutcome, SimFs};
use afterimage_sim::rng::SimRng;
use afterimage_sim::trace::{Contents, Digest, Record, Style, What, text};
use afterimage_sim::verdict::{Verdict, Violation};

/// The node as which the snapshots of `id` are judged.
pub fn snapshots_of(id: NodeId) -> NodeId {
    NodeId(id.0 + 10)
}

/// Shared by all.
#[derive(Clone)]
pub struct Books(Arc<Mutex<State>>);

struct State {
    /// Those who compare members: the logs alone.
    cluster: Judges,
    /// Each directory for itself.
    stores: Judges,
    /// The judges are shown nothing but what clients see, and the end.
    from_outside: bool,
    violation: Option<Violation>,
    digest: Digest,
    text: Option<String>,
    counts: BTreeMap<&'static str, u64>,
    faults: BTreeMap<&'static str, u64>,
    /// Whom a node voted for.
    voted: BTreeMap<(NodeId, Term), NodeId>,
    /// An injected fault reached this node's disk since it started.
    harmed: BTreeSet<NodeId>,
}

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    pub verdict: Verdict,
    pub violation: Option<Violation>,
    pub digest: u64,
    pub records: u64,
    pub simulated_ms: u64,
    pub counts: BTreeMap<&'static str, u64>,
    /// Those that had an effect.
    pub faults: BTreeMap<&'static str, u64>,
    pub text: Option<String>,
}

impl Books {
    pub fn new(trace: bool, from_outside: bool) -> Self {
        Books(Arc::new(Mutex::new(State {
            cluster: Judges::new(),
            stores: Judges::of_a_store(),
            from_outside,
            violation: None,
            digest: Digest::new(),
            text: trace.then(String::new),
            counts: BTreeMap::new(),
            faults: BTreeMap::new(),
            voted: BTreeMap::new(),
            harmed: BTreeSet::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn record(&self, node: Option<NodeId>, what: What) {
        let time_us = madsim::time::TimeHandle::current().elapsed().as_micros() as u64;
        self.state().record(Record {
            time_us,
            node,
            what,
        });
    }

    /// Founders of the cluster.
    pub fn founded(&self, voters: Vec<NodeId>) {
        let learners = Vec::new();
        self.record(None, What::Members(Membership { voters, learners }));
    }

    pub fn count(&self, what: &'static str) {
        *self.state().counts.entry(what).or_default() += 1;
    }

    /// A fault had an effect.
    pub fn fault(&self, kind: &'static str) {
        *self.state().faults.entry(kind).or_default() += 1;
    }

    pub fn is_broken(&self) -> bool {
        self.state().violation.is_some()
    }

    /// The run is over.
    pub fn finish(self) -> Report {
        let mut state = self.state();
        let cluster = std::mem::take(&mut state.cluster).finish();
        let stores = std::mem::take(&mut state.stores).finish();
        let violation = state.violation.take().or(cluster).or(stores);
        let verdict = match &violation {
            Some(violation) => Verdict::Fail(violation.invariant),
            None if state.faults.is_empty() => Verdict::Vacuous,
            None => Verdict::Pass,
        };
        Report {
            verdict,
            violation,
            digest: state.digest.value(),
            records: state.digest.records(),
            simulated_ms: madsim::time::TimeHandle::current().elapsed().as_millis() as u64,
            counts: std::mem::take(&mut state.counts),
            faults: std::mem::take(&mut state.faults),
            text: state.text.take(),
        }
    }
}

impl State {
    fn record(&mut self, record: Record) {
        self.digest.record(&record);
        if let Some(text) = &mut self.text
            && let Some(line) = text::line(&record, &Style::CLUSTER)
        {
            text.push_str(&line);
            text.push('\n');
        }
        self.count(&record);
        if self.from_outside {
            return self.seen_from_outside(record);
        }
        let of_snapshots = record.node.is_some_and(|id| id > NodeId(10));
        let mut violation = ordered(&record, of_snapshots)
            .and_then(|own| self.stores.record(&own))
            .cloned();
        if !of_snapshots && let Some(seen) = self.as_of_raft(record) {
            violation = violation.or(self.cluster.record(&seen).cloned());
        }
        if self.violation.is_none() {
            self.violation = violation;
        }
    }

    fn seen_from_outside(&mut self, mut record: Record) {
        match &mut record.what {
            What::Engine(_) | What::Sent(_) => return,
            What::Up(contents) => *contents = Contents::default(),
            _ if record.node.is_some_and(|id| id > NodeId(10)) => return,
            _ => {}
        }
        let violation = self.cluster.record(&record);
        self.violation = violation.cloned();
    }

    fn count(&mut self, record: &Record) {
        let counted = match &record.what {
            What::Engine(Event::RoleChanged {
                role: Role::Leader, ..
            }) => "elections",
            What::Reply { .. } => "answers",
            What::Invoke { .. } => "requests",
            What::Sent(_) => "messages",
            What::Engine(Event::Purged { .. }) => "purges",
            What::Engine(Event::Truncated { .. }) => "truncations",
            What::Boot { .. } => "boots",
            What::Disk(op) => {
                if let (OpOutcome::Injected(fault), Some(id)) = (op.outcome, record.node) {
                    let kind = match fault {
                        FaultKind::Enospc => "disk-full",
                        FaultKind::Short => "disk-short",
                        FaultKind::EioDone => "disk-eio-done",
                        _ => "disk-eio",
                    };
                    *self.faults.entry(kind).or_default() += 1;
                    if fault != FaultKind::Short {
                        self.harmed.insert(id);
                    }
                }
                "file-operations"
            }
            _ => return,
        };
        *self.counts.entry(counted).or_default() += 1;
    }

    /// With votes as those who compare members know them. `None`: not for them.
    fn as_of_raft(&mut self, mut record: Record) -> Option<Record> {
        let Some(id) = record.node else {
            return Some(record);
        };
        if let What::Engine(Event::Committed { index, term }) = record.what
            && self.is_hearsay(id, index, term)
        {
            return None;
        }
        if let Some(hard_state) = hard_state(&mut record.what) {
            let term = hard_state.term;
            if let Some((node, false)) = vote(hard_state) {
                self.voted.insert((id, term), node);
            }
            hard_state.vote = self.voted.get(&(id, term)).copied();
        }
        Some(record)
    }

    /// OpenRaft takes a commit index also from a leader whose term is over, and also
    /// as a leader. What was committed long ago may be known from anywhere; the
    /// judges' rule is about what a leader itself decides. (What it then applies is
    /// judged all the same.)
    fn is_hearsay(&self, id: NodeId, index: Index, term: Term) -> bool {
        let model = self.cluster.model();
        let entry = model.node(id).store.entry(index);
        index <= model.committed.last() && entry.is_some_and(|entry| entry.term < term)
    }
}

/// As a store's judges see it: with votes in OpenRaft's order. `None`: it is not
/// about a store.
fn ordered(record: &Record, of_snapshots: bool) -> Option<Record> {
    if let What::Engine(
        Event::RoleChanged { .. }
        | Event::Committed { .. }
        | Event::Applied { .. }
        | Event::Restored { .. },
    ) = &record.what
    {
        return None;
    }
    let mut record = record.clone();
    if !of_snapshots && let Some(hard_state) = hard_state(&mut record.what) {
        let saved = vote(hard_state);
        let committed = saved.is_some_and(|(_, committed)| committed);
        *hard_state = HardState {
            term: Term(hard_state.term.0 * 2 + u64::from(committed)),
            vote: saved.map(|(node, _)| node),
        };
    }
    Some(record)
}

/// As it was saved: the node, and whether it is committed.
fn vote(hard_state: &HardState) -> Option<(NodeId, bool)> {
    let NodeId(number) = hard_state.vote?;
    Some((NodeId(number >> 1), number & 1 == 1))
}

fn hard_state(what: &mut What) -> Option<&mut HardState> {
    match what {
        What::Up(contents) => Some(&mut contents.hard_state),
        What::Engine(
            Event::HardStateSubmitted { hard_state } | Event::HardStateDurable { hard_state },
        ) => Some(hard_state),
        _ => None,
    }
}

/// One life of a member, as it is written down. Once it is over, nothing is.
#[derive(Clone)]
pub struct Witness {
    books: Books,
    node: NodeId,
    disk: SimFs,
    alive: Arc<AtomicBool>,
}

impl Witness {
    pub fn new(books: Books, node: NodeId, disk: SimFs) -> Self {
        Witness {
            books,
            node,
            disk,
            alive: Arc::new(AtomicBool::new(true)),
        }
    }

    /// Of the same life's snapshots.
    pub fn of_snapshots(&self) -> Self {
        Witness {
            node: snapshots_of(self.node),
            ..self.clone()
        }
    }

    pub fn books(&self) -> &Books {
        &self.books
    }

    pub fn say(&self, what: What) {
        if self.is_alive() {
            self.disk_operations();
            self.books.record(Some(self.node), what);
        }
    }

    /// Those since the last time: they come before what is said now.
    fn disk_operations(&self) {
        let disk = self.machine();
        for op in self.disk.take_ops() {
            self.books.record(Some(disk), What::Disk(op));
        }
    }

    /// Whose disk it is.
    fn machine(&self) -> NodeId {
        match self.node {
            NodeId(n) if n > 10 => NodeId(n - 10),
            id => id,
        }
    }

    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    pub fn is_over(&self) {
        self.disk_operations();
        self.alive.store(false, Ordering::Relaxed);
    }

    /// An injected fault reached the disk in this life.
    pub fn is_excused(&self) -> bool {
        self.disk_operations();
        self.books.state().harmed.contains(&self.machine())
    }

    pub fn boot(&self, incarnation: u64) {
        self.books.state().harmed.remove(&self.machine());
        self.say(What::Boot { incarnation });
    }

    pub fn open_failed(&self, error: &std::io::Error) {
        let corrupt = error
            .get_ref()
            .and_then(|error| error.downcast_ref::<Error>())
            .is_some_and(|error| matches!(error, Error::Corrupt { .. }));
        let excused = self.disk.crash_fired() || self.is_excused();
        self.say(What::OpenFailed {
            error: error.to_string(),
            excused,
            corrupt,
        });
    }

    /// The store is open: what is in it.
    pub fn up(&self, store: &Store) -> std::io::Result<()> {
        let contents = Contents::read(store).map_err(std::io::Error::other)?;
        self.say(What::Up(contents));
        Ok(())
    }

    /// The entry at `index` as this node's log was given it; one that it does
    /// not have has no content.
    pub fn entry(&self, index: Index, term: Term) -> EntryId {
        let state = self.books.state();
        let known = state.cluster.model().node(self.node).store.entry(index);
        known.filter(|entry| entry.term == term).unwrap_or(EntryId {
            index,
            term,
            fingerprint: 0,
        })
    }
}

/// What the engine gets from this world.
pub struct SimEnv {
    pub witness: Witness,
    pub rng: Mutex<SimRng>,
}

impl Env for SimEnv {
    /// Each node stamps the entries that it writes, for OpenRaft's carry no time.
    /// To the judges an entry's content is the same everywhere, so this is, too.
    fn now_ms(&self) -> i64 {
        0
    }

    fn random(&self) -> u64 {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        rng.next_u64()
    }

    fn observe(&self, event: Event) {
        self.witness.say(What::Engine(event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(befall: impl FnOnce(&Books)) -> Verdict {
        let config = madsim::Config::default();
        let runtime = madsim::runtime::Runtime::with_seed_and_config(1, config);
        runtime.block_on(async move {
            let books = Books::new(false, false);
            befall(&books);
            books.finish().verdict
        })
    }

    #[test]
    fn a_run_in_which_nothing_went_wrong_proves_nothing() {
        assert_eq!(verdict(|_| {}), Verdict::Vacuous);
        assert_eq!(verdict(|books| books.fault("kill")), Verdict::Pass);
    }
}
