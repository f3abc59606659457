//! A disk and filesystem whose power can be cut.
#![allow(unused_variables, clippy::todo)]

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use afterimage_engine::fs::{File, Fs, Lock};

/// What kind of file operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OpKind {
    Open,
    Create,
    Read,
    Write,
    Len,
    SetLen,
    Allocate,
    Sync,
    Rename,
    Unlink,
    List,
    CreateDir,
    SyncDir,
    Lock,
}
impl OpKind {
    /// Whether it changes the disk's state or makes it durable; crash points
    /// and operation numbers count these only.
    pub fn mutates(self) -> bool {
        !matches!(
            self,
            OpKind::Open | OpKind::Read | OpKind::Len | OpKind::List | OpKind::Lock
        )
    }
}

/// One file operation that was carried out (or failed).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpRecord {
    /// Number among this incarnation's mutating operations, from 1; for others
    /// the number of the latest mutating one.
    pub n: u64,
    pub kind: OpKind,
    /// Relative to the disk's root.
    pub path: String,
    /// The new name of a rename.
    pub to: Option<String>,
    pub offset: u64,
    pub len: u64,
    pub outcome: OpOutcome,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpOutcome {
    Ok,
    /// An ordinary answer such as NotFound or AlreadyExists.
    Refused(io::ErrorKind),
    /// An injected fault.
    Injected(FaultKind),
    /// The power went before, in the middle of or right after it.
    Crash(CrashPoint),
    /// The handle belongs to an incarnation that is gone.
    Fenced,
}

/// Injected runtime faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    Eio,
    Enospc,
    Short,
}

/// Where in the operation the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CrashPoint {
    Before,
    /// In the middle: some of a write's sectors reached the cache's writeback.
    Mid,
    /// Done, but the caller never learns of it.
    After,
}

/// Which operations a trigger counts: `write`, `sync:log-*`, `rename:snapshot`
/// (a rename by its new name), `*`. Text form as shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    pub kind: Option<OpKind>,
    /// `*` matches any run of characters.
    pub name: String,
}

/// The `nth` (from 1) matching mutating operation from now on, or after the
/// next boot where the plan says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrashTrigger {
    pub pattern: Pattern,
    pub nth: u64,
    pub point: CrashPoint,
}

/// The `nth` matching operation (reads included) fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailTrigger {
    pub pattern: Pattern,
    pub nth: u64,
    pub fault: FaultKind,
}

/// The fate of the pending effects at a power cut: what is kept; everything
/// else is lost. Text form: see `keep.rs`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keep {}
impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}
impl FromStr for Keep {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        todo!()
    }
}

/// How the fates are chosen.
#[derive(Debug, Clone)]
pub enum Fates {
    /// Nothing pending survives.
    Lose,
    /// Everything pending survives.
    KeepAll,
    /// Chosen by this seed.
    Random(u64),
    /// As written down.
    Explicit(Keep),
}

/// What a power cut did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CrashReport {
    /// One line for each pending effect, kept or lost.
    pub fates: Vec<String>,
    pub keep: Keep,
    /// Whether an image changed or cached state was lost: otherwise the cut
    /// had no effect.
    pub lost: usize,
    pub kept: usize,
    /// A write of several sectors of which some were kept and some lost, by
    /// the file's name: (name, is a torn write).
    pub torn: Vec<String>,
}

/// A simulated disk. Clones of the handle share it; [`SimFs::fork`] copies it.
#[derive(Debug, Clone)]
pub struct SimFs {}
impl SimFs {
    /// An empty disk. `seed` drives what is not in a plan: the order of `list`,
    /// evictions, the content of garbage.
    pub fn new(seed: u64) -> Self {
        todo!()
    }
    /// A handle for a new incarnation of the process: all older handles (and
    /// files opened through them) fail with a distinguished error from now on.
    /// Locks of older incarnations are released.
    pub fn boot(&self) -> Arc<dyn Fs> {
        todo!()
    }
    /// The process died, the machine did not: the cache lives on.
    pub fn kill(&self) {
        todo!()
    }
    /// The power is cut now.
    pub fn power_cut(&self, fates: &Fates) -> CrashReport {
        todo!()
    }
    /// Arms a power cut. When it fires, the operation and all later ones fail,
    /// and [`SimFs::crash_fired`] is true; the owner then calls `power_cut`.
    pub fn arm_crash(&self, trigger: CrashTrigger) {
        todo!()
    }
    pub fn disarm_crash(&self) {
        todo!()
    }
    pub fn crash_fired(&self) -> bool {
        todo!()
    }
    pub fn arm_fail(&self, trigger: FailTrigger) {
        todo!()
    }
    /// Forgets all armed failures; the number of those that never fired.
    pub fn disarm_fails(&self) -> usize {
        todo!()
    }
    /// No space beyond what is allocated now plus `bytes`; `None`: no limit.
    pub fn limit_space(&self, bytes: Option<u64>) {
        todo!()
    }
    /// Reads and writes stop short with this probability.
    pub fn short_io(&self, ratio: crate::rng::Ratio) {
        todo!()
    }
    /// Drops clean and lying pages: cached reads now show what the disk has.
    pub fn evict(&self) {
        todo!()
    }
    /// The operations since the last call.
    pub fn take_ops(&self) -> Vec<OpRecord> {
        todo!()
    }
    /// Whether to record operations for `take_ops` (off by default).
    pub fn record_ops(&self, on: bool) {
        todo!()
    }
    /// All operations so far, of all incarnations.
    pub fn op_count(&self) -> u64 {
        todo!()
    }
    /// An independent copy, pending effects and cache included.
    pub fn fork(&self) -> SimFs {
        todo!()
    }
}
#[allow(dead_code)]
fn unused(_: &Path, _: &dyn File, _: &dyn Lock) {}
