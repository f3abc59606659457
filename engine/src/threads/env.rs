//! What the production host knows of the world.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::event::Event;
use crate::host::Env;

/// The operating system's clock and entropy.
pub struct SystemEnv {
    /// State of a splitmix64 stream seeded by the system: names, nonces and
    /// timeouts must differ from those of other processes, not be secret.
    random: AtomicU64,
    /// `None`: nobody looks.
    observer: Option<Box<dyn Fn(Event) + Send + Sync>>,
}

impl SystemEnv {
    /// `observer` sees every decision, in order, on the thread that takes it:
    /// it should be quick and must not call back into the store. Fails if the
    /// system has no entropy.
    pub fn new(observer: impl Fn(Event) + Send + Sync + 'static) -> io::Result<Self> {
        Ok(SystemEnv {
            observer: Some(Box::new(observer)),
            ..SystemEnv::unobserved()?
        })
    }

    /// For a store that nobody watches: it does not even name its entries
    /// ([`Env::wants_entries`]). Fails if the system has no entropy.
    pub fn unobserved() -> io::Result<Self> {
        let mut seed = [0; 8];
        let mut filled = 0;
        while filled < seed.len() {
            let rest = &mut seed[filled..];
            filled += rustix::io::retry_on_intr(|| {
                rustix::rand::getrandom(&mut *rest, rustix::rand::GetRandomFlags::empty())
            })?;
        }
        Ok(SystemEnv {
            random: AtomicU64::new(u64::from_le_bytes(seed)),
            observer: None,
        })
    }
}

impl Env for SystemEnv {
    #[allow(clippy::disallowed_methods, reason = "the production host's clock")]
    fn now_ms(&self) -> i64 {
        let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => ms(since),
            Err(before) => -ms(before.duration()),
        }
    }

    fn random(&self) -> u64 {
        // splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
        // generators, OOPSLA 2014).
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self
            .random
            .fetch_add(STEP, Ordering::Relaxed)
            .wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn observe(&self, event: Event) {
        if let Some(observer) = &self.observer {
            observer(event);
        }
    }

    fn wants_entries(&self) -> bool {
        self.observer.is_some()
    }
}

impl std::fmt::Debug for SystemEnv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SystemEnv").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_environments_do_not_share_their_randomness() {
        let draw = || {
            let env = SystemEnv::unobserved().unwrap();
            let drawn: Vec<u64> = (0..4).map(|_| env.random()).collect();
            drawn
        };
        let (mut all, other) = (draw(), draw());
        all.extend(other);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 8);
    }
}
