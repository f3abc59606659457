//! The judges: one file an invariant. They see only the trace.
//!
//! [`Judges`] is the way in: feed it every [`Record`] of a run in order, then
//! call [`Judges::finish`]. What the judges know of the past is in one shared
//! [`Model`], built from the same records.

mod acked_durable;
mod converges;
mod corruption_reported;
mod election_safety;
mod follower_commit;
mod fresh_reads;
mod hard_state_monotonic;
mod leader_completeness;
mod linearizable;
mod log_contiguous;
mod log_matching;
mod membership_safety;
mod model;
mod newer_term;
mod no_resurrection;
mod persist_before_send;
mod recovery_available;
mod recovery_idempotent;
mod snapshot_covers_log;
mod span;
mod state_machine_safety;
mod store_model;
#[cfg(test)]
pub(crate) mod testing;

use std::fmt;
use std::hash::Hash;

pub use model::{Committed, DISK_LOST, Harm, Model, NodeModel, State};
pub use span::Span;
pub use store_model::{Snapshot, StoreModel};

use xxhash_rust::xxh3::Xxh3;

use crate::trace::{Record, What};
use crate::verdict::{Invariant, Violation};

/// Watches a run and speaks up when its rule is broken.
pub trait Judge: Fork + Send + Sync {
    /// Looks at one record that is no message. `model` is the state of things before
    /// it. Of file operations only those come here that harm the disk without a word:
    /// what the others did is judged by what is read back.
    fn record(&mut self, record: &Record, model: &Model) -> Result<(), Violation>;
    /// Looks at a message that was sent, delivered or dropped: for judges of a cluster
    /// alone.
    fn message(&mut self, record: &Record, model: &Model) -> Result<(), Violation> {
        let (_, _) = (record, model);
        Ok(())
    }
    /// The run is over. `model` is the state of things at the end.
    fn finish(&mut self, model: &Model) -> Result<(), Violation> {
        let _ = model;
        Ok(())
    }
    /// Adds what the judge remembers besides the model, as far as it bears on
    /// what one store may show: see [`Judges::fingerprint`].
    fn remember(&self, memory: &mut Xxh3) {
        let _ = memory;
    }
}

/// A judge that can be asked what would follow from here, several times over.
pub trait Fork {
    fn fork(&self) -> Box<dyn Judge>;
}

impl<T: Judge + Clone + 'static> Fork for T {
    fn fork(&self) -> Box<dyn Judge> {
        Box::new(self.clone())
    }
}

/// Those that look at one store at a time, in the order in which a record is shown to
/// them, before the others: where one record breaks several rules, the first one names
/// the failure.
fn of_a_store() -> Vec<Box<dyn Judge>> {
    vec![
        Box::new(corruption_reported::CorruptionReported::default()),
        Box::new(acked_durable::AckedDurable),
        Box::new(no_resurrection::NoResurrection),
        Box::new(log_contiguous::LogContiguous),
        Box::new(snapshot_covers_log::SnapshotCoversLog),
        Box::new(recovery_idempotent::RecoveryIdempotent::default()),
        Box::new(recovery_available::RecoveryAvailable),
        Box::new(hard_state_monotonic::HardStateMonotonic::default()),
    ]
}

fn of_a_cluster() -> Vec<Box<dyn Judge>> {
    vec![
        Box::new(persist_before_send::PersistBeforeSend),
        Box::new(election_safety::ElectionSafety::default()),
        Box::new(log_matching::LogMatching::default()),
        Box::new(leader_completeness::LeaderCompleteness::default()),
        Box::new(membership_safety::MembershipSafety::default()),
        Box::new(state_machine_safety::StateMachineSafety::default()),
        Box::new(follower_commit::FollowerCommit::default()),
        Box::new(newer_term::NewerTerm::default()),
        Box::new(fresh_reads::FreshReads::default()),
        Box::new(converges::Converges::default()),
        Box::new(linearizable::Linearizable::default()),
    ]
}

/// All judges and what they share. Keeps the first violation; a run is not
/// judged any further after that, since one broken rule breaks others.
pub struct Judges {
    judges: Vec<Box<dyn Judge>>,
    /// So many of them, in front, look at one store at a time.
    of_a_store: usize,
    model: Model,
    violation: Option<Violation>,
}

impl Judges {
    pub fn new() -> Self {
        Judges::with(of_a_store(), of_a_cluster())
    }

    /// Without those that compare members of a cluster.
    pub fn of_a_store() -> Self {
        Judges::with(of_a_store(), Vec::new())
    }

    fn with(mut judges: Vec<Box<dyn Judge>>, of_a_cluster: Vec<Box<dyn Judge>>) -> Self {
        let of_a_store = judges.len();
        judges.extend(of_a_cluster);
        Judges {
            judges,
            of_a_store,
            model: Model::default(),
            violation: None,
        }
    }

    /// A hash of all on which the judgement of a store depends: what it
    /// promised, and what opens of its image have shown. Two runs with the same
    /// fingerprint and the same disk have the same future.
    pub fn fingerprint(&self) -> u64 {
        let mut memory = Xxh3::new();
        for (id, node) in &self.model.nodes {
            id.hash(&mut memory);
            node.store.hash(&mut memory);
            node.harm.hash(&mut memory);
        }
        for judge in &self.judges {
            judge.remember(&mut memory);
        }
        memory.digest()
    }

    /// Shows one record to all judges. The first violation of the run so far.
    pub fn record(&mut self, record: &Record) -> Option<&Violation> {
        if self.violation.is_none() {
            let model = &self.model;
            // Most records are of the first two kinds.
            let judged = match &record.what {
                What::Sent(_) | What::Delivered { .. } | What::Dropped { .. } => {
                    let mut of_a_cluster = self.judges[self.of_a_store..].iter_mut();
                    of_a_cluster.try_for_each(|judge| judge.message(record, model))
                }
                What::Disk(_) if Harm::of(&record.what) == Harm::None => Ok(()),
                _ => (self.judges.iter_mut()).try_for_each(|judge| judge.record(record, model)),
            };
            self.violation = judged.err();
        }
        if self.violation.is_none() {
            self.model.apply(record);
        }
        self.violation.as_ref()
    }

    /// The run is over. The first violation of all.
    pub fn finish(mut self) -> Option<Violation> {
        if self.violation.is_none() {
            self.violation = self
                .judges
                .iter_mut()
                .find_map(|judge| judge.finish(&self.model).err());
        }
        self.violation
    }

    /// What the records showed so far.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The first violation so far.
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }
}

impl Clone for Judges {
    fn clone(&self) -> Self {
        Judges {
            judges: self.judges.iter().map(|judge| judge.fork()).collect(),
            of_a_store: self.of_a_store,
            model: self.model.clone(),
            violation: self.violation.clone(),
        }
    }
}

impl Default for Judges {
    fn default() -> Self {
        Judges::new()
    }
}

impl fmt::Debug for Judges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judges")
            .field("violation", &self.violation)
            .finish_non_exhaustive()
    }
}

/// The rule `invariant` is broken.
fn broken(invariant: Invariant, detail: impl Into<String>) -> Result<(), Violation> {
    Err(Violation {
        invariant,
        detail: detail.into(),
    })
}
