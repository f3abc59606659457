//! One situation each, played by hand.

mod elections;
mod members;
mod reads;
mod replication;
pub mod snapshots;
