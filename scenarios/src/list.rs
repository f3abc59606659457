//! `afterimage list`: everything that has a name.

use std::io::Write;

use afterimage_sim::disk::Profile;
use afterimage_sim::mutants::catalogue;
use afterimage_sim::run::SCENARIOS;
use afterimage_sim::verdict::Invariant;
use anstyle::Style;

use crate::cli::ListArgs;
use crate::error::Error;
use crate::json;
use crate::openraft;
use crate::out::{Out, Outputs};
use crate::status::Status;
use crate::summary::styled;

pub fn list(args: &ListArgs) -> Result<Status, Error> {
    let outputs = Outputs::open(args.json.as_deref(), None)?;
    let mut out = outputs.out;
    let scenarios: Vec<_> = SCENARIOS
        .iter()
        .map(|s| [s.name, s.about.as_str(), ""])
        .chain([[openraft::NAME, openraft::ABOUT, ""]])
        .collect();
    let profiles: Vec<_> = Profile::ALL.iter().map(|p| [p.name, p.about, ""]).collect();
    let invariants: Vec<_> = Invariant::ALL
        .iter()
        .map(|i| [i.name(), i.about(), ""])
        .collect();
    let mutants: Vec<_> = catalogue().map(|m| [m.name, m.what, m.source]).collect();
    section(&mut out, "scenarios", &scenarios)?;
    section(&mut out, "profiles", &profiles)?;
    section(&mut out, "invariants", &invariants)?;
    section(&mut out, "mutants", &mutants)?;
    out.flush()?;
    json::write(outputs.json, &names())?;
    Ok(Status::Ok)
}

/// Rows of a name, what it is, and where it comes from.
fn section(out: &mut Out, title: &str, rows: &[[&str; 3]]) -> Result<(), Error> {
    writeln!(out, "{}", styled(Style::new().bold(), title))?;
    let width = rows.iter().map(|[name, ..]| name.len()).max().unwrap_or(0);
    for [name, about, source] in rows {
        writeln!(out, "{}", format!("  {name:<width$}  {about}").trim_end())?;
        if !source.is_empty() {
            writeln!(out, "  {:<width$}  [{source}]", "")?;
        }
    }
    Ok(())
}

fn names() -> json::List {
    json::List {
        scenarios: SCENARIOS
            .iter()
            .map(|scenario| json::ListedScenario {
                name: scenario.name,
                about: scenario.about.clone(),
                default: scenario.default,
            })
            .chain([json::ListedScenario {
                name: openraft::NAME,
                about: openraft::ABOUT.to_owned(),
                default: false,
            }])
            .collect(),
        profiles: Profile::ALL
            .iter()
            .map(|profile| json::ListedProfile {
                name: profile.name,
                about: profile.about,
            })
            .collect(),
        invariants: Invariant::ALL
            .iter()
            .map(|invariant| json::ListedInvariant {
                name: invariant.name(),
                about: invariant.about(),
            })
            .collect(),
        mutants: catalogue()
            .map(|mutant| json::ListedMutant {
                name: mutant.name,
                source: mutant.source,
                what: mutant.what,
            })
            .collect(),
    }
}
