//! What the engine gets from its host: everything that is not its own business.

use std::fmt;
use std::sync::Arc;

use crate::event::Event;
use crate::fs::Fs;

/// The engine's only door to the outside. Production passes the real clock and
/// the operating system's entropy; the simulator passes its own.
#[derive(Clone)]
pub struct Host {
    pub fs: Arc<dyn Fs>,
    pub env: Arc<dyn Env>,
}

/// Clock, entropy and observer.
pub trait Env: Send + Sync {
    /// Milliseconds since the epoch. Only recorded, never compared.
    fn now_ms(&self) -> i64;
    /// Entropy: segment nonces, names of temporary files, election timeouts.
    fn random(&self) -> u64;
    /// Sees every decision of the engine and the node, in order.
    fn observe(&self, event: Event);
    /// Whether anybody observes: if not, events that cost something to make are
    /// not even made.
    fn is_observed(&self) -> bool {
        true
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("fs", &self.fs).finish()
    }
}
