//! Names and directories: what the disk has, what the cache shows, and the
//! operations in between.
//!
//! A name is like a sector: it takes any version of its binding between the
//! durable one and the latest. A rename changes two names in one version. So
//! the operations that a crash keeps are any subset that, with an operation,
//! holds every earlier one on the same names: the entry that a rename removed
//! can be created again only on top of that rename.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::keep::OpId;
use super::profile::NameOrder;

/// What a name is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    File(u64),
    Dir,
}

/// Names by their path relative to the root, without the root itself. A
/// directory sorts before what is in it.
pub(super) type Names = BTreeMap<Arc<str>, Node>;

/// One pending operation.
#[derive(Debug, Clone)]
pub(super) struct NameOp {
    pub op: OpId,
    pub change: Change,
    /// A rename onto a name that there was.
    replaces: bool,
}

impl NameOp {
    /// The file that a rename put in the place of another.
    pub fn replaces_with(&self) -> Option<u64> {
        self.change.inode().filter(|_| self.replaces)
    }
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Link {
        name: Arc<str>,
        node: Node,
    },
    Unlink {
        name: Arc<str>,
    },
    /// Of a file only.
    Rename {
        from: Arc<str>,
        to: Arc<str>,
        inode: u64,
    },
}

impl Change {
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        let (one, other) = match self {
            Change::Link { name, .. } | Change::Unlink { name } => (name, None),
            Change::Rename { from, to, .. } => (from, Some(to)),
        };
        std::iter::once(one).chain(other)
    }

    fn shares_a_name_with(&self, other: &Change) -> bool {
        self.names()
            .any(|name| other.names().any(|theirs| theirs == name))
    }

    pub fn is_in(&self, dir: &str) -> bool {
        self.names().any(|name| parent(name) == dir)
    }

    pub fn inode(&self) -> Option<u64> {
        match self {
            Change::Link { node, .. } => match node {
                Node::File(inode) => Some(*inode),
                Node::Dir => None,
            },
            Change::Rename { inode, .. } => Some(*inode),
            Change::Unlink { .. } => None,
        }
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Change::Link { name, node } => {
                names.insert(name.clone(), *node);
            }
            Change::Unlink { name } => {
                names.remove(name);
            }
            Change::Rename { from, to, inode } => {
                names.remove(from);
                names.insert(to.clone(), Node::File(*inode));
            }
        }
    }
}

/// All names.
#[derive(Debug, Clone, Default)]
pub(super) struct Namespace {
    pub disk: Names,
    pub cache: Names,
    /// In the order of the operations.
    pub pending: Vec<NameOp>,
}

impl Namespace {
    /// Changes the cache; the change is pending until its directory is synced.
    pub fn change(&mut self, op: OpId, change: Change) {
        let replaces = match &change {
            Change::Rename { to, .. } => self.cache.contains_key(to),
            _ => false,
        };
        change.apply(&mut self.cache);
        self.pending.push(NameOp {
            op,
            change,
            replaces,
        });
    }

    /// Makes operations durable: those for which `chosen` says so, and what
    /// they build on. The files that came in the place of others thereby, with
    /// the operation.
    pub fn sync(
        &mut self,
        order: NameOrder,
        chosen: impl FnMut(&NameOp) -> bool,
    ) -> Vec<(u64, OpId)> {
        let mut kept: Vec<bool> = self.pending.iter().map(chosen).collect();
        self.pull_in(order, &mut kept);
        self.apply(&kept);
        let mut kept = kept.into_iter();
        let mut replacing = Vec::new();
        self.pending.retain(|pending| {
            let durable = kept.next() == Some(true);
            if durable {
                replacing.extend(pending.replaces_with().map(|inode| (inode, pending.op)));
            }
            !durable
        });
        replacing
    }

    fn apply(&mut self, kept: &[bool]) {
        for (pending, kept) in self.pending.iter().zip(kept) {
            if *kept {
                pending.change.apply(&mut self.disk);
            }
        }
    }

    /// The names that are left if only the operations in `kept` have happened.
    pub fn outcome(&self, kept: &[bool]) -> Names {
        let mut names = self.disk.clone();
        for (pending, kept) in self.pending.iter().zip(kept) {
            if *kept {
                pending.change.apply(&mut names);
            }
        }
        reachable(&names)
    }

    /// The power cut: these are left.
    pub fn settle(&mut self, names: Names) {
        self.pending.clear();
        self.disk = names;
        self.cache = self.disk.clone();
    }

    /// Keeps what the kept operations build on.
    fn pull_in(&self, order: NameOrder, kept: &mut [bool]) {
        for later in (1..kept.len()).rev() {
            for earlier in 0..later {
                kept[earlier] |= kept[later] && self.builds_on(order, later, earlier);
            }
        }
    }

    /// Whether an operation can only persist with that earlier one.
    pub fn builds_on(&self, order: NameOrder, later: usize, earlier: usize) -> bool {
        match order {
            NameOrder::Prefix => true,
            NameOrder::Free => {
                let earlier = &self.pending[earlier].change;
                self.pending[later].change.shares_a_name_with(earlier)
            }
        }
    }
}

/// The names whose directories are there too: with a directory goes all that
/// is in it.
pub(super) fn reachable(names: &Names) -> Names {
    let mut reached = Names::new();
    for (name, node) in names {
        let dir = parent(name);
        if dir.is_empty() || reached.get(dir) == Some(&Node::Dir) {
            reached.insert(name.clone(), *node);
        }
    }
    reached
}

/// The directory that a name is in; the root is empty.
pub(super) fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(dir, _)| dir)
}
