//! How the fate of each pending effect is chosen at a power cut.

use super::keep::{Keep, OpId, Part, Unit};
use super::pending::Entry;
use super::profile::FreshBlock;
use crate::rng::SimRng;

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

/// What a sector takes of its pending versions, by their place in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    /// None of them.
    Durable,
    Version(usize),
    /// The block that this version allocated, without its data.
    Garbage(usize),
}

/// The pending versions of one thing, oldest first.
pub(super) type Versions<'a> = &'a [Entry];

/// Chooses the fates. Asked first for the names, then for each file for its
/// length and its sectors, always in the same order.
#[derive(Debug)]
pub(super) struct Chooser<'a> {
    way: Way<'a>,
    fresh: FreshBlock,
}

#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "one of them a power cut, on the stack"
)]
enum Way<'a> {
    All(bool),
    Explicit(&'a Keep),
    /// The same, by the places of the units.
    Places(&'a [bool]),
    Random {
        rng: SimRng,
        bias: Bias,
        /// Of 8 new blocks without their data, how many show garbage.
        garbage: u64,
    },
}

/// The character of one crash. Uniform coins over many effects practically
/// never lose, or keep, exactly one; and that is where most bugs are.
#[derive(Debug)]
enum Bias {
    /// Each effect survives with a probability of so many eighths.
    Coins {
        names: u64,
        lengths: u64,
        data: u64,
    },
    /// What came before this operation survives; of the operation itself, each
    /// effect by a coin.
    Prefix {
        last: OpId,
    },
    OneLost(Target),
    /// With all names, or all lengths, without which it could not be seen.
    OneKept {
        target: Target,
        names: bool,
        lengths: bool,
    },
}

#[derive(Debug)]
enum Target {
    Unit(Unit),
    Op(OpId),
}

impl Target {
    fn draw(rng: &mut SimRng, pending: &[Unit]) -> Self {
        let unit = *rng.pick(pending);
        match rng.below(2) {
            0 => Target::Unit(unit),
            _ => Target::Op(unit.op),
        }
    }

    fn hits(&self, unit: Unit) -> bool {
        match self {
            Target::Unit(target) => *target == unit,
            Target::Op(op) => *op == unit.op,
        }
    }
}

impl Bias {
    /// `pending`: the effects that a fate of their own can make visible.
    fn draw(rng: &mut SimRng, pending: &[Unit]) -> Self {
        if pending.is_empty() {
            return Bias::Coins {
                names: 0,
                lengths: 0,
                data: 0,
            };
        }
        match rng.below(16) {
            0..5 => {
                let eighths = *rng.pick(&[0, 1, 4, 7, 8]);
                Bias::Coins {
                    names: eighths,
                    lengths: eighths,
                    data: eighths,
                }
            }
            // Names without data, lengths without data, and so on.
            5..9 => Bias::Coins {
                names: *rng.pick(&[0, 4, 8]),
                lengths: *rng.pick(&[0, 4, 8]),
                data: *rng.pick(&[0, 4, 8]),
            },
            9..12 => Bias::Prefix {
                last: rng.pick(pending).op,
            },
            12..14 => Bias::OneLost(Target::draw(rng, pending)),
            _ => Bias::OneKept {
                target: Target::draw(rng, pending),
                names: rng.below(2) == 1,
                lengths: rng.below(2) == 1,
            },
        }
    }

    fn wants(&self, rng: &mut SimRng, unit: Unit) -> bool {
        match self {
            Bias::Coins {
                names,
                lengths,
                data,
            } => {
                let eighths = match unit.part {
                    Part::Name => names,
                    Part::PartialSize(_) | Part::Size => lengths,
                    Part::Sector(_) | Part::Garbage(_) => data,
                };
                rng.below(8) < *eighths
            }
            Bias::Prefix { last } if unit.op == *last => rng.below(2) == 1,
            Bias::Prefix { last } => unit.op < *last,
            Bias::OneLost(target) => !target.hits(unit),
            Bias::OneKept {
                target,
                names,
                lengths,
            } => match unit.part {
                Part::Name if *names => true,
                Part::Size if *lengths => true,
                _ => target.hits(unit),
            },
        }
    }
}

/// What becomes of name operations whose subset is not possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closure {
    /// A kept operation keeps what it builds on.
    PullIn,
    /// A lost operation loses what builds on it.
    DropOut,
}

