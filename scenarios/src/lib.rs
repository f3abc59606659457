//! The command line `afterimage`: campaigns over many seeds, one run again,
//! regression seeds, planted bugs. It prints and counts; what a run is, and
//! whether it was right, `afterimage_sim` decides.
//!
//! Without `--cfg madsim` this crate is empty, and its binary says the remedy.
#![cfg(madsim)]

mod again;
mod campaign;
mod check;
mod cli;
mod clock;
mod digest;
mod error;
mod explore;
mod files;
mod hunt;
mod interrupt;
mod json;
mod junit;
mod list;
mod litmus;
mod log;
mod mutants;
mod openraft;
mod out;
mod pool;
mod progress;
mod regress;
mod replay;
mod run;
mod seed;
mod shrink;
mod status;
mod summary;
mod totals;
mod twice;

use std::process::ExitCode;

use cli::Command;
use error::Error;
use status::Status;

/// Parses the arguments and does what they say.
///
/// The exit status is 0 if all is well; 1 if an invariant broke, a planted bug
/// survived, an expectation was missed, a log directory has a problem or an
/// observed outcome is unreachable; 2 for wrong usage or unreadable input, with
/// one line on standard error; 3 if a run was vacuous or nondeterministic (1
/// outranks it); 130 after Ctrl-C.
pub fn main() -> ExitCode {
    let command = match cli::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(stop) => return stop.exit(),
    };
    match dispatch(command) {
        Ok(_) if interrupt::requested() => Status::Interrupted.into(),
        Ok(status) => status.into(),
        Err(error) => {
            error::complain(&error.to_string());
            Status::Usage.into()
        }
    }
}

fn dispatch(command: Command) -> Result<Status, Error> {
    // The second process of `--twice` is its parent's to stop. And what looks at
    // a directory has nothing to report of a half: it just ends.
    if !matches!(command, Command::Again(_) | Command::Log(_)) {
        interrupt::install()?;
    }
    match command {
        Command::Run(args) if openraft::is_meant(&args.scenario) => openraft::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Replay(args) if args.scenario.as_deref() == Some(openraft::NAME) => {
            openraft::replay(&args)
        }
        Command::Replay(args) => replay::replay(&args),
        Command::Explore(args) => explore::explore(&args),
        Command::Shrink(args) => shrink::command(&args),
        Command::Regress(args) => regress::regress(&args),
        Command::Mutants(args) => mutants::mutants(&args),
        Command::Check(args) => check::check(&args),
        Command::Litmus(args) => litmus::litmus(&args),
        Command::List(args) => list::list(&args),
        Command::Log(command) => log::log(&command),
        Command::Again(args) => again::again(&args),
    }
}

/// The example in the README is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
