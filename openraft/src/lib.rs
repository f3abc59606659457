//! OpenRaft's log storage and snapshot store on Afterimage's engine.
//!
//! [`LogStore`] is OpenRaft's `RaftLogStorage`, [`StateMachine`] its
//! `RaftStateMachine` around a [`Machine`] of yours. Each has a directory of its
//! own, in the engine's format (`docs/format.md`), with the engine's promises
//! for crashes and bad disks.
//!
//! **Alpha.** OpenRaft 0.10 has only alpha releases. Its traits, and the serde
//! form of its entries and memberships, change from one to the next, so this
//! crate depends on exactly one of them. What is on disk carries a version of
//! the encoding (see `payload`), separate from the engine's: it is refused by
//! name if a later alpha should ever need another one.
//!
//! **What is durable when.** When `append` calls its callback with `Ok`, the
//! entries were synced. `save_vote`, `truncate_after` and `purge` return when
//! they are durable; so does building or installing a snapshot. Writes keep the
//! order of the calls, votes and entries alike. After a failed write or sync
//! every later call fails until the directory is opened again, for nobody knows
//! what is durable.
//!
//! **Nothing blocks the runtime.** A log thread writes and syncs, another calls
//! the callbacks; what must read or write files otherwise goes through the
//! runtime's `spawn_blocking`. Only [`LogStore::open`], [`StateMachine::open`]
//! and dropping the last handle of a log do their I/O in place.
//!
//! **The committed log id** is not stored, unless `Options::commit_hint_every` asks
//! for a hint of it. Without one `read_committed` is `None`, and after a restart the
//! state machine is where its last snapshot was, until the cluster's commit index
//! is heard of; with one it goes on at once, to within so many entries. Either way
//! call `Raft::wait_for_recovery` before you serve reads.
//!
//! **Set `enable_leader_restore: Some(false)`** in OpenRaft's configuration. Its
//! default lets a leader that restarts lead on in its term without an election. It
//! sends entries to others before they are durable in its own log; if a power cut
//! takes them there, it gives their log ids to other entries, and replicas apply
//! different ones. The README of this crate has a trace.
//!
//! **Why this is a crate**, and not a feature `openraft` of the engine: a feature's
//! dependencies are in everybody's lock file, and its alphas would decide when the
//! engine has a new version.
//!
//! **One leader a term.** The engine identifies an entry by index and term, so
//! the leader id must be OpenRaft's `leader_id_std`; [`Config`] demands it.
//!
//! ```no_run
//! use std::{path::Path, sync::Arc};
//! use afterimage_engine::{Host, fs::OsFs, store::Options, threads::SystemEnv};
//! use afterimage_openraft::LogStore;
//!
//! openraft::declare_raft_types!(
//!     pub Types:
//!         D = String,
//!         R = String,
//!         LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
//!         AsyncRuntime = openraft_rt_tokio::TokioRuntime,
//! );
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let host = Host { fs: Arc::new(OsFs), env: Arc::new(SystemEnv::unobserved()?) };
//! let log = LogStore::<Types>::open(host, Path::new("log"), Options::default())?;
//! # Ok(())
//! # }
//! ```

mod acks;
mod config;
mod error;
mod hands;
mod log_reader;
mod log_store;
mod machine;
mod payload;
mod snapshot_data;
mod snapshot_store;
mod vote;

pub use config::{Config, LogId};
pub use log_reader::LogReader;
pub use log_store::{LogStore, Stepper};
pub use machine::{Machine, SnapshotBuilder, StateMachine};
pub use snapshot_data::SnapshotData;
pub use snapshot_store::SnapshotStore;
