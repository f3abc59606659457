//! `afterimage log repair`: what would mend a directory, what it would cost; and
//! with `--yes`, a backup first, and then the deed.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use afterimage_engine::fs::OsFs;
use afterimage_engine::inspect::{Action, Inspector, Loss, Repair, Verified};
use afterimage_engine::threads::SystemEnv;

use super::json::{ActionItem, ProblemItem, RepairReport, VerifyReport};
use super::verify;
use crate::cli::LogRepairArgs;
use crate::error::Error;
use crate::json;
use crate::out::{Out, Outputs};
use crate::status::Status;
use crate::summary::plural;

pub fn repair(args: &LogRepairArgs) -> Result<Status, Error> {
    let mut inspector = match args.yes {
        true => Inspector::open_to_repair(Arc::new(OsFs), &super::real(&args.log.dir)?)?,
        false => super::look(&args.log.dir)?,
    };
    let outputs = Outputs::open(args.log.json.as_deref(), None)?;
    let mut out = outputs.out;
    let verified = inspector.verify()?;
    let repair = inspector.propose()?;
    let needed = !repair.actions.is_empty();
    let goes = args.yes && needed && repair.is_possible();
    verify::tell(&mut out, inspector.dir(), &verified)?;
    tell(&mut out, &repair, goes)?;
    out.flush()?;

    let backup = goes.then(|| backup_of(inspector.dir()));
    let mut after = None;
    if let Some(backup) = &backup {
        let bytes = inspector.back_up(backup)?;
        writeln!(out, "  copied    {bytes} bytes to {}", backup.display())?;
        let env = SystemEnv::unobserved().map_err(Error::io("draw entropy for", "the log"))?;
        inspector.carry_out(&repair, &env)?;
        let verified = inspector.verify()?;
        writeln!(out, "  done")?;
        verify::tell(&mut out, inspector.dir(), &verified)?;
        after = Some(verified);
    } else if needed && repair.is_possible() {
        let (dir, backup) = (inspector.dir(), backup_of(inspector.dir()));
        writeln!(
            out,
            "  nothing was changed. With --yes it is done, after a copy of"
        )?;
        writeln!(out, "  {} to {}", dir.display(), backup.display())?;
    }
    out.flush()?;
    let report = report(&inspector, &repair, backup, after.as_ref());
    json::write(outputs.json, &report)?;
    Ok(verify::status(after.as_ref().unwrap_or(&verified)))
}

/// Beside the directory, so that it is on the same disk.
fn backup_of(dir: &Path) -> PathBuf {
    let mut name = dir
        .file_name()
        .map_or(OsString::from("log"), OsString::from);
    name.push(".before-repair");
    dir.with_file_name(name)
}

fn tell(out: &mut Out, repair: &Repair, goes: bool) -> Result<(), Error> {
    let possible = repair.is_possible();
    if repair.actions.is_empty() && repair.unmended.is_empty() {
        writeln!(out, "  nothing to repair")?;
    }
    if !possible {
        writeln!(
            out,
            "  no repair would make it open; see the remedies above"
        )?;
        return Ok(());
    }
    for action in &repair.actions {
        let word = if goes { "will" } else { "would" };
        writeln!(out, "  {word:<9} {}", told(action))?;
    }
    if let Some(loss) = &repair.loss {
        tell_loss(out, loss)?;
    }
    for problem in &repair.unmended {
        writeln!(
            out,
            "  stays     {} @{}",
            problem.path.display(),
            problem.offset
        )?;
    }
    Ok(())
}

fn told(action: &Action) -> String {
    match action {
        Action::RewriteSlot { number } => {
            format!("write the hard state that counts into slot {number}, which is bad")
        }
        Action::EndLog {
            before,
            generation,
            last,
            ..
        } => {
            let after = match last {
                Some((name, end)) => format!("behind {name} @{end}"),
                None => "anew".to_owned(),
            };
            format!(
                "begin a segment of generation {generation} at {before}, {after}: it hides \
                 whatever stands there now"
            )
        }
        Action::Remove { name, why } => format!("remove {name}: {why}"),
    }
}

fn tell_loss(out: &mut Out, loss: &Loss) -> Result<(), Error> {
    let terms = match loss.terms {
        Some((low, high)) if low == high => format!(", of term {low}"),
        Some((low, high)) => format!(", of terms {low} to {high}"),
        None => String::new(),
    };
    let records = plural(loss.records, "readable record");
    match loss.from <= loss.to {
        true => writeln!(
            out,
            "  loses     entries {}..={}: {records}, {} bytes{terms}",
            loss.from, loss.to, loss.bytes
        )?,
        false => writeln!(
            out,
            "  loses     what was written at {}, of which nothing can be read",
            loss.from
        )?,
    }
    let known = match loss.durable_index >= loss.from {
        true => format!("; up to {} they were durable", loss.durable_index),
        false => String::new(),
    };
    writeln!(
        out,
        "            these entries may have been acknowledged{known}"
    )?;
    Ok(())
}

fn report(
    inspector: &Inspector,
    repair: &Repair,
    backup: Option<PathBuf>,
    after: Option<&Verified>,
) -> RepairReport {
    let dir = inspector.dir();
    let actions = repair.actions.iter();
    RepairReport {
        dir: dir.to_string_lossy().into_owned(),
        done: after.is_some(),
        possible: repair.is_possible(),
        actions: actions.map(|a| ActionItem::new(a, told(a))).collect(),
        loss: repair.loss.map(Into::into),
        unmended: repair.unmended.iter().map(ProblemItem::new).collect(),
        backup: backup.map(|path| path.to_string_lossy().into_owned()),
        after: after.map(|verified| VerifyReport::new(dir, verified)),
    }
}
