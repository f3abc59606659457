//! What a simulated node gets as its clock, its entropy and its observer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use afterimage_engine::{Env, Event};

use crate::rng::SimRng;

/// Where the run's clock starts, in ms since the epoch.
const EPOCH_MS: u64 = 1_700_000_000_000;

#[derive(Debug)]
pub(crate) struct SimEnv {
    now_us: AtomicU64,
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
            inner: Mutex::new(Inner {
                rng: SimRng::new(seed, concern),
                events: Vec::new(),
            }),
        }
    }

    #[cfg(madsim)] // Only a world has a clock.
    pub fn set_now(&self, now_us: u64) {
        self.now_us.store(now_us, Ordering::Relaxed);
    }

    pub fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut self.lock().events)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Env for SimEnv {
    fn now_ms(&self) -> i64 {
        (EPOCH_MS + self.now_us.load(Ordering::Relaxed) / 1000) as i64
    }

    fn random(&self) -> u64 {
        self.lock().rng.next_u64()
    }

    fn observe(&self, event: Event) {
        self.lock().events.push(event);
    }
}
