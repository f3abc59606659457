//! Deterministic simulation of disks, networks and clusters.
//!
//! [`disk::SimFs`] needs neither madsim nor an async runtime. Only `world`
//! needs `--cfg madsim`.

pub mod check;
mod contents;
pub mod disk;
mod env;
pub mod explore;
pub mod kv;
pub mod linear;
pub mod litmus;
pub mod mutants;
mod panics;
pub mod plan;
mod recorder;
pub mod report;
pub mod rng;
pub mod run;
pub mod shrink;
pub mod single;
pub mod stories;
pub mod trace;
mod twin;
pub mod verdict;
#[cfg(madsim)]
pub mod world;

/// The filesystem that a store is written against.
pub use afterimage_engine::fs;
