//! Ctrl-C: the first one ends the work after the runs under way, the second
//! one ends the process.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Error;
use crate::out;
use crate::status::Status;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Whether the user wants to stop: start nothing new.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

pub fn install() -> Result<(), Error> {
    ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            std::process::exit(Status::Interrupted.code().into());
        }
        out::note("\nstopping after the runs under way; Ctrl-C again stops at once");
    })?;
    Ok(())
}
