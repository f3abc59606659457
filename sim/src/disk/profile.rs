//! What a kind of filesystem may do at a power cut, as a column of knobs.
//!
//! A knob stands for a mechanism of the filesystem, and its documentation names
//! the source: *recorded* means our recordings of Linux 6.18, of which some are
//! in `sim/tests/data`. How well the columns fit is what `afterimage litmus`
//! says; `docs/crash-model.md` has them side by side.

use std::fmt;
use std::str::FromStr;

/// The knobs. The default is [`Profile::POSIX_WORST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    pub name: &'static str,
    /// In one line.
    pub about: &'static str,
    pub names: NameOrder,
    pub log: Log,
    pub tear: Tear,
    pub growth: Growth,
    pub fresh: FreshBlock,
    /// Whether a sync of a file also makes the operation durable that gave it
    /// its name. POSIX does not ask for it, all of Linux' do (recorded).
    pub sync_persists_name: bool,
    /// Whether that goes for a data sync that had nothing but overwritten
    /// blocks to write. ext4 then writes no transaction, and the file may still
    /// have its old name; xfs and btrfs log the inode (recorded).
    pub data_sync_persists_rename: bool,
    /// Whether a rename onto an existing name starts to write the file's data,
    /// so that the name never shows less than the old or the new file: ext4's
    /// `auto_da_alloc`, and `filemap_flush` in `btrfs_rename` (recorded).
    pub replace_flushes: bool,
}

impl Profile {
    /// All that POSIX permits.
    pub const POSIX_WORST: Profile = Profile {
        name: "posix-worst",
        about: "all that POSIX permits; the default",
        names: NameOrder::Free,
        log: Log::None,
        tear: Tear::Sector,
        growth: Growth::Free,
        fresh: FreshBlock::Garbage,
        sync_persists_name: false,
        data_sync_persists_rename: false,
        replace_flushes: false,
    };

    pub const EXT4_ORDERED: Profile = Profile {
        name: "ext4-ordered",
        about: "ext4 as it is mounted by default",
        names: NameOrder::Prefix,
        log: Log::Whole,
        tear: Tear::Block,
        growth: Growth::InBlock,
        fresh: FreshBlock::Zeros,
        sync_persists_name: true,
        data_sync_persists_rename: false,
        replace_flushes: true,
    };

    pub const EXT4_WRITEBACK: Profile = Profile {
        name: "ext4-writeback",
        about: "ext4 with data=writeback",
        fresh: FreshBlock::Stale,
        ..Profile::EXT4_ORDERED
    };

    pub const EXT4_NOAUTODA: Profile = Profile {
        name: "ext4-noautoda",
        about: "ext4 with noauto_da_alloc",
        replace_flushes: false,
        ..Profile::EXT4_ORDERED
    };

    /// The data goes through the journal, in its place among the names.
    pub const EXT4_JOURNAL: Profile = Profile {
        name: "ext4-journal",
        about: "ext4 with data=journal",
        tear: Tear::Journal,
        growth: Growth::Journal,
        data_sync_persists_rename: true,
        replace_flushes: false,
        ..Profile::EXT4_ORDERED
    };

    pub const XFS: Profile = Profile {
        name: "xfs",
        about: "xfs as it is mounted by default",
        growth: Growth::WithData,
        fresh: FreshBlock::Hidden,
        data_sync_persists_rename: true,
        replace_flushes: false,
        ..Profile::EXT4_ORDERED
    };

    pub const BTRFS: Profile = Profile {
        name: "btrfs",
        about: "btrfs as it is mounted by default",
        names: NameOrder::Free,
        log: Log::File,
        tear: Tear::Write,
        growth: Growth::WithData,
        fresh: FreshBlock::Hidden,
        sync_persists_name: true,
        data_sync_persists_rename: true,
        replace_flushes: true,
    };

