//! A disk and filesystem whose power can be cut.
//!
//! [`SimFs`] is what the engine writes to in a simulation, and what decides
//! what is left after a crash. Names and inodes are separate. An inode has what
//! the disk holds, what the cache shows, and the effects pending in between;
//! so does the namespace. The rules, each with a test of its name in `tests`:
//!
//! 1. A sync that returned `Ok` makes its scope durable: of a file its data and
//!    length, of a directory its names; nothing else. Not the name of a new
//!    file, not another file.
//! 2. Each 512-byte sector takes any version that it had between the durable
//!    one and the latest, independently of the others.
//! 3. Name operations persist in any order, but for those on the same name. A
//!    rename changes both names or none.
//! 4. The length persists independently of the data, and may be one from the
//!    middle of a long write. A newly allocated sector without its data shows
//!    zeros or stale bytes of older files.
//! 5. A killed process loses nothing of the cache; a power cut resolves all.
//! 6. The crash may come between two operations, and in the middle of one.
//! 7. After either, the handles of the old incarnation fail and change nothing.
//!
//! What is not in a plan (the order of `list`, where a short read ends, which
//! sectors a torn write landed) follows from the disk's seed and the number of
//! the operation by hashing: it is the same whatever else was drawn.

mod commit;
mod crash;
mod cutter;
mod decay;
mod error;
mod fates;
mod freed;
mod handle;
mod image;
mod inode;
mod keep;
mod names;
mod op;
mod ops;
mod pending;
mod profile;
mod reach;
mod report;
mod resolve;
mod rules;
mod state;
mod trigger;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use afterimage_engine::fs::Fs;
use xxhash_rust::xxh3::xxh3_64;

pub use cutter::Cutter;
pub use decay::{Damage, DamageKind};
pub(crate) use error::{is_corruption, is_excused};
pub use error::{is_fenced, is_injected, is_power_lost};
pub use fates::Fates;
pub use keep::{Keep, OpId, Part, Unit};
pub use op::{CrashPoint, FaultKind, OpKind, OpOutcome, OpRecord};
pub use profile::{FreshBlock, Growth, Log, NameOrder, Profile, Tear};
pub use report::CrashReport;
pub use trigger::{CrashTrigger, FailTrigger, Pattern};

use handle::{Incarnation, Shared};
use names::{Names, Node};
use state::State;

/// A simulated disk. Clones of the handle share it; [`SimFs::fork`] copies it.
#[derive(Clone)]
pub struct SimFs {
    disk: Shared,
}

impl fmt::Debug for SimFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFs").finish_non_exhaustive()
    }
}

impl SimFs {
    /// An empty disk. `seed` drives what is not in a plan: the order of `list`,
    /// where short operations end, the content of garbage.
    pub fn new(seed: u64) -> Self {
        SimFs::with_profile(seed, Profile::default())
    }

    /// An empty disk of another profile than posix-worst.
    pub fn with_profile(seed: u64, profile: Profile) -> Self {
        SimFs::of(State::new(seed, profile))
    }

    fn of(state: State) -> Self {
        SimFs {
            disk: Shared::new(state),
        }
    }

    /// A handle for a new incarnation of the process: all older handles (and
    /// files opened through them) fail with a distinguished error from now on,
    /// see [`is_fenced`]. Locks of older incarnations are released.
    ///
    /// # Panics
    /// When an armed crash fired and [`SimFs::power_cut`] was not called since.
    pub fn boot(&self) -> Arc<dyn Fs> {
        let epoch = self.disk.state().boot();
        Arc::new(Incarnation::new(self.disk.clone(), epoch))
    }

    /// The process died, the machine did not: the cache lives on. Where an armed
    /// crash fired, it was the process that died there, and not the power.
    pub fn kill(&self) {
        let mut state = self.disk.state();
        state.power_lost = false;
        state.stop();
    }

    /// The power is cut now, or was when an armed crash fired. Everything that
    /// was pending is durable or gone; the handles are fenced.
    ///
    /// After an error that made the filesystem read-only all of it is gone,
    /// whatever the fates.
    pub fn power_cut(&self, fates: &Fates) -> CrashReport {
        self.resolve(fates, true)
    }

