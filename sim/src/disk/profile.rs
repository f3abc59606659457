//! What a kind of filesystem may do at a power cut, as a column of knobs.

/// The knobs. Data is torn at 512 bytes in every profile, and the size of a
/// file persists independently of its data; what differs is below. The default
/// is [`Profile::POSIX_WORST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    pub name: &'static str,
    pub names: NameOrder,
    pub fresh: FreshBlock,
    /// Whether a sync of a file also makes the operation durable that gave it
    /// its name.
    pub sync_persists_name: bool,
}

impl Profile {
    /// All that POSIX permits.
    pub const POSIX_WORST: Profile = Profile {
        name: "posix-worst",
        names: NameOrder::Free,
        fresh: FreshBlock::Garbage,
        sync_persists_name: false,
    };
}

impl Default for Profile {
    fn default() -> Self {
        Profile::POSIX_WORST
    }
}

/// In which order name operations persist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameOrder {
    /// Independently, except that operations on one name persist in order.
    Free,
    /// As a prefix of all operations.
    Prefix,
}

/// What a newly allocated sector shows whose data did not persist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreshBlock {
    Zeros,
    /// Zeros, or bytes of older files, or anything.
    Garbage,
}
