//! One situation each, played by hand.

mod elections;
mod reads;
mod replication;
mod snapshots;