impl<'a> Chooser<'a> {
    /// `pending`: the latest version of every name operation, length and
    /// sector.
    pub fn new(fates: &'a Fates, fresh: FreshBlock, pending: impl FnOnce() -> Vec<Unit>) -> Self {
        let way = match fates {
            Fates::Lose => Way::All(false),
            Fates::KeepAll => Way::All(true),
            Fates::Explicit(keep) => Way::Explicit(keep),
            Fates::Random(seed) => {
                let mut rng = SimRng::new(*seed, "power-cut");
                let bias = Bias::draw(&mut rng, &pending());
                let garbage = *rng.pick(&[0, 4, 8]);
                Way::Random { rng, bias, garbage }
            }
        };
        Chooser { way, fresh }
    }

    /// Chooses the units whose place in `Pending::units` is true in `kept`.
    pub fn places(kept: &'a [bool], fresh: FreshBlock) -> Self {
        let way = Way::Places(kept);
        Chooser { way, fresh }
    }

    /// Which name operations persist, before what they build on is considered.
    pub fn names(&mut self, ops: Versions<'_>, wanted: &mut Vec<bool>) -> Closure {
        for op in ops {
            wanted.push(self.wants(op));
        }
        match self.way {
            Way::Random {
                bias: Bias::OneKept { .. },
                ..
            } => Closure::PullIn,
            Way::Random { .. } => Closure::DropOut,
            _ => Closure::PullIn,
        }
    }

    /// Which of a file's pending lengths it gets, those in the middle of a write
    /// included; `None`: the durable one.
    pub fn length(&mut self, chain: Versions<'_>) -> Option<usize> {
        self.version(chain)
    }

    /// What a sector of the file gets.
    pub fn sector(&mut self, chain: Versions<'_>) -> Pick {
        let version = self.version(chain);
        // The first block allocated later than what the sector got.
        let later = version.map_or(0, |version| version + 1);
        let mut fresh = (later..chain.len()).filter(|place| chain[*place].fresh);
        let garbage = match &mut self.way {
            Way::All(_) => None,
            _ if !self.fresh.shows_others() => None,
            Way::Explicit(keep) => fresh.rfind(|place| {
                let Unit { op, part } = chain[*place].unit;
                let Part::Sector(index) = part else {
                    return false;
                };
                let part = Part::Garbage(index);
                keep.contains(Unit { op, part })
            }),
            Way::Places(kept) => fresh.rfind(|place| kept[chain[*place].garbage as usize]),
            Way::Random { rng, garbage, .. } => fresh.next().filter(|_| rng.below(8) < *garbage),
        };
        match (garbage, version) {
            (Some(place), _) => Pick::Garbage(place),
            (None, Some(place)) => Pick::Version(place),
            (None, None) => Pick::Durable,
        }
    }

    fn wants(&mut self, entry: &Entry) -> bool {
        match &mut self.way {
            Way::All(kept) => *kept,
            Way::Explicit(keep) => keep.contains(entry.unit),
            Way::Places(kept) => kept[entry.bit as usize],
            Way::Random { rng, bias, .. } => bias.wants(rng, entry.unit),
        }
    }

    fn version(&mut self, chain: Versions<'_>) -> Option<usize> {
        let tip = chain.len().checked_sub(1)?;
        if let Way::Random {
            rng,
            bias: bias @ Bias::Coins { .. },
            ..
        } = &mut self.way
        {
            // One coin for the latest, whatever the number of versions: a coin
            // for each would practically never lose all of many.
            if bias.wants(rng, chain[tip].unit) {
                return Some(tip);
            }
            return match rng.below(2) {
                0 => None,
                _ => (rng.below(chain.len() as u64) as usize).checked_sub(1),
            };
        }
        (0..chain.len())
            .rev()
            .find(|place| self.wants(&chain[*place]))
    }
}
