//! The engine against bare loops and against other logs, in one interleaved run.
//!
//! ```text
//! just bench [--dir DIR] [--only w1,w2] [--among ours,okaywal] [--rounds N] [--mib N]
//! ```
//!
//! `docs/performance.md` has the method and what to make of the figures.

#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark measures real time and files"
)]

mod failing_sync;
mod failures;
mod large;
mod log;
mod memory;
mod open;
mod ours;
mod peers;
mod purge;
mod raft_entry;
mod raw;
mod raw_direct;
mod raw_segments;
mod rounds;
mod settings;
mod snapshot;
mod sync;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use log::Result;
use settings::Settings;

const WORKLOADS: [&str; 9] = [
    "w1", "w2", "w3", "w4", "w5", "w6", "w7", "snapshot", "verify",
];

fn main() -> Result<()> {
    if let Some(dir) = open::child_of() {
        return open::child(&dir);
    }
    if let Some(task) = failures::child_of() {
        return failures::run_child(task);
    }
    let settings = Settings::from_args(&WORKLOADS)?;
    println!(
        "in {}; medians of {} interleaved rounds; ratio: to the first line, within a round",
        settings.dir.display(),
        settings.rounds
    );
    for name in &settings.only {
        match name.as_str() {
            "w1" | "w2" | "w3" => sync::run(name, &settings)?,
            "w4" | "w6" => large::run(name, &settings)?,
            "w5" => open::run(&settings)?,
            "verify" => open::verify(&settings)?,
            "w7" => purge::run(&settings)?,
            "snapshot" => snapshot::run(&settings)?,
            "failures" => failures::run(&settings)?,
            other => return Err(format!("no workload {other}").into()),
        }
    }
    Ok(())
}
