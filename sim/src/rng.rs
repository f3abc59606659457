//! Randomness that replays for years: one ChaCha8 stream per concern.
//!
//! Only the raw `next_u64` of `rand_chacha` is used: it has been the same from
//! version 0.2 to 0.10, while `random_range` and `shuffle` differ between
//! versions of `rand`. Everything above it is defined here, and pinned by the
//! golden test below.

use std::fmt;
use std::str::FromStr;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct SimRng {
    stream: ChaCha8Rng,
}

impl SimRng {
    /// The stream of `concern` in the run with this seed. Streams of different
    /// concerns are independent: drawing from one moves no other.
    pub fn new(seed: u64, concern: &str) -> Self {
        let seed = xxh3_64_with_seed(concern.as_bytes(), seed);
        SimRng {
            stream: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    pub fn next_u64(&mut self) -> u64 {
        self.stream.next_u64()
    }

    /// Uniform in `0..bound`; `bound` must not be 0.
    ///
    /// Lemire's multiply-and-reject (arXiv 1805.10941): unbiased, and it draws
    /// a second number only with probability below `bound / 2^64`.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below 0");
        let mut product = u128::from(self.next_u64()) * u128::from(bound);
        if (product as u64) < bound {
            let threshold = bound.wrapping_neg() % bound;
            while (product as u64) < threshold {
                product = u128::from(self.next_u64()) * u128::from(bound);
            }
        }
        (product >> 64) as u64
    }

    /// Uniform in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "{low}..={high} is empty");
        match (high - low).checked_add(1) {
            Some(count) => low + self.below(count),
            None => self.next_u64(),
        }
    }

    /// True with this probability. A ratio of 0 draws nothing, so that a fault
    /// that is switched off leaves the stream where it was.
    pub fn chance(&mut self, ratio: Ratio) -> bool {
        if ratio.is_never() {
            return false;
        }
        self.below(u64::from(ratio.denominator)) < u64::from(ratio.numerator)
    }

    /// Fisher-Yates, from the end.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            items.swap(last, other);
        }
    }

    /// One of the items; they must not be empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }
}

/// A probability as a ratio of integers, in text `1/100`. The default is never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ratio {
    pub numerator: u32,
    pub denominator: u32,
}

impl Ratio {
    pub fn is_never(self) -> bool {
        self.numerator == 0
    }

    /// Whether the event with this hash happens: [`SimRng::chance`] for faults
    /// of single operations, which follow from a hash rather than a stream.
    pub fn holds(self, hash: u64) -> bool {
        if self.is_never() {
            return false;
        }
        assert!(self.denominator > 0, "a ratio over 0");
        let scaled = (u128::from(hash) * u128::from(self.denominator)) >> 64;
        scaled < u128::from(self.numerator)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The default ratio has no denominator, but its text must parse.
        write!(f, "{}/{}", self.numerator, self.denominator.max(1))
    }
}

impl FromStr for Ratio {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("not a ratio such as 1/100: {text:?}");
        let (numerator, denominator) = text.split_once('/').ok_or_else(wrong)?;
        let numerator = numerator.parse().map_err(|_| wrong())?;
        let denominator = denominator.parse().map_err(|_| wrong())?;
        if denominator == 0 || numerator > denominator {
            return Err(format!("a ratio must lie in 0..=1: {text:?}"));
        }
        // One never, as `Default` has it: 0/7 and 0/1 are the same plan.
        if numerator == 0 {
            return Ok(Ratio::default());
        }
        Ok(Ratio {
            numerator,
            denominator,
        })
    }
}

/// A number that depends on nothing but its parts: for faults of single
/// messages and operations. XXH3-64 over the little-endian parts.
pub fn hash(parts: &[u64]) -> u64 {
    const INLINE: usize = 8;
    let mut bytes = [0; INLINE * 8];
    if parts.len() <= INLINE {
        for (to, part) in bytes.chunks_exact_mut(8).zip(parts) {
            to.copy_from_slice(&part.to_le_bytes());
        }
        return xxh3_64(&bytes[..parts.len() * 8]);
    }
    let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_le_bytes()).collect();
    xxh3_64(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These numbers are stored in the meaning of every seed: they may not
    /// change, whatever the versions of the crates below.
    #[test]
    fn the_streams_never_change() {
        assert_eq!(
            ChaCha8Rng::seed_from_u64(42).next_u64(),
            0xae90_bfb5_395d_5ba1
        );
        let mut rng = SimRng::new(1, "disk");
        let raw: Vec<u64> = (0..3).map(|_| rng.next_u64()).collect();
        let mut items: Vec<u8> = (0..8).collect();
        rng.shuffle(&mut items);
        let below: Vec<u64> = (0..6).map(|_| rng.below(1000)).collect();
        let seen = format!("{raw:x?} {items:?} {below:?} {:x}", hash(&[1, 2, 3]));
        assert_eq!(seen, GOLDEN);
    }
    const GOLDEN: &str = "[e33c9847ae2ea967, 5ffbdefcef788632, 4e636bbb9c79ee85] \
        [2, 3, 1, 4, 0, 6, 5, 7] [646, 64, 354, 61, 689, 789] 7c68b4906e7ea780";

    #[test]
    fn concerns_are_independent_streams() {
        assert_ne!(
            SimRng::new(1, "disk").next_u64(),
            SimRng::new(1, "net").next_u64()
        );
        assert_ne!(
            SimRng::new(1, "disk").next_u64(),
            SimRng::new(2, "disk").next_u64()
        );
    }

    #[test]
    fn below_is_uniform_at_an_awkward_bound() {
        // 3 * 2^62: a modulo would give the lower third twice as often.
        let bound = 3 << 62;
        let mut rng = SimRng::new(7, "test");
        let low = (0..3000).filter(|_| rng.below(bound) < 1 << 62).count();
        assert!((900..1100).contains(&low), "{low} of 3000 in a third");
    }

    #[test]
    fn a_fault_switched_off_draws_nothing() {
        let mut rng = SimRng::new(7, "test");
        let mut same = rng.clone();
        assert!(!rng.chance(Ratio::default()));
        assert_eq!(rng.next_u64(), same.next_u64());
        assert!(rng.chance("1/1".parse().unwrap()));
        assert_ne!(rng.next_u64(), same.next_u64());
    }

    #[test]
    fn between_includes_both_ends() {
        let mut rng = SimRng::new(7, "test");
        let drawn: std::collections::BTreeSet<u64> = (0..99).map(|_| rng.between(3, 5)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [3, 4, 5]);
        rng.between(0, u64::MAX);
    }

    #[test]
    fn a_ratio_is_its_text() {
        fn check(text: &str, expected: Result<&str, ()>) {
            let parsed = text.parse::<Ratio>().map(|ratio| ratio.to_string());
            assert_eq!(
                parsed.as_deref().map_err(|_| ()),
                expected,
                "{text}: {parsed:?}"
            );
        }
        check("1/100", Ok("1/100"));
        check("0/9", Ok("0/1"));
        check("3/3", Ok("3/3"));
        check("4/3", Err(()));
        check("0/0", Err(()));
        check("1", Err(()));
        check("0.5/1", Err(()));
    }

    #[test]
    fn a_ratio_holds_for_its_share_of_the_hashes() {
        let ratio: Ratio = "1/4".parse().unwrap();
        let hits = (0..4000).filter(|n| ratio.holds(hash(&[*n]))).count();
        assert!((900..1100).contains(&hits), "{hits} of 4000");
        assert!(!Ratio::default().holds(0));
        assert!("1/1".parse::<Ratio>().unwrap().holds(u64::MAX));
    }
}
