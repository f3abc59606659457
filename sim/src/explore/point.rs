//! Where a crash may come, and the row of crashes that led somewhere.

use std::fmt;
use std::sync::Arc;

use crate::disk::{Capture, Keep, OpKind, SimFs};

/// A moment at which the power may go, or the process may die.
#[derive(Debug)]
pub(super) struct Point<M> {
    pub place: Place,
    /// As it is then: what is pending was never synced.
    pub disk: SimFs,
    /// What was promised by then.
    pub must: M,
    /// A hash of `must`.
    pub key: u64,
}

/// Where in a life a crash comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The part of the life, from 0: a step of the workload; of the lives that
    /// follow, the open and what is done then.
    pub step: usize,
    /// The mutating operation within that part, from 1, before which it comes;
    /// 0: at the end.
    pub nth: u64,
    /// That operation, if it is known.
    pub op: Option<Op>,
}

/// A mutating operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    pub kind: OpKind,
    pub path: Arc<str>,
    pub to: Option<Arc<str>>,
}

impl Place {
    pub(super) fn of(step: usize, nth: u64, capture: &Capture) -> Self {
        let op = Op {
            kind: capture.kind,
            path: capture.path.clone(),
            to: capture.to.clone(),
        };
        Place {
            step,
            nth,
            op: Some(op),
        }
    }

    /// Before the `nth` operation of a life that has no parts.
    pub(super) fn before(nth: u64) -> Self {
        Place {
            step: 0,
            nth,
            op: None,
        }
    }

    /// After all operations; `step` counts the parts.
    pub(super) fn end(step: usize) -> Self {
        Place {
            step,
            nth: 0,
            op: None,
        }
    }

    pub(super) fn is_end(&self) -> bool {
        self.nth == 0
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.op {
            Some(op) => {
                write!(f, "before {} {}", op.kind.as_str(), op.path)?;
                op.to.iter().try_for_each(|to| write!(f, " -> {to}"))
            }
            None if self.is_end() => f.write_str("at the end"),
            None => write!(f, "before operation {}", self.nth),
        }
    }
}

/// How a life ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The power is cut; this persists of what is pending.
    Cut(Keep),
    /// The process dies; the cache lives on.
    Kill,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Cut(keep) => write!(f, "power cut, keep={keep}"),
            End::Kill => f.write_str("kill"),
        }
    }
}

/// The crashes of one after another life, the last one first.
#[derive(Debug)]
pub(super) struct Trail {
    pub place: Place,
    pub end: End,
    pub before: Option<Arc<Trail>>,
}

impl Trail {
    /// In the order in which they came.
    pub fn crashes(&self) -> Vec<(Place, End)> {
        let mut crashes = match &self.before {
            Some(before) => before.crashes(),
            None => Vec::new(),
        };
        crashes.push((self.place.clone(), self.end.clone()));
        crashes
    }
}

/// What came of a life.
pub(super) struct Life<M, F> {
    /// Its crash points, in order.
    pub points: Vec<Point<M>>,
    /// What was wrong with it.
    pub fault: Option<F>,
}