    /// Every profile, the default first.
    pub const ALL: [Profile; 7] = [
        Profile::POSIX_WORST,
        Profile::EXT4_ORDERED,
        Profile::EXT4_WRITEBACK,
        Profile::EXT4_NOAUTODA,
        Profile::EXT4_JOURNAL,
        Profile::XFS,
        Profile::BTRFS,
    ];

    pub fn by_name(name: &str) -> Option<Profile> {
        Profile::ALL
            .into_iter()
            .find(|profile| profile.name == name)
    }

    /// Their names, as an error message lists them.
    pub fn names() -> String {
        Profile::ALL.map(|profile| profile.name).join(", ")
    }
}

impl Default for Profile {
    fn default() -> Self {
        Profile::POSIX_WORST
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("no profile {text:?}; there are {}", Profile::names());
        Profile::by_name(text).ok_or_else(unknown)
    }
}

/// In which order name operations persist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameOrder {
    /// Independently, except that operations on one name persist in order. btrfs
    /// does it where its log tree is replayed (ALICE; not seen in recordings).
    Free,
    /// As a prefix of all operations: ext4's journal and xfs' log write them in
    /// order (recorded; jbd2 merges all that run at a time into a transaction).
    Prefix,
}

/// What shares one order with the name operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// Nothing: each length and sector persists by itself.
    None,
    /// Within each file, a length that was set, and the data written later:
    /// btrfs inserts an extent into its trees when its data is written, on top
    /// of what was done to the file before.
    File,
    /// A length that was set, the blocks that it freed, and blocks that were
    /// added: all are entries of one log, and a sync of a file that has any of
    /// them writes the log up to there, with the names of other files (recorded
    /// on ext4 and xfs: a sync of a file that grew commits earlier renames).
    Whole,
}

/// What persists of an overwritten range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tear {
    /// Any of its sectors.
    Sector,
    /// Any of its blocks of 4096 bytes, each at least from its start up to some
    /// sector: data is overwritten in place, a block is one command to the disk,
    /// and a command is carried out from its first sector on (recorded on ext4
    /// and xfs: every torn block has its first sectors new).
    Block,
    /// All of what one write wrote or nothing: it is written elsewhere, and one
    /// change of a tree shows it (recorded on btrfs).
    Write,
    /// As `Write`, in one order with all other operations; a long write may end
    /// after any of its blocks, for each has a journal handle of its own
    /// (recorded on ext4 with data=journal, but for the blocks).
    Journal,
}

/// When the new length of a file that grew by writing persists. (One that was
/// set goes with the names, unless there is no [`Log`].)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// Whenever, block by block.
    Free,
    /// At once, with the names, as far as the block reaches that the file ended
    /// in, although the data waits in the cache: `ext4_da_do_write_end` updates
    /// the size on disk where the block is mapped already, so that zeros stand
    /// there (recorded). Beyond it when the new blocks are allocated, which
    /// delayed allocation does at write-back.
    InBlock,
    /// With the data: xfs and btrfs update the size on disk when the write has
    /// completed (recorded: no zeros in the tail).
    WithData,
    /// With the data, in the journal, block by block.
    Journal,
}

/// What a newly allocated sector shows whose data did not persist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreshBlock {
    /// It is not part of the file yet: xfs converts the unwritten extent, btrfs
    /// inserts it, when its data is written.
    Hidden,
    /// Zeros: with `dioread_nolock`, its default since 5.6, ext4 adds new blocks
    /// as unwritten extents, and the length may be durable before these are
    /// converted.
    Zeros,
    /// Zeros, or bytes of older files, if the blocks were added as written ones
    /// and nothing orders the data before the journal (ext4's documentation of
    /// data=writeback).
    Stale,
    /// Zeros, or bytes of older files, or anything.
    Garbage,
}

impl FreshBlock {
    /// Whether it may show bytes that were never written to the file.
    pub(super) fn shows_others(self) -> bool {
        matches!(self, FreshBlock::Stale | FreshBlock::Garbage)
    }
}