    /// The same without the report, in about half the time.
    pub fn power_cut_unreported(&self, fates: &Fates) {
        self.resolve(fates, false);
    }

    fn resolve(&self, fates: &Fates, wanted: bool) -> CrashReport {
        let mut state = self.disk.state();
        match state.read_only {
            true => state.power_cut(&Fates::Lose, wanted),
            false => state.power_cut(fates, wanted),
        }
    }

    /// Everything that is pending, in the order of the operations: the units
    /// that [`Fates::Explicit`] can keep. Superseded versions are included;
    /// of several kept versions of one sector the latest is taken.
    pub fn pending(&self) -> Vec<Unit> {
        let state = self.disk.state();
        match state.read_only {
            true => Vec::new(),
            false => state.pending(),
        }
    }

    /// A sync of the whole filesystem: everything but pages that lie after a
    /// failed sync is durable. Not an operation of the process: it has no
    /// number and meets no fault.
    pub fn sync_all(&self) {
        self.disk.state().sync_all();
    }
}

/// Faults.
impl SimFs {
    /// Arms a power cut, instead of one armed before. When it fires, the
    /// operation and all later ones fail (see [`is_power_lost`]), and
    /// [`SimFs::crash_fired`] is true; the owner then calls `power_cut`.
    pub fn arm_crash(&self, trigger: CrashTrigger) {
        self.disk.state().armed.arm_crash(trigger);
    }

    pub fn disarm_crash(&self) {
        self.disk.state().armed.disarm_crash();
    }

    /// Whether an armed power cut fired, and [`SimFs::power_cut`] is due.
    pub fn crash_fired(&self) -> bool {
        self.disk.state().power_lost
    }

    /// Arms a failure, besides those armed already.
    pub fn arm_fail(&self, trigger: FailTrigger) {
        self.disk.state().armed.arm_fail(trigger);
    }

    /// Forgets all armed failures; the number of those that never fired.
    pub fn disarm_fails(&self) -> usize {
        self.disk.state().armed.disarm_fails()
    }

    /// No space beyond what is allocated now plus `bytes`; `None`: no limit.
    /// Space is counted in sectors of 512 bytes; names take none, but no file
    /// can be created on a full disk.
    pub fn limit_space(&self, bytes: Option<u64>) {
        self.disk.state().limit_space(bytes);
    }

    /// Reads and writes stop short with this probability.
    pub fn short_io(&self, ratio: crate::rng::Ratio) {
        self.disk.state().short = ratio;
    }

    /// Whether files can be written through ([`File::write_through`]), within their
    /// length: then that is a write and a sync, with a crash point between. Off at
    /// first, and not changed by a crash.
    ///
    /// [`File::write_through`]: afterimage_engine::fs::File::write_through
    pub fn direct_io(&self, on: bool) {
        self.disk.state().direct = on;
    }

    /// Drops clean and lying pages: cached reads now show what the disk has. Whether
    /// that is something else.
    pub fn evict(&self) -> bool {
        self.disk.state().evict()
    }

    /// Harms what the disk holds, behind the cache's back; `draw` chooses what
    /// the damage leaves open. The damage with its place, or `None` if there is
    /// no such place.
    pub fn damage(&self, damage: &Damage, draw: u64) -> Option<Damage> {
        self.disk.state().damage(damage, draw)
    }

    /// Whether an error made the filesystem read-only.
    pub fn is_read_only(&self) -> bool {
        self.disk.state().read_only
    }
}

/// Looking on.
impl SimFs {
    /// The operations since the last call.
    pub fn take_ops(&self) -> Vec<OpRecord> {
        std::mem::take(&mut self.disk.state().records)
    }

    /// The operations since the last call, into a buffer that is used again: it
    /// must be empty.
    pub fn swap_ops(&self, empty: &mut Vec<OpRecord>) {
        assert!(empty.is_empty(), "what was taken before is still there");
        std::mem::swap(&mut self.disk.state().records, empty);
    }

    /// Whether to record operations for `take_ops` (off by default).
    pub fn record_ops(&self, on: bool) {
        self.disk.state().recording = on;
    }

