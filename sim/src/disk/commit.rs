//! What a sync makes durable beside its own file: with a log, everything that
//! stands in it before.

use afterimage_engine::fs::SyncMode;

use super::keep::{OpId, Part};
use super::names::{Change, NameOp};
use super::pending::FilePending;
use super::profile::{Log, Profile, Tear};
use super::rules::Class;
use super::state::State;

/// How far the log is written with a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commit {
    /// It is not: the file has nothing in it.
    Nothing,
    /// Up to an operation on the file.
    Until(OpId),
    /// All of it: writing the data added to it.
    All,
}

impl State {
    /// What a sync of the file commits, before the sync.
    pub fn commits(&self, inode: u64, mode: SyncMode) -> Commit {
        let profile = self.profile;
        match profile.log {
            Log::None | Log::File => return Commit::Nothing,
            Log::Whole => (),
        }
        let file = self.peek(inode);
        if profile.tear == Tear::Journal && file.has_pending() {
            return Commit::All;
        }
        let pending = FilePending::of(inode, file, self);
        let delayed = pending.at_once.contains(&false);
        if delayed
            || pending
                .traits
                .iter()
                .any(|traits| traits.class == Class::Fresh)
        {
            return Commit::All;
        }
        // The times of the file's last change are in the log, too; a data sync
        // does without them.
        let times = mode == SyncMode::All;
        let lengths = file.lengths.iter().map(|length| length.op);
        let changes = file
            .pending
            .iter()
            .filter(|_| times)
            .map(|version| version.op);
        let names = self.names.pending.iter();
        let names = names.filter(|op| op.change.inode() == Some(inode));
        let names = names.filter(|op| {
            let renamed = matches!(op.change, Change::Rename { .. });
            times || profile.data_sync_persists_rename || !renamed
        });
        let last = lengths.chain(changes).chain(names.map(|op| op.op)).max();
        last.map_or(Commit::Nothing, Commit::Until)
    }

    /// After the sync of the file.
    pub fn commit(&mut self, inode: u64, commit: Commit) {
        if !self.profile.sync_persists_name {
            return;
        }
        match (self.profile.log, commit) {
            (Log::Whole, Commit::Nothing) => (),
            (Log::Whole, Commit::All) if self.profile.tear == Tear::Journal => self.sync_all(),
            (Log::Whole, Commit::All) => self.write_log(|_| true),
            (Log::Whole, Commit::Until(last)) => self.write_log(|op| op <= last),
            (Log::None | Log::File, _) => {
                self.persist_names(|pending| pending.change.inode() == Some(inode));
            }
        }
        self.collect();
    }

    /// Makes names durable, and what goes with them.
    pub fn persist_names(&mut self, mut chosen: impl FnMut(&NameOp) -> bool) {
        if self.profile.log != Log::Whole {
            return self.persist_only_names(chosen);
        }
        let pending = self.names.pending.iter();
        let last = pending.filter(|op| chosen(op)).map(|op| op.op).max();
        if let Some(last) = last {
            match self.profile.tear {
                Tear::Journal => self.write_journal(last),
                _ => self.write_log(|op| op <= last),
            }
        }
    }

    fn persist_only_names(&mut self, chosen: impl FnMut(&NameOp) -> bool) {
        let replacing = self.names.sync(self.profile.names, chosen);
        if self.profile.replace_flushes {
            for (inode, op) in replacing {
                if self.inodes.contains_key(&inode) {
                    self.file(inode).sync_until(op);
                }
            }
        }
    }

    /// Where the data is in the log, it goes with the rest.
    fn write_journal(&mut self, last: OpId) {
        self.persist_only_names(|pending| pending.op <= last);
        let inodes: Vec<u64> = self.inodes.keys().copied().collect();
        for inode in inodes {
            if self.peek(inode).has_pending() {
                self.file(inode).sync_until(last);
            }
        }
    }

    /// Makes the operations in the log durable, as far as they are `written`.
    fn write_log(&mut self, written: impl Fn(OpId) -> bool) {
        self.persist_only_names(|pending| written(pending.op));
        let profile = self.profile;
        let inodes: Vec<u64> = self.inodes.keys().copied().collect();
        for inode in inodes {
            if let Some((place, len)) = self.logged_len(inode, &profile, &written) {
                self.file(inode).log_len(place, len);
            }
        }
    }

    /// The last length of the file that goes with the names, and the place of
    /// the operation that made it.
    fn logged_len(
        &self,
        inode: u64,
        profile: &Profile,
        written: impl Fn(OpId) -> bool,
    ) -> Option<(usize, u64)> {
        let file = self.peek(inode);
        let lengths = file.lengths.iter().enumerate();
        let mut lengths = lengths.filter(|(_, length)| written(length.op)).rev();
        lengths.find_map(|(place, length)| {
            let stages: Vec<(Part, u64, bool)> = length.stages(file, profile);
            let mut logged = stages.iter().rev().filter(|(.., logged)| *logged);
            logged.next().map(|(_, len, _)| (place, *len))
        })
    }
}
