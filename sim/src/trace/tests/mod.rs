//! What each consumer of the records makes of them.

mod digest;
mod sometimes;
mod text;
