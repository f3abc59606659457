//! The network: what becomes of each message follows from the plan's seed, the
//! link and the message's number on it, so that leaving out one fault changes
//! no other.

use std::collections::{BTreeMap, BTreeSet};

use afterimage_engine::NodeId;
use afterimage_engine::raft::{Body, Message};

use crate::plan::{MessageKind, Net};
use crate::rng::{Ratio, hash};

#[derive(Debug)]
pub(super) struct SimNet {
    seed: u64,
    net: Net,
    /// Messages sent so far on each link.
    sent: BTreeMap<(NodeId, NodeId), u64>,
    /// Links cut, by the step that cut them.
    cuts: BTreeMap<u32, Cut>,
    /// Links that lose one kind of message, by the step that made them.
    losses: BTreeMap<u32, (MessageKind, BTreeSet<Link>)>,
    /// Links that stay cut for ever.
    dead: BTreeSet<Link>,
    /// Until when each link is busy with what it was given, if it has limits.
    busy_until_us: BTreeMap<Link, u64>,
}

/// From whom, to whom.
pub(super) type Link = (NodeId, NodeId);

#[derive(Debug)]
struct Cut {
    links: BTreeSet<Link>,
    /// It comes and goes, and is not there just now.
    open: bool,
}

/// When a message arrives, and a copy of it, in microseconds from now.
#[derive(Debug, Default)]
pub(super) struct Fate {
    pub delay_us: Option<u64>,
    pub again_us: Option<u64>,
    /// Why it does not arrive, if it doesn't.
    pub dropped: Option<&'static str>,
    pub reordered: bool,
    /// It waited for others on its link.
    pub queued: bool,
}

/// A link that has more to carry than it can within this drops what comes.
const BACKLOG_US_MAX: u64 = 1_000_000;
/// What a message takes besides its entries or its piece of a snapshot.
const HEADER_BYTES: u64 = 64;

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
    Corrupt,
}

impl SimNet {
    pub fn new(seed: u64, net: Net) -> Self {
        SimNet {
            seed,
            net,
            sent: BTreeMap::new(),
            cuts: BTreeMap::new(),
            losses: BTreeMap::new(),
            dead: BTreeSet::new(),
            busy_until_us: BTreeMap::new(),
        }
    }

    /// No message is lost, doubled or held back from here on. Of the links that
    /// are cut now, those that `stays` names stay so.
    pub fn heal(&mut self, stays: impl Fn(&Link) -> bool) {
        self.net.loss = Ratio::default();
        self.net.duplicate = Ratio::default();
        self.net.reorder = Ratio::default();
        self.losses.clear();
        self.net.corrupt = Ratio::default();
        self.net.bandwidth = 0;
        // Nobody leads over links that take longer than an election waits.
        self.net.uneven = 1;
        let cuts = std::mem::take(&mut self.cuts).into_values();
        let links = cuts.flat_map(|cut| cut.links);
        self.dead = links.filter(stays).collect();
    }

    pub fn cut(&mut self, step: u32, links: BTreeSet<Link>) {
        self.cuts.insert(step, Cut { links, open: false });
    }

    /// These are cut for ever.
    pub fn sever(&mut self, links: BTreeSet<Link>) {
        self.dead.extend(links);
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

    /// What comes and goes does so; whether it is still there at all.
    pub fn flap(&mut self, step: u32) -> bool {
        let cut = self.cuts.get_mut(&step);
        cut.map(|cut| cut.open = !cut.open).is_some()
    }

    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        let link = (from, to);
        let mut cuts = self.cuts.values();
        cuts.any(|cut| !cut.open && cut.links.contains(&link)) || self.dead.contains(&link)
    }

    /// What becomes of this message, the next one on its link.
    pub fn send(&mut self, now_us: u64, message: &Message) -> Fate {
        let (from, to) = (message.from, message.to);
        let number = self.sent.entry((from, to)).or_default();
        *number += 1;
        let parts = [self.seed, from.0, to.0, *number];
        let draw = |d: Draw| hash(&[parts[0], parts[1], parts[2], parts[3], d as u64]);
        let strikes = |ratio: Ratio, d: Draw| !ratio.is_never() && ratio.holds(draw(d));
        let mut fate = Fate::default();
        if strikes(self.net.loss, Draw::Loss) {
            fate.dropped = Some("loss");
            return fate;
        }
        let Some(wait_us) = self.wait_us(now_us, message) else {
            fate.dropped = Some("queue");
            return fate;
        };
        fate.queued = wait_us > 0;
        if strikes(self.net.corrupt, Draw::Corrupt) {
            fate.dropped = Some("corrupt");
            return fate;
        }
        let factor = match self.net.uneven {
            1 => 1,
            most => 1 + hash(&[self.seed, from.0, to.0]) % most,
        };
        let (low, high) = (self.net.latency_us_min, self.net.latency_us_max);
        let latency = |d| factor * (low + draw(d) % (high.saturating_sub(low) + 1));
        let mut delay = wait_us + latency(Draw::Latency);
        if strikes(self.net.reorder, Draw::Reorder) {
            delay += draw(Draw::ReorderDelay) % (self.net.reorder_us_max + 1);
            fate.reordered = true;
        }
        fate.delay_us = Some(delay);
        if strikes(self.net.duplicate, Draw::Duplicate) {
            fate.again_us = Some(delay + latency(Draw::SecondLatency));
        }
        fate
    }

