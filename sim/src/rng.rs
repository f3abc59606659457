//! Randomness that replays for years: one ChaCha8 stream per concern.
#![allow(unused_variables, clippy::todo)]
/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct SimRng {}
/// A probability as a ratio of integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ratio {
    pub numerator: u32,
    pub denominator: u32,
}
impl SimRng {
    /// The stream of `concern` in the run with this seed.
    pub fn new(seed: u64, concern: &str) -> Self {
        todo!()
    }
    pub fn next_u64(&mut self) -> u64 {
        todo!()
    }
    /// Uniform in `0..bound`; `bound` must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        todo!()
    }
    /// Uniform in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        todo!()
    }
    pub fn chance(&mut self, ratio: Ratio) -> bool {
        todo!()
    }
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        todo!()
    }
    /// One of the items; they must not be empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        todo!()
    }
}
/// A number that depends on nothing but its parts: for faults of single
/// messages and operations. XXH3-64 over the little-endian parts.
pub fn hash(parts: &[u64]) -> u64 {
    todo!()
}
