//! The state machine: the simulator's own, behind OpenRaft's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use afterimage_engine::node::StateMachine as _;
use afterimage_engine::store::SnapshotSource;
use afterimage_engine::{Event, Index, Term};
use afterimage_openraft::{LogId, Machine};
use afterimage_sim::trace::What;

use crate::books::Witness;
use crate::runtime::MadRuntime;

openraft::declare_raft_types!(
    pub Types:
        D = Put,
        R = Vec<u8>,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = MadRuntime,
);

/// A put of the simulator's key-value machine, encoded.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Put(pub Vec<u8>);

impl std::fmt::Display for Put {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a put of {} bytes", self.0.len())
    }
}

/// OpenRaft counts from 0, the engine, and with it the trace, from 1.
pub fn position(id: &LogId) -> (Index, Term) {
    (Index(id.index + 1), Term(id.leader_id.term))
}

/// In front of a snapshot's data: where it ends, as two u64.
const HEAD_BYTES: usize = 16;

/// Clones share it: readers look at it where it is.
#[derive(Clone)]
pub struct Kv {
    state: Arc<Mutex<State>>,
    witness: Witness,
}

#[derive(Default)]
struct State {
    kv: afterimage_sim::kv::Kv,
    applied: (Index, Term),
    /// Of a snapshot under way.
    head: Vec<u8>,
}

impl Kv {
    pub fn new(witness: Witness) -> Self {
        Kv {
            state: Arc::default(),
            witness,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn query(&self, request: &[u8]) -> Vec<u8> {
        self.state().kv.query(request)
    }

    pub fn applied(&self) -> Index {
        self.state().applied.0
    }

    pub fn digest(&self) -> u64 {
        self.state().kv.digest()
    }
}

impl Machine<Types> for Kv {
    fn apply(&mut self, log_id: LogId, command: Option<Put>) -> Vec<u8> {
        let (index, term) = position(&log_id);
        let entry = self.witness.entry(index, term);
        self.witness.say(What::Engine(Event::Applied { entry }));
        let mut state = self.state();
        state.applied = (index, term);
        command.map_or_else(Vec::new, |Put(command)| state.kv.apply(index, &command))
    }

    fn snapshot(&self) -> Box<dyn SnapshotSource> {
        let state = self.state();
        let (index, term) = state.applied;
        Box::new(Frozen {
            head: [index.0.to_le_bytes(), term.0.to_le_bytes()].concat(),
            kv: state.kv.snapshot(),
        })
    }

    fn reset(&mut self) {
        *self.state() = State::default();
    }

    fn restore(&mut self, piece: &[u8]) {
        let mut state = self.state();
        let missing = HEAD_BYTES - state.head.len();
        let (head, rest) = piece.split_at(missing.min(piece.len()));
        state.head.extend_from_slice(head);
        state.kv.restore(rest);
    }

    fn restored(&mut self) -> Result<(), String> {
        let mut state = self.state();
        let (words, _) = state.head.as_chunks::<8>();
        let [index, term] = words else {
            return Err("the snapshot does not say where it ends".to_owned());
        };
        state.applied = (
            Index(u64::from_le_bytes(*index)),
            Term(u64::from_le_bytes(*term)),
        );
        state.head.clear();
        state.kv.restored()?;
        let (last_index, last_term) = state.applied;
        drop(state);
        self.witness.say(What::Engine(Event::Restored {
            last_index,
            last_term,
        }));
        Ok(())
    }
}

struct Frozen {
    head: Vec<u8>,
    kv: Box<dyn SnapshotSource>,
}

impl SnapshotSource for Frozen {
    fn read(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        out.append(&mut self.head);
        self.kv.read(out, max)
    }
}