    /// How long the message takes to be on its way: it waits for those before
    /// it, and for its own bytes. `None`: the link takes no more.
    fn wait_us(&mut self, now_us: u64, message: &Message) -> Option<u64> {
        if self.net.bandwidth == 0 {
            return Some(0);
        }
        let busy = self.busy_until_us.entry((message.from, message.to));
        let busy = busy.or_default();
        let begins_us = now_us.max(*busy);
        if begins_us - now_us > BACKLOG_US_MAX {
            return None;
        }
        *busy = begins_us + bytes(&message.body) * 1000 / self.net.bandwidth;
        Some(*busy - now_us)
    }
}

/// About what the message takes on the wire.
fn bytes(body: &Body) -> u64 {
    let data = match body {
        Body::Append { entries, .. } => {
            let each = entries
                .iter()
                .map(|entry| HEADER_BYTES + entry.data.len() as u64);
            each.sum()
        }
        Body::Snapshot { data, .. } => data.len() as u64,
        _ => 0,
    };
    HEADER_BYTES + data
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use afterimage_engine::{Entry, EntryKind, Index, Term};

    use super::*;

    fn append(bytes: usize) -> Message {
        let entry = Entry {
            index: Index(1),
            term: Term(1),
            kind: EntryKind::Command,
            timestamp_ms: 0,
            data: Arc::from(vec![0; bytes]),
        };
        Message {
            from: NodeId(1),
            to: NodeId(2),
            term: Term(1),
            body: Body::Append {
                prev_index: Index(0),
                prev_term: Term(0),
                commit: Index(0),
                entries: vec![entry],
            },
        }
    }

    fn plain() -> Net {
        Net {
            latency_us_min: 100,
            latency_us_max: 100,
            ..Net::default()
        }
    }

    #[test]
    fn a_narrow_link_makes_messages_wait_and_drops_what_is_too_much() {
        let bandwidth = 128;
        let mut net = SimNet::new(
            1,
            Net {
                bandwidth,
                ..plain()
            },
        );
        // 128 bytes of headers and 128 of data: two milliseconds.
        let sent = |net: &mut SimNet, now_us| net.send(now_us, &append(128)).delay_us;
        assert_eq!(sent(&mut net, 0), Some(2100));
        assert_eq!(sent(&mut net, 0), Some(4100));
        assert_eq!(sent(&mut net, 3000), Some(3100));
        assert_eq!(sent(&mut net, 50_000), Some(2100));
        net.send(50_000, &append(200_000));
        assert_eq!(net.send(50_000, &append(1)).dropped, Some("queue"));
        net.heal(|_| false);
        assert_eq!(sent(&mut net, 50_000), Some(100));
    }

    #[test]
    fn what_is_corrupt_is_dropped() {
        let corrupt = Ratio {
            numerator: 1,
            denominator: 1,
        };
        let mut net = SimNet::new(1, Net { corrupt, ..plain() });
        let fate = net.send(0, &append(1));
        assert_eq!((fate.dropped, fate.delay_us), (Some("corrupt"), None));
    }

    #[test]
    fn uneven_links_are_slower_each_in_its_own_way() {
        let mut net = SimNet::new(
            1,
            Net {
                uneven: 5,
                ..plain()
            },
        );
        let mut delays = BTreeSet::new();
        for from in 1..=7 {
            let message = Message {
                from: NodeId(from),
                to: NodeId(9),
                ..append(1)
            };
            let first = net.send(0, &message).delay_us;
            assert_eq!(net.send(0, &message).delay_us, first);
            delays.extend(first);
        }
        assert!(delays.len() > 1 && delays.iter().all(|us| (100..=500).contains(us)));
    }

    #[test]
    fn cuts_come_and_go_and_some_stay() {
        let (a, b, c) = (NodeId(1), NodeId(2), NodeId(3));
        let mut net = SimNet::new(1, plain());
        net.cut(7, BTreeSet::from([(a, b)]));
        net.cut(8, BTreeSet::from([(b, c)]));
        assert!(net.is_cut(a, b) && !net.is_cut(b, a) && net.is_cut(b, c));
        assert!(net.flap(7));
        assert!(!net.is_cut(a, b));
        assert!(net.flap(7));
        assert!(net.is_cut(a, b));
        net.heal(|link| *link == (b, c));
        assert!(!net.is_cut(a, b) && net.is_cut(b, c));
        net.sever(BTreeSet::from([(c, a)]));
        assert!(net.is_cut(c, a) && !net.is_cut(a, c));
        assert!(!net.flap(7), "it is over");
    }
}
