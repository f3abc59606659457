//! `afterimage log`: a real log directory, looked at and mended. What is in it,
//! and what is wrong with it, `afterimage_engine::inspect` says.

mod dump;
mod json;
mod repair;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use afterimage_engine::fs::OsReadOnly;
use afterimage_engine::inspect::Inspector;

use crate::cli::LogCommand;
use crate::error::Error;
use crate::status::Status;

pub fn log(command: &LogCommand) -> Result<Status, Error> {
    match command {
        LogCommand::Dump(args) => dump::dump(args),
        LogCommand::Verify(args) => verify::verify(args),
        LogCommand::Repair(args) => repair::repair(args),
    }
}

/// Looks at a directory, and cannot change it.
fn look(dir: &Path) -> Result<Inspector, Error> {
    let dir = real(dir)?;
    Ok(Inspector::open(Arc::new(OsReadOnly), &dir)?)
}

/// The directory's own path, so that its parent and its name are known.
fn real(dir: &Path) -> Result<PathBuf, Error> {
    dir.canonicalize().map_err(Error::io("read", dir))
}
