//! A crash-safe Raft log and snapshot store, and a Raft to go with it.
//!
//! One directory holds a log of entries, the hard state (term and vote) and the
//! current snapshot. A [`store::Store`] is opened in it; [`threads::Threads`] brings
//! to the disk what is handed over, with one sync for all who wait. It is written
//! against the trait [`fs::Fs`], and the code that runs in production is the code
//! that the simulator (`afterimage-sim`) cuts the power of, at each file operation.
//!
//! Where to begin: `docs/embed.md` puts the log under your own Raft, by examples;
//! [`node`] is a replica with the Raft of this crate; `docs/format.md` has the bytes
//! and the order of file operations.
//!
//! # What is durable when
//!
//! | when this returns `Ok` | this survives a power cut |
//! |---|---|
//! | [`Store::open`](store::Store::open), as a finished job | all that its [`Report`](store::Report) says: log, hard state, snapshot; the directory's own name |
//! | [`Store::submit`](store::Store::submit), [`Threads::append`](threads::Threads::append), [`queue`](threads::Threads::queue) | nothing yet; readers see it |
//! | [`Threads::wait`](threads::Threads::wait), or [`Store::persisted`](store::Store::persisted) has reached the ticket | the batch and all before it: first its hard state, then its entries, and that what they replaced never comes back |
//! | [`Store::submit_unsynced`](store::Store::submit_unsynced), [`Threads::append_unsynced`](threads::Threads::append_unsynced) | nothing, also once it is written, until [`Threads::sync`](threads::Threads::sync), a wait for its ticket or a later one, or the close; a power cut leaves a prefix of it |
//! | [`truncate_suffix`](threads::Threads::truncate_suffix), then the wait | the truncation: nothing of the suffix comes back |
//! | [`save_snapshot`](threads::Threads::save_snapshot) (`true`) | the snapshot; only then does the cleaner take what it covers |
//! | [`Threads::install`](threads::Threads::install), or [`Install::outcome`](store::Install::outcome) is there | the snapshot; and, where the log contradicted it, that the log is gone |
//! | [`Cleaner::step`](store::Cleaner::step), [`Preparer::step`](store::Preparer::step) | nothing that anybody needs: whatever comes undone, the next open answers alike |
//! | [`hint_commit`](threads::Threads::hint_commit), [`Hinter::step`](store::Hinter::step) | perhaps the hint: it is never synced, and right whether or not it survives |
//! | `Err` from a write or a sync | unknown: the store is poisoned, and only the next open tells |
//! | `Stalled`: the disk is full | as before: the batch is kept, and tried again in a new segment |
//!
//! What was acknowledged stays: it is removed by a truncation, or covered by a
//! snapshot, and by nothing else. What was handed over and not acknowledged may be
//! there after a crash, as a prefix of it, or not.
//!
//! An open that refuses ([`Error::Corrupt`], [`Error::Version`], [`Error::Locked`])
//! has changed nothing, and names the file, the offset and the remedy. Corruption in
//! the middle of the log is never cut; a bad end that could have been durable is cut
//! and reported ([`Report::ambiguous_tail`](store::Report)).
//!
//! # What it assumes of disks and filesystems
//!
//! - A sync that returned `Ok` was true, unless an earlier one of the same file
//!   failed. After a failed one, neither a second sync nor a read proves anything;
//!   none is relied on.
//! - A rename is atomic. It is durable after a sync of the directory, and so is a
//!   new name; a file's sync makes no name durable.
//! - A sector of 512 bytes is written whole or not at all. (Only the hard state and
//!   the commit hint rest on it; of the former, a write that stops in the middle of
//!   a sector is told from rot.)
//! - Nothing of order: writes that were not synced may land in any order, in part,
//!   or not at all, the file's size apart from its data, unlinks at any time.
//! - New blocks may show what another file left in them.
//! - Bits rot, writes go astray or are lost. Checksums find what was changed; a lost
//!   write at the very end of the log, where nothing newer knows of it, can look
//!   like a log that was shorter. (The commit hint narrows that down.)
//! - One process at a time: an advisory lock on `LOCK`, which network filesystems
//!   may not honour.
//! - [`fs::OsFs`] is for Linux. tmpfs keeps nothing; on overlayfs the upper layer's
//!   filesystem decides.
//!
//! # Features
//!
//! `tracing`: `threads::Tracer`. For the simulator alone: `mutants`, planted bugs, and
//! `sometimes`, which counts how often the engine is at marked places.
//! There is no feature for OpenRaft: its stores are the crate `afterimage-openraft`,
//! so that its hundred dependencies, and its alphas, are in the lock file of those
//! who want them.

mod bytes;
mod commit_hint;
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
pub mod sometimes;
pub mod store;
pub mod threads;

pub use entry::{Entry, EntryId, EntryKind, EntryRef, HardState, Membership, SnapshotMeta};
pub use error::{Corruption, Error, Op, Result};
pub use event::{Event, Phase, Role};
pub use host::{Env, Host};
pub use ids::{Index, NodeId, Term};
pub use job::{Job, Step};

/// The examples of `docs/embed.md` are tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/embed.md")]
struct Embed;
