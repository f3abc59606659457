//! The engine against bare loops and against other logs, in one interleaved run.
//!
//! ```text
//! just bench [--dir DIR] [--only w1,w2] [--rounds N] [--mib N]
//! ```
//!
//! `docs/performance.md` has the method and what to make of the figures.

#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark measures real time and files"
)]

mod large;
mod log;
mod ours;
mod peers;
mod raft_entry;
mod raw;
mod raw_segments;
mod rounds;
mod sync;

use std::path::PathBuf;

use log::Result;

struct Settings {
    /// On the disk to measure; a tmpfs syncs nothing.
    dir: PathBuf,
    only: Vec<String>,
    rounds: usize,
    /// Size of the logs that are large, in MiB.
    mib: u64,
}

const WORKLOADS: [&str; 6] = ["w1", "w2", "w3", "w4", "w5", "w6"];

fn main() -> Result<()> {
    let settings = settings()?;
    println!(
        "in {}; medians of {} interleaved rounds; ratio: to the first line, within a round",
        settings.dir.display(),
        settings.rounds
    );
    for name in &settings.only {
        match name.as_str() {
            "w1" | "w2" | "w3" => sync::run(name, &settings.dir, settings.rounds)?,
            "w4" | "w5" | "w6" => large::run(name, &settings.dir, settings.rounds, settings.mib)?,
            other => return Err(format!("no workload {other}").into()),
        }
    }
    Ok(())
}

fn settings() -> Result<Settings> {
    let mut settings = Settings {
        dir: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"),
        only: WORKLOADS.map(str::to_owned).to_vec(),
        rounds: 21,
        mib: 2048,
    };
    let mut args = std::env::args().skip(1);
    while let Some(option) = args.next() {
        let mut value = || args.next().ok_or(format!("{option} needs a value"));
        match option.as_str() {
            "--dir" => settings.dir = value()?.into(),
            "--only" => settings.only = value()?.split(',').map(str::to_owned).collect(),
            "--rounds" => settings.rounds = value()?.parse()?,
            "--mib" => settings.mib = value()?.parse()?,
            other => return Err(format!("no option {other}").into()),
        }
    }
    Ok(settings)
}
