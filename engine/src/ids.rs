//! The three numbers of Raft that must never be mistaken for one another.

use std::fmt;
use std::ops::{Add, Sub};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// The position of an entry in the log. The first entry has index 1; 0 is
    /// the position before it.
    Index
}
number! {
    /// A term of Raft: a logical clock with at most one leader each.
    Term
}
number! {
    /// A member of the cluster.
    NodeId
}

/// No log gets as far as this, and no segment's generation: whatever says so on
/// disk was not written by this engine. There is always a next one.
pub(crate) const NUMBER_MAX: u64 = u64::MAX >> 1;

impl Index {
    /// The index after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Index(self.0 + 1)
    }
    /// The index before this one; 0 stays 0.
    #[must_use]
    pub fn prev(self) -> Self {
        Index(self.0.saturating_sub(1))
    }
}
impl Add<u64> for Index {
    type Output = Index;
    fn add(self, n: u64) -> Index {
        Index(self.0 + n)
    }
}
impl Sub<u64> for Index {
    type Output = Index;
    fn sub(self, n: u64) -> Index {
        Index(self.0 - n)
    }
}
/// The distance between two indexes; the left one must not be the smaller.
impl Sub for Index {
    type Output = u64;
    fn sub(self, other: Index) -> u64 {
        self.0 - other.0
    }
}
impl Term {
    /// The term after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Term(self.0 + 1)
    }
}
