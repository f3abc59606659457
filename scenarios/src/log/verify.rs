//! `afterimage log verify`: is everything right, and if not, what is to be done?

use std::io::Write;
use std::path::Path;

use afterimage_engine::inspect::{Problem, Verified};

use super::json::VerifyReport;
use crate::cli::LogArgs;
use crate::error::Error;
use crate::json;
use crate::out::{Out, Outputs};
use crate::status::Status;
use crate::summary::{GREEN, RED, plural, styled};

pub fn verify(args: &LogArgs) -> Result<Status, Error> {
    let inspector = super::look(&args.dir)?;
    let outputs = Outputs::open(args.json.as_deref(), None)?;
    let verified = inspector.verify()?;
    let mut out = outputs.out;
    tell(&mut out, inspector.dir(), &verified)?;
    out.flush()?;
    json::write(outputs.json, &VerifyReport::new(inspector.dir(), &verified))?;
    Ok(status(&verified))
}

pub fn status(verified: &Verified) -> Status {
    match verified.is_clean() {
        true => Status::Ok,
        false => Status::Broken,
    }
}

/// What it holds, what is wrong, and what is in the way.
pub fn tell(out: &mut Out, dir: &Path, verified: &Verified) -> Result<(), Error> {
    let count = plural(verified.problems.len() as u64, "problem");
    let verdict = match verified.is_clean() {
        true => styled(GREEN, "clean"),
        false => styled(RED, &count),
    };
    writeln!(out, "{}: {verdict}", dir.display())?;
    match &verified.opens {
        Ok(report) => {
            let hard_state = report.hard_state;
            let vote = hard_state.vote.map_or("-".to_owned(), |id| id.to_string());
            let snapshot = report.snapshot.as_ref();
            writeln!(
                out,
                "  opens     log {}, snapshot {}, term {}, vote {vote}",
                match report.first_index <= report.last_index {
                    true => format!("{}..={}", report.first_index, report.last_index),
                    false => "empty".to_owned(),
                },
                snapshot.map_or("-".to_owned(), |meta| format!("up to {}", meta.last_index)),
                hard_state.term,
            )?;
        }
        Err(error) => writeln!(out, "  refuses   {error}")?,
    }
    writeln!(
        out,
        "  read      {} in {}, {} bytes",
        plural(verified.records, "record"),
        plural(verified.segments as u64, "segment"),
        verified.bytes,
    )?;
    for problem in &verified.problems {
        tell_problem(out, problem)?;
    }
    for (name, why) in &verified.garbage {
        writeln!(out, "  garbage   {name}: {why}")?;
    }
    Ok(())
}

pub fn tell_problem(out: &mut Out, problem: &Problem) -> Result<(), Error> {
    let Problem {
        path,
        offset,
        what,
        effect,
    } = problem;
    let word = styled(RED, "problem");
    writeln!(out, "  {word}   {} @{offset}: {what}", path.display())?;
    writeln!(out, "            the store {}", effect.as_str())?;
    writeln!(out, "            {}", what.remedy())?;
    Ok(())
}
