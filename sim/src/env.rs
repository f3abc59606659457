//! What a simulated node gets as its clock, its entropy and its observer.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use afterimage_engine::{Env, Event};

use crate::rng::SimRng;

/// Where the run's clock starts, in ms since the epoch.
const EPOCH_MS: u64 = 1_700_000_000_000;

#[derive(Debug)]
pub(crate) struct SimEnv {
    now_us: AtomicU64,
    /// How far the wall clock is ahead of the run's.
    ahead_ms: AtomicI64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    rng: SimRng,
    events: Vec<Event>,
}

impl SimEnv {
    pub fn new(seed: u64, concern: &str) -> Self {
        SimEnv {
            now_us: AtomicU64::new(0),
            ahead_ms: AtomicI64::new(0),
            inner: Mutex::new(Inner {
                rng: SimRng::new(seed, concern),
                events: Vec::new(),
            }),
        }
    }

    #[cfg(madsim)] // Only a world has a clock.
    pub fn set_now(&self, now_us: u64, ahead_ms: i64) {
        self.now_us.store(now_us, Ordering::Relaxed);
        self.ahead_ms.store(ahead_ms, Ordering::Relaxed);
    }

    pub fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut self.lock().events)
    }

    /// The same into a buffer that is used again: it must be empty.
    #[cfg(madsim)] // Only a world has so many.
    pub fn swap_events(&self, empty: &mut Vec<Event>) {
        assert!(empty.is_empty(), "what was taken before is still there");
        std::mem::swap(&mut self.lock().events, empty);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Env for SimEnv {
    fn now_ms(&self) -> i64 {
        let now_ms = EPOCH_MS + self.now_us.load(Ordering::Relaxed) / 1000;
        now_ms as i64 + self.ahead_ms.load(Ordering::Relaxed)
    }

    fn random(&self) -> u64 {
        self.lock().rng.next_u64()
    }

    fn observe(&self, event: Event) {
        self.lock().events.push(event);
    }
}
