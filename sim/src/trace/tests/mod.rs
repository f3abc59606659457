//! What each consumer of the records makes of them.

mod digest;
mod history;
mod sometimes;
mod text;