    /// Whether to keep a copy of the disk from before each mutating operation
    /// (off by default), for [`SimFs::take_captures`].
    pub fn capture(&self, on: bool) {
        self.disk.state().capturing = on;
    }

    /// The disks from before the mutating operations since the last call.
    pub fn take_captures(&self) -> Vec<Capture> {
        let captures = std::mem::take(&mut self.disk.state().captures);
        captures.into_iter().map(Capture::of).collect()
    }

    /// Captures carry the latest mark: how far its owner had come by then.
    pub fn mark(&self, mark: u64) {
        self.disk.state().mark = mark;
    }

    /// All operations so far, of all incarnations. Those that were fenced, or
    /// came after the power went, do not count.
    pub fn op_count(&self) -> u64 {
        self.disk.state().calls
    }

    /// An independent copy, pending effects and cache included. It costs a few
    /// pointers for each file. What belongs to the process or to the plan is
    /// not copied: handles, armed faults, limits, recorded operations.
    pub fn fork(&self) -> SimFs {
        SimFs::of(self.disk.state().fork())
    }

    /// What would be left of each file if all that is pending were lost.
    pub fn durable_files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.disk.state();
        files(&state, &names::reachable(&state.names.disk), |file| {
            file.disk.content(file.disk_len)
        })
    }

    /// What a process reads now.
    pub fn cached_files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.disk.state();
        files(&state, &state.names.cache, |file| {
            file.cache.content(file.cache_len)
        })
    }

    /// A hash of what [`SimFs::durable_files`] and [`SimFs::cached_files`] show,
    /// and of the directories. It costs the number of names: the hashes of the
    /// contents are kept up to date by each write. Which sectors are unreadable
    /// is not in it.
    pub fn image_hash(&self) -> u64 {
        let state = self.disk.state();
        let disk = names_hash(&names::reachable(&state.names.disk), |inode| {
            let file = &state.inodes[&inode];
            (file.disk_len, file.disk.hash())
        });
        let cache = names_hash(&state.names.cache, |inode| {
            let file = &state.inodes[&inode];
            (file.cache_len, file.cache.hash())
        });
        crate::rng::hash(&[disk, cache])
    }
}

/// The disk as it was right before a mutating operation. A power cut of it is
/// one between this operation and the one before, and also one in the middle of
/// that: whatever such a one leaves is a choice among what is pending here.
#[derive(Debug, Clone)]
pub struct Capture {
    pub disk: SimFs,
    /// The operation's number within its incarnation, from 1.
    pub n: u32,
    pub kind: OpKind,
    pub path: Arc<str>,
    /// The new name of a rename.
    pub to: Option<Arc<str>>,
    /// See [`SimFs::mark`].
    pub mark: u64,
}

impl Capture {
    fn of(capture: state::Capture) -> Self {
        let state::Capture {
            state,
            n,
            kind,
            path,
            to,
            mark,
        } = capture;
        Capture {
            disk: SimFs::of(state),
            n,
            kind,
            path,
            to,
            mark,
        }
    }
}

fn files(
    state: &State,
    names: &Names,
    content: impl Fn(&inode::Inode) -> Vec<u8>,
) -> BTreeMap<String, Vec<u8>> {
    let files = names.iter().filter_map(|(name, node)| match node {
        Node::File(inode) => Some((name.to_string(), content(&state.inodes[inode]))),
        Node::Dir => None,
    });
    files.collect()
}

fn names_hash(names: &Names, content: impl Fn(u64) -> (u64, u64)) -> u64 {
    let each = names.iter().map(|(name, node)| {
        let file = match node {
            Node::File(inode) => Some(content(*inode)),
            Node::Dir => None,
        };
        name_hash(xxh3_64(name.as_bytes()), file)
    });
    each.fold(0, |all, one| all ^ one)
}

/// A name's part in the hash of an image: of a file with its length and hash.
fn name_hash(name: u64, file: Option<(u64, u64)>) -> u64 {
    // No file is as long as a directory.
    let (len, content) = file.unwrap_or((u64::MAX, 0));
    crate::rng::hash(&[name, len, content])
}
