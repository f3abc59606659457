//! The network: what becomes of each message follows from the plan's seed, the
//! link and the message's number on it, so that leaving out one fault changes
//! no other.

use std::collections::{BTreeMap, BTreeSet};

use afterimage_engine::NodeId;

use crate::plan::{MessageKind, Net};
use crate::rng::{Ratio, hash};

#[derive(Debug)]
pub(super) struct SimNet {
    seed: u64,
    net: Net,
    /// Messages sent so far on each link.
    sent: BTreeMap<(NodeId, NodeId), u64>,
    /// Links cut, by the step that cut them.
    cuts: BTreeMap<u32, BTreeSet<(NodeId, NodeId)>>,
    /// Links that lose one kind of message, by the step that made them.
    losses: BTreeMap<u32, (MessageKind, BTreeSet<(NodeId, NodeId)>)>,
}

/// When the copies of a message arrive, in microseconds from now.
#[derive(Debug, Default)]
pub(super) struct Fate {
    pub delays_us: Vec<u64>,
    pub duplicated: bool,
    pub reordered: bool,
}

/// Independent draws for one message.
#[derive(Clone, Copy)]
#[repr(u64)]
enum Draw {
    Loss,
    Duplicate,
    Reorder,
    ReorderDelay,
    Latency,
    SecondLatency,
}

impl SimNet {
    pub fn new(seed: u64, net: Net) -> Self {
        SimNet {
            seed,
            net,
            sent: BTreeMap::new(),
            cuts: BTreeMap::new(),
            losses: BTreeMap::new(),
        }
    }

    /// No message is lost, doubled or held back from here on, no link is cut.
    pub fn heal(&mut self) {
        self.net.loss = Ratio::default();
        self.net.duplicate = Ratio::default();
        self.net.reorder = Ratio::default();
        self.cuts.clear();
        self.losses.clear();
    }

    pub fn cut(&mut self, step: u32, links: BTreeSet<(NodeId, NodeId)>) {
        self.cuts.insert(step, links);
    }

    pub fn lose(&mut self, step: u32, kind: MessageKind, links: BTreeSet<(NodeId, NodeId)>) {
        self.losses.insert(step, (kind, links));
    }

    /// Undoes what a step did to links; whether there was anything.
    pub fn mend(&mut self, step: u32) -> bool {
        let cut = self.cuts.remove(&step).is_some();
        self.losses.remove(&step).is_some() || cut
    }

    /// Whether a message of this kind is lost on this link.
    pub fn loses(&self, from: NodeId, to: NodeId, kind: &str) -> bool {
        (self.losses.values())
            .any(|(lost, links)| lost.name() == kind && links.contains(&(from, to)))
    }

    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cuts.values().any(|links| links.contains(&(from, to)))
    }

    /// What becomes of the next message from `from` to `to`; no delay: lost.
    pub fn send(&mut self, from: NodeId, to: NodeId) -> Fate {
        let number = self.sent.entry((from, to)).or_default();
        *number += 1;
        let parts = [self.seed, from.0, to.0, *number];
        let draw = |d: Draw| hash(&[parts[0], parts[1], parts[2], parts[3], d as u64]);
        let mut fate = Fate::default();
        if self.net.loss.holds(draw(Draw::Loss)) {
            return fate;
        }
        let (low, high) = (self.net.latency_us_min, self.net.latency_us_max);
        let latency = |d| low + draw(d) % (high.saturating_sub(low) + 1);
        let mut delay = latency(Draw::Latency);
        if self.net.reorder.holds(draw(Draw::Reorder)) {
            delay += draw(Draw::ReorderDelay) % (self.net.reorder_us_max + 1);
            fate.reordered = true;
        }
        fate.delays_us.push(delay);
        if self.net.duplicate.holds(draw(Draw::Duplicate)) {
            fate.delays_us.push(delay + latency(Draw::SecondLatency));
            fate.duplicated = true;
        }
        fate
    }
}
