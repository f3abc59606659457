//! The snapshot: one file, replaced by an atomic rename.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | magic `AFTIMSNP` |
//! | 8 | 4 | format version |
//! | 12 | 4 | data of one chunk, in bytes |
//! | 16 | 8 | log id: the same in every file of the directory |
//! | 24 | 8 | last index |
//! | 32 | 8 | last term |
//! | 40 | 8 | `min_generation`: segments of lower generations are dead |
//! | 48 | 8 | length of the data, in bytes |
//! | 56 | 4 | CRC over the CRCs of all chunks |
//! | 60 | 4 | length of the membership, in bytes |
//! | 64 | 4 | CRC of the membership |
//! | 68 | 4 | 0 |
//! | 72 | 8 | nonce: seeds the chunks' CRCs |
//! | 508 | 4 | CRC of this sector |
//! | 512 | m | the membership, padded with zeros to whole sectors |
//! | | | chunks: data, then a CRC over nonce, number and data; all but the last are full |
//!
//! The header is written last, when it is known how long the data is and what
//! becomes of the log, and synced together with the data. So a separate footer
//! would say nothing new: a file whose header holds was written to its end.

mod format;
mod install;
mod reader;
mod save;
mod writer;

pub use format::{Header, decode_membership};
pub(crate) use format::{chunks_start, encode_membership};
pub use install::{Install, Installed};
pub use reader::SnapshotReader;
pub use save::SnapshotSource;
pub(crate) use save::save;

/// The one current snapshot.
pub(crate) const NAME: &str = "snapshot";
