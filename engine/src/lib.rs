//! A crash-safe Raft log and snapshot store, and a Raft to go with it.

mod bytes;
pub mod entry;
pub mod error;
pub mod event;
pub mod format;
pub mod fs;
mod hard_state;
pub mod host;
pub mod ids;
pub mod inspect;
pub mod job;
mod log;
pub mod mutant;
pub mod node;
pub mod raft;
mod snapshot;
pub mod store;
pub mod threads;

pub use entry::{Entry, EntryId, EntryKind, EntryRef, HardState, Membership, SnapshotMeta};
pub use error::{Corruption, Error, Op, Result};
pub use event::{Event, Phase, Role};
pub use host::{Env, Host};
pub use ids::{Index, NodeId, Term};
pub use job::{Job, Step};
