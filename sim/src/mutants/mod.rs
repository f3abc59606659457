//! Known bugs of real systems, planted in the engine on request, to prove that
//! the harness bites.
//!
//! Where a wrapper around the filesystem can plant a bug, it does ([`wrap`]);
//! the others are a runtime value inside the engine.

mod fs;

use std::sync::Arc;

use afterimage_engine::fs::Fs;
use afterimage_engine::mutant::Mutants;

#[cfg(feature = "mutants")]
use afterimage_engine::mutant::Mutant;

/// One planted bug.
#[derive(Debug, Clone, Copy)]
pub struct MutantInfo {
    pub name: &'static str,
    /// The system and issue that had it.
    pub source: &'static str,
    /// What is wrong, in one line.
    pub what: &'static str,
    pub plant: Plant,
}

/// How it is planted.
#[derive(Debug, Clone, Copy)]
pub enum Plant {
    /// A decision inside the engine is changed.
    #[cfg(feature = "mutants")]
    Engine(Mutant),
    /// A wrapper around the filesystem drops or changes operations.
    Fs(FsBug),
}

/// What the wrapper does wrong. Names are those of files, `*` matching any run
/// of characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FsBug {
    /// `sync_dir` does nothing after a rename to such a name.
    NoDirSyncAfter(&'static str),
    /// `sync` of files of such a name does nothing.
    NoSync(&'static str),
}

const CATALOGUE: &[MutantInfo] = &[
    MutantInfo {
        name: "segment-name-not-synced",
        source: "etcd #6368, KAFKA-3968, braft #254",
        what: "no directory sync after a new segment is renamed into place",
        plant: Plant::Fs(FsBug::NoDirSyncAfter("log-*")),
    },
    MutantInfo {
        name: "snapshot-name-not-synced",
        source: "etcd #22314",
        what: "no directory sync after a snapshot is renamed into place",
        plant: Plant::Fs(FsBug::NoDirSyncAfter("snapshot")),
    },
    MutantInfo {
        name: "hard-state-not-synced",
        source: "KAFKA-16541",
        what: "the vote's file is written but not synced",
        plant: Plant::Fs(FsBug::NoSync("hardstate")),
    },
    MutantInfo {
        name: "ack-before-sync",
        source: "openraft #2118",
        what: "appended entries are acknowledged without a sync",
        plant: Plant::Fs(FsBug::NoSync("log-*")),
    },
    MutantInfo {
        name: "segment-renamed-before-sync",
        source: "raft-engine #219",
        what: "a new segment gets its name before its header and records are synced",
        plant: Plant::Fs(FsBug::NoSync("segment-*")),
    },
    #[cfg(feature = "mutants")]
    MutantInfo {
        name: "snapshot-renamed-before-sync",
        source: "hashicorp/raft #229",
        what: "a snapshot gets its name before its data is synced",
        plant: Plant::Engine(Mutant::SnapshotRenamedBeforeSync),
    },
    #[cfg(feature = "mutants")]
    MutantInfo {
        name: "roll-skips-sync",
        source: "raft-engine #123, RATIS-587",
        what: "the old segment's last records are not synced before the new one is used",
        plant: Plant::Engine(Mutant::RollSkipsSync),
    },
    #[cfg(feature = "mutants")]
    MutantInfo {
        name: "append-after-cut",
        source: "etcd #6267, raft-wal's protocol, Keeper #75197",
        what: "truncated or torn records are overwritten in place",
        plant: Plant::Engine(Mutant::AppendAfterCut),
    },
    #[cfg(feature = "mutants")]
    MutantInfo {
        name: "recover-without-copy",
        source: "crash-model finding: kill, restart, power cut",
        what: "recovery acknowledges a tail that only the cache has",
        plant: Plant::Engine(Mutant::RecoverWithoutCopy),
    },
    #[cfg(feature = "mutants")]
    MutantInfo {
        name: "accept-torn-record",
        source: "raft-engine #319",
        what: "a record with a good header and torn data is accepted",
        plant: Plant::Engine(Mutant::AcceptTornRecord),
    },
    #[cfg(feature = "mutants")]
    MutantInfo {
        name: "believe-second-sync",
        source: "CockroachDB #37102",
        what: "a sync that failed is tried again, and its success believed",
        plant: Plant::Engine(Mutant::RetryFailedSync),
    },
    #[cfg(feature = "mutants")]
    MutantInfo {
        name: "clean-before-snapshot",
        source: "NATS #7043, #8425",
        what: "the log is purged before the snapshot that covers it is durable",
        plant: Plant::Engine(Mutant::CleanBeforeSnapshotDurable),
    },
    #[cfg(feature = "mutants")]
    MutantInfo {
        name: "clean-too-much",
        source: "RATIS-1763, BookKeeper #4740",
        what: "the cleaner also removes segments that the snapshot does not cover",
        plant: Plant::Engine(Mutant::CleanTooMuch),
    },
    #[cfg(feature = "mutants")]
    MutantInfo {
        name: "older-snapshot-replaces",
        source: "hashicorp/raft #85, #395",
        what: "a save that finishes late replaces a newer, installed snapshot",
        plant: Plant::Engine(Mutant::OlderSnapshotReplaces),
    },
    #[cfg(feature = "mutants")]
    MutantInfo {
        name: "install-keeps-old-log",
        source: "dqlite-raft #373",
        what: "a discarding install leaves the old log's segments alive",
        plant: Plant::Engine(Mutant::InstallKeepsOldLog),
    },
    #[cfg(feature = "mutants")]
    MutantInfo {
        name: "vote-before-durable",
        source: "Raft, figure 2; NATS #7698",
        what: "a vote is answered before it is durable",
        plant: Plant::Engine(Mutant::VoteBeforeDurable),
    },
    #[cfg(feature = "mutants")]
    MutantInfo {
        name: "vote-not-persisted",
        source: "Keeper #113654",
        what: "a vote is never written to the disk",
        plant: Plant::Engine(Mutant::VoteNotPersisted),
    },
    #[cfg(feature = "mutants")]
    MutantInfo {
        name: "vote-twice",
        source: "NATS #7698",
        what: "a second vote is granted in the same term",
        plant: Plant::Engine(Mutant::VoteTwice),
    },
    #[cfg(feature = "mutants")]
    MutantInfo {
        name: "vote-without-log-check",
        source: "Raft, 5.4.1",
        what: "a vote is granted to a candidate whose log is behind",
        plant: Plant::Engine(Mutant::VoteWithoutLogCheck),
    },
    #[cfg(feature = "mutants")]
    MutantInfo {
        name: "follower-acks-early",
        source: "openraft #2118, etcd's async storage rule",
        what: "a follower acknowledges entries that are not durable",
        plant: Plant::Engine(Mutant::FollowerAcksEarly),
    },
    #[cfg(feature = "mutants")]
    MutantInfo {
        name: "commit-old-term",
        source: "Raft, figure 8",
        what: "an entry of an older term is committed by counting replicas",
        plant: Plant::Engine(Mutant::CommitOldTerm),
    },
    #[cfg(feature = "mutants")]
    MutantInfo {
        name: "read-without-quorum",
        source: "Raft thesis, 6.4",
        what: "a read is served without asking a quorum who leads",
        plant: Plant::Engine(Mutant::ReadWithoutQuorum),
    },
];

/// All of them.
pub fn catalogue() -> &'static [MutantInfo] {
    CATALOGUE
}

/// The one with this name.
pub fn find(name: &str) -> Option<&'static MutantInfo> {
    CATALOGUE.iter().find(|m| m.name == name)
}

impl MutantInfo {
    /// The engine's share of it.
    pub fn engine(&self) -> Mutants {
        match self.plant {
            #[cfg(feature = "mutants")]
            Plant::Engine(mutant) => Mutants::plant(mutant),
            Plant::Fs(_) => Mutants::NONE,
        }
    }

    /// The filesystem's share of it.
    pub fn fs_bug(&self) -> Option<FsBug> {
        match self.plant {
            Plant::Fs(bug) => Some(bug),
            #[cfg(feature = "mutants")]
            Plant::Engine(_) => None,
        }
    }
}

/// The filesystem with this bug, if any.
pub fn wrap(fs: Arc<dyn Fs>, bug: Option<FsBug>) -> Arc<dyn Fs> {
    match bug {
        Some(bug) => Arc::new(fs::Buggy::new(fs, bug)),
        None => fs,
    }
}
