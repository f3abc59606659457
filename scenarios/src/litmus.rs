//! `afterimage litmus`: can a profile leave what real filesystems left?

use std::io::Write;

use afterimage_sim::litmus::{self, Row, Suite};

use crate::cli::{self, LitmusArgs};
use crate::error::Error;
use crate::json;
use crate::out::{Out, Outputs};
use crate::status::Status;
use crate::summary::{GREEN, RED, plural, styled};

pub fn litmus(args: &LitmusArgs) -> Result<Status, Error> {
    let text = std::fs::read_to_string(&args.file).map_err(Error::io("read", &args.file))?;
    let wrong = |source| Error::Litmus {
        path: args.file.clone(),
        source,
    };
    let suite: Suite = text.parse().map_err(wrong)?;
    let profile = args.profile.as_deref().map(|name| cli::profile(Some(name)));
    let outputs = Outputs::open(args.json.as_deref(), None)?;
    let rows = litmus::judge(&suite, profile).map_err(wrong)?;

    let mut out = outputs.out;
    for of_test in rows.chunk_by(|a, b| a.name == b.name) {
        table(&mut out, of_test)?;
    }
    let missing: usize = rows.iter().map(|row| row.missing.len()).sum();
    writeln!(
        out,
        "{}, {}: {}",
        plural(suite.tests.len() as u64, "test"),
        plural(rows.len() as u64, "comparison"),
        match missing {
            0 => styled(GREEN, "every observed outcome is reachable"),
            _ => styled(RED, &format!("{missing} observed, and not reachable")),
        },
    )?;
    out.flush()?;
    let tests = rows.into_iter().map(|row| json::LitmusTest {
        never_seen: row.never_seen(),
        row,
    });
    let report = json::Litmus {
        tests: tests.collect(),
    };
    json::write(outputs.json, &report)?;
    Ok(match missing {
        0 => Status::Ok,
        _ => Status::Broken,
    })
}

/// One test on each filesystem.
fn table(out: &mut Out, rows: &[Row]) -> Result<(), Error> {
    writeln!(
        out,
        "{:<22} {:<15} {:>8} {:>9} {:>10} {:>7}",
        rows[0].name, "profile", "observed", "reachable", "never seen", "missing"
    )?;
    for row in rows {
        let number = |count: Option<usize>| match count {
            Some(count) => count.to_string(),
            None => "> 10^6".to_owned(),
        };
        writeln!(
            out,
            "  {:<20} {:<15} {:>8} {:>9} {:>10} {:>7}",
            row.fs,
            row.profile,
            row.observed,
            number(row.reachable),
            number(row.never_seen()),
            row.missing.len(),
        )?;
        for outcome in &row.missing {
            let files = outcome.content.iter();
            let files: Vec<String> = files.map(|(name, runs)| format!("{name}={runs}")).collect();
            let (label, files) = (&outcome.label, files.join("; "));
            writeln!(out, "    {} {label}: {{{files}}}", styled(RED, "missing"))?;
        }
    }
    Ok(())
}
