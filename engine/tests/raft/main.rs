//! The Raft core in a cluster made of memory: seeded campaigns under faults,
//! scenarios by hand, and planted bugs that must be found.

mod campaign;
mod cluster;
mod image;
mod lab;
mod member;
#[cfg(feature = "mutants")]
mod mutants;
mod oracle;
mod rng;
mod scenarios;
mod weather;
