//! The decoders of what is on the disk, for tools and for fuzzing.
//!
//! They take any bytes: they never panic, never allocate more than they were
//! given, and answer "not one of these" for whatever was not written by this
//! engine. The byte tables are in the modules that these come from, and in
//! `docs/format.md`. A file of a newer format is told apart from a bad one, by
//! the version that it names.

pub use crate::bytes::{SECTOR, Sector};
pub use crate::commit_hint::CommitHint;
pub use crate::hard_state::Slot;
pub use crate::log::record::{Parsed, RecordHeader, parse as parse_record};
pub use crate::log::segment::{Link, SegmentHeader};
pub use crate::snapshot::{Header as SnapshotHeader, decode_membership};

/// The newest version of the format. This build reads all up to it; each file names
/// the lowest one whose builds read it rightly.
pub const VERSION: u32 = 2;
