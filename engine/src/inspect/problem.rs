//! What can be wrong with a directory, and what is to be done about it.

use std::fmt;
use std::path::PathBuf;

use crate::error::{Corruption, Error};
use crate::ids::{Index, Term};

/// Something that is wrong, and where.
#[derive(Debug, Clone)]
pub struct Problem {
    pub path: PathBuf,
    pub offset: u64,
    pub what: What,
    pub effect: Effect,
}

/// What a problem means to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// It does not open.
    Refuses,
    /// It opens, and fails once it reads this.
    Lurks,
    /// It opens, and mends this by itself.
    Heals,
}

impl Effect {
    pub fn as_str(self) -> &'static str {
        match self {
            Effect::Refuses => "refuses to open",
            Effect::Lurks => "opens, fails where this is read",
            Effect::Heals => "opens, and mends it",
        }
    }
}

/// What is wrong.
#[derive(Debug, Clone)]
pub enum What {
    /// In the words of the open that refuses.
    Corrupt(Corruption),
    /// A newer build wrote it.
    Version { found: u32, known: u32 },
    /// The operating system could not read it.
    Unreadable(Error),
    /// A segment begins behind a snapshot that ended here, and no such one is there.
    NoSnapshot { last: Index },
    /// A segment with the name of another.
    Misnamed { truth: String },
    /// One slot of the hard state is bad; what the other one says.
    Slot { term: Term },
    /// The log ends before this record, which nothing proves to have been durable.
    TornTail { index: Index },
    /// A record in the middle of the log. `covered`: the snapshot has it, and
    /// all before the next segment.
    Record { index: Index, covered: bool },
    /// Chunks of the snapshot from this one on.
    Chunks { first: u64, bad: u64 },
    /// All chunks are right, yet they are not those of this header.
    Sum,
}

impl What {
    /// What to do.
    pub fn remedy(&self) -> &'static str {
        match self {
            What::Corrupt(Corruption::HardState | Corruption::NoHardState) => {
                "restore the directory from a backup of this node, or remove the node from its \
                 cluster and add it as a new one: who forgot its vote must not vote again"
            }
            What::NoSnapshot { .. }
            | What::Corrupt(Corruption::SnapshotHeader | Corruption::SnapshotData) => {
                "restore the snapshot from a backup of this node, or add the node as a new one: \
                 what the snapshot covers is nowhere else in this directory"
            }
            What::Corrupt(Corruption::Foreign) => {
                "move the file away, to where it belongs; `repair` does without it"
            }
            What::Corrupt(_) => {
                "restore the file from a backup, or let `repair` end the log before it and the \
                 leader send the rest again"
            }
            What::Version { .. } => "use a newer build",
            What::Unreadable(_) => {
                "see to the device and the permissions first; nothing is known of the content"
            }
            What::Misnamed { .. } => "give it its name back, if no other file has it",
            What::Slot { .. } => {
                "`repair` writes it again; if it was the newer one of both, a vote is forgotten: \
                 let the node catch up before it votes"
            }
            What::TornTail { .. } => {
                "the next open ends the log here, and so does `repair`; if the record was \
                 acknowledged just before the crash, it is lost: let the node catch up before it \
                 votes"
            }
            What::Record { covered: true, .. } => {
                "let `repair` remove what the snapshot covers anyway"
            }
            What::Record { covered: false, .. } => {
                "restore the file from a backup, or let `repair` end the log before it and the \
                 leader send the rest again"
            }
            What::Chunks { .. } | What::Sum => {
                "let the node save a new snapshot, or get one from its leader, before it is \
                 restarted"
            }
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Corrupt(corruption) => corruption.fmt(f),
            What::Version { found, known } => {
                write!(f, "format version {found}; this build knows up to {known}")
            }
            What::Unreadable(error) => error.fmt(f),
            What::NoSnapshot { last } => write!(
                f,
                "the log goes on behind a snapshot that ended at {last}, which is not here"
            ),
            What::Misnamed { truth } => write!(f, "the header is that of {truth}"),
            What::Slot { term } => {
                write!(
                    f,
                    "a slot of the hard state is bad; the other one says term {term}"
                )
            }
            What::TornTail { index } => write!(
                f,
                "bad record where {index} would be, and nothing newer: a torn tail"
            ),
            What::Record { index, covered } => {
                let where_ = if *covered {
                    " (the snapshot covers it)"
                } else {
                    ""
                };
                write!(f, "record {index} is bad, in the middle of the log{where_}")
            }
            What::Chunks { first, bad: 1 } => write!(f, "chunk {first} is bad"),
            What::Chunks { first, bad } => write!(f, "{bad} chunks are bad, from {first} on"),
            What::Sum => f.write_str("the chunks are not those that the header speaks of"),
        }
    }
}
