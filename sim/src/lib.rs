//! Deterministic simulation of disks, networks and clusters.
//!
//! [`disk::SimFs`] needs neither madsim nor an async runtime. Only `world`
//! needs `--cfg madsim`.

pub mod check;
pub mod disk;
pub mod kv;
pub mod mutants;
pub mod plan;
pub mod report;
pub mod rng;
pub mod run;
pub mod trace;
pub mod verdict;
