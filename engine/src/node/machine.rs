//! What the user brings.

use crate::ids::Index;
use crate::store::SnapshotSource;

/// The user's state machine. Deterministic: the same commands in the same
/// order give the same state and the same answers on every replica.
pub trait StateMachine: Send + 'static {
    /// Takes a committed command; the answer goes to the client.
    fn apply(&mut self, index: Index, command: &[u8]) -> Vec<u8>;
    /// Answers a read from the current state.
    fn query(&self, request: &[u8]) -> Vec<u8>;
    /// Freezes the current state; it is read while later commands are applied.
    fn snapshot(&self) -> Box<dyn SnapshotSource>;
    /// Forgets everything; [`StateMachine::restore`] brings a snapshot's data.
    fn reset(&mut self);
    /// The next piece of a snapshot's data.
    fn restore(&mut self, piece: &[u8]);
    /// All pieces were given. An error says that the data makes no sense.
    fn restored(&mut self) -> Result<(), String>;
}
