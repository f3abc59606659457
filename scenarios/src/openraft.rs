//! The scenario `openraft-3`: OpenRaft on this engine, in a simulated world. It is a
//! program of its own, so that nobody builds OpenRaft who does not ask for it, and
//! each of its seeds has a process of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::{ReplayArgs, RunArgs};
use crate::error::Error;
use crate::out;
use crate::seed::SeedOrFile;
use crate::status::Status;

pub const NAME: &str = "openraft-3";
pub const ABOUT: &str = "three members of OpenRaft on this engine, before the same judges; \
                         built when it is first run";

/// Whether these arguments ask for it.
pub fn is_meant(scenarios: &[String]) -> bool {
    scenarios.iter().any(|name| name == NAME)
}

/// `afterimage run --scenario openraft-3`.
pub fn run(args: &RunArgs) -> Result<Status, Error> {
    let RunArgs {
        scenario,
        seeds,
        first_seed,
        time,
        jobs,
        profile,
        mutant,
        unbounded,
        // It always goes on, and has no plan to shrink or to store.
        keep_going: _,
        no_shrink: _,
        twice,
        out: _,
        json,
        junit,
    } = args;
    refuse(&[
        (
            "another --scenario",
            scenario.iter().any(|name| name != NAME),
        ),
        ("--time", time.is_some()),
        ("--profile", profile.is_some()),
        ("--unbounded", *unbounded),
        ("--json", json.is_some()),
        ("--junit", junit.is_some()),
    ])?;
    let mut passed_on = vec![format!("--first-seed={}", first_seed.value())];
    passed_on.extend(seeds.map(|seeds| format!("--seeds={seeds}")));
    passed_on.extend(jobs.map(|jobs| format!("--jobs={jobs}")));
    passed_on.extend(mutant.iter().map(|name| format!("--mutant={name}")));
    passed_on.extend(twice.then(|| "--twice".to_owned()));
    hand_over(&passed_on)
}

/// `afterimage replay SEED --scenario openraft-3`.
pub fn replay(args: &ReplayArgs) -> Result<Status, Error> {
    let ReplayArgs {
        seed_or_file,
        scenario: _,
        profile,
        mutant,
        trace,
        history,
        json,
    } = args;
    refuse(&[
        ("--profile", profile.is_some()),
        ("--history", history.is_some()),
        ("--json", json.is_some()),
    ])?;
    let seed = match seed_or_file {
        SeedOrFile::Seed(seed) => seed.value(),
        SeedOrFile::File(_) => return Err(Error::OpenRaft("it has no seed files".to_owned())),
    };
    let mut passed_on = vec![format!("--seed={seed}")];
    passed_on.extend(mutant.iter().map(|name| format!("--mutant={name}")));
    passed_on.extend(trace.then(|| "--trace".to_owned()));
    hand_over(&passed_on)
}

fn refuse(options: &[(&str, bool)]) -> Result<(), Error> {
    match options.iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(Error::OpenRaft(format!("it does not go with {option}"))),
        None => Ok(()),
    }
}

fn hand_over(passed_on: &[String]) -> Result<Status, Error> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let manifest = root.join("openraft").join("Cargo.toml");
    if !manifest.is_file() {
        let what = format!("no {}: it is built from the repository", manifest.display());
        return Err(Error::OpenRaft(what));
    }
    out::note("openraft-3 is a program of its own; to build it the first time takes minutes");
    let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    let status = Command::new(&cargo)
        .args([
            "run",
            "--quiet",
            "--release",
            "--package",
            "afterimage-openraft-sim",
        ])
        .args([
            "--manifest-path",
            "openraft/Cargo.toml",
            "--target-dir",
            "target",
            "--",
        ])
        .args(passed_on)
        // Where .cargo/config.toml sets the simulator's cfg.
        .current_dir(&root)
        .status()
        .map_err(Error::io("run", cargo))?;
    match status.code() {
        Some(0) => Ok(Status::Ok),
        Some(1) => Ok(Status::Broken),
        Some(3 | 4) => Ok(Status::Unproven),
        // It, or cargo, has said what is wrong.
        _ => Ok(Status::Usage),
    }
}
