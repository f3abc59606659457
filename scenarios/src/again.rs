//! The second process of `--twice`: one run, its fingerprint, its trace.

use std::io::Write;

use afterimage_sim::run::{Detail, run_fresh};

use crate::campaign::{draw, options};
use crate::cli::{self, AgainArgs};
use crate::error::Error;
use crate::out::Out;
use crate::status::Status;
use crate::twice::Fingerprint;

pub fn again(args: &AgainArgs) -> Result<Status, Error> {
    let mutant = cli::mutant(args.mutant.as_deref());
    let plan = draw(
        &args.scenario,
        args.seed,
        cli::profile(args.profile.as_deref()),
        args.unbounded,
    )?;
    let report = run_fresh(
        &plan,
        options(mutant, args.trace.then_some(Detail::Everything)),
    );
    let mut out = Out::stdout();
    writeln!(out, "{}", Fingerprint::from(&report))?;
    if let Some(trace) = &report.trace {
        out.write_all(trace.as_bytes())?;
    }
    out.flush()?;
    // Whatever the verdict: it is in the fingerprint.
    Ok(Status::Ok)
}
