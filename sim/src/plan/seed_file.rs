//! A file of `seeds/`: a plan, and how running it must end.
//!
//! ```text
//! about = "The snapshot was renamed into place before its bytes were synced."
//! expect = [
//!   { mutant = "snapshot-not-synced", verdict = "fail(acked-durable)" },
//!   { verdict = "pass" },
//! ]
//! plan = '''
//! plan 1
//! scenario raft-3
//! ...
//! '''
//! ```
//!
//! A bare plan is a seed file too: the engine itself is expected to pass it.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::Deserialize;
use toml::Spanned;

use super::{Plan, PlanError};
use crate::verdict::Verdict;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedFile {
    /// What the plan shows, for people.
    pub about: String,
    /// At least one, each for another mutant.
    pub expect: Vec<Expectation>,
    pub plan: Plan,
}

/// How a run of the plan must end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// With this bug planted; `None`: the engine as it is. Whether there is
    /// such a mutant is for the one who runs the file to see.
    pub mutant: Option<String>,
    pub verdict: Verdict,
}

/// Why a text is no seed file. Lines count from 1, in the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeedFileError {
    #[error("line {line}: {message}")]
    Toml { line: usize, message: String },
    #[error(
        "line {line}: {message}; verdicts are pass, fail(INVARIANT), vacuous, nondeterministic"
    )]
    Verdict { line: usize, message: String },
    #[error("line {line}: `expect` is empty, so the file would check nothing")]
    ExpectsNothing { line: usize },
    #[error("line {line}: a second expectation for {who}")]
    Repeated { line: usize, who: String },
    #[error(transparent)]
    Plan(PlanError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    about: String,
    expect: Spanned<Vec<Spanned<RawExpectation>>>,
    plan: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExpectation {
    mutant: Option<String>,
    verdict: String,
}

impl FromStr for SeedFile {
    type Err = SeedFileError;

    fn from_str(text: &str) -> Result<SeedFile, SeedFileError> {
        if is_bare_plan(text) {
            return Ok(SeedFile {
                about: String::new(),
                expect: vec![Expectation {
                    mutant: None,
                    verdict: Verdict::Pass,
                }],
                plan: text.parse().map_err(SeedFileError::Plan)?,
            });
        }
        let raw: RawFile = toml::from_str(text).map_err(|e| SeedFileError::Toml {
            line: e.span().map_or(1, |span| line_of(text, span.start)),
            // The parser may explain itself over several lines.
            message: e.message().lines().collect::<Vec<_>>().join(", "),
        })?;
        Ok(SeedFile {
            about: raw.about,
            expect: read_expectations(text, &raw.expect)?,
            plan: read_plan(text, &raw.plan)?,
        })
    }
}

impl SeedFile {
    /// Reads a seed file, or a bare plan.
    pub fn parse(text: &str) -> Result<SeedFile, SeedFileError> {
        text.parse()
    }
}

/// Whether the first thing in the text is the header of a plan. The key `plan`
/// of a seed file is followed by `=`.
fn is_bare_plan(text: &str) -> bool {
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'))
        .and_then(|line| line.strip_prefix("plan"))
        .is_some_and(|rest| {
            rest.starts_with(char::is_whitespace) && !rest.trim_start().starts_with('=')
        })
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    before.filter(|byte| **byte == b'\n').count() + 1
}

fn read_expectations(
    text: &str,
    raw: &Spanned<Vec<Spanned<RawExpectation>>>,
) -> Result<Vec<Expectation>, SeedFileError> {
    let line = |span: Range<usize>| line_of(text, span.start);
    if raw.get_ref().is_empty() {
        return Err(SeedFileError::ExpectsNothing {
            line: line(raw.span()),
        });
    }
    let mut seen = BTreeSet::new();
    let mut expect = Vec::new();
    for item in raw.get_ref() {
        let line = line(item.span());
        let RawExpectation { mutant, verdict } = item.get_ref();
        if !seen.insert(mutant) {
            let who = match mutant {
                Some(name) => format!("mutant `{}`", name.escape_debug()),
                None => "the engine itself".to_string(),
            };
            return Err(SeedFileError::Repeated { line, who });
        }
        expect.push(Expectation {
            mutant: mutant.clone(),
            verdict: verdict.parse().map_err(|message: String| {
                let message = message.escape_debug().to_string();
                SeedFileError::Verdict { line, message }
            })?,
        });
    }
    Ok(expect)
}

fn read_plan(text: &str, raw: &Spanned<String>) -> Result<Plan, SeedFileError> {
    let span = raw.span();
    let source = text.get(span.clone()).unwrap_or_default();
    let quotes = source.get(..3).unwrap_or_default();
    let after = source.get(3..).unwrap_or_default();
    // A newline right after the opening quotes is not part of the string.
    let opens_line = ["'''", "\"\"\""].contains(&quotes)
        && (after.starts_with('\n') || after.starts_with("\r\n"));
    let before = line_of(text, span.start) - usize::from(!opens_line);
    raw.get_ref().parse().map_err(|e: PlanError| {
        SeedFileError::Plan(PlanError {
            line: before + e.line,
            problem: e.problem,
        })
    })
}

impl fmt::Display for SeedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "about = {}", quoted(&self.about))?;
        writeln!(f, "expect = [")?;
        for Expectation { mutant, verdict } in &self.expect {
            match mutant {
                Some(mutant) => write!(f, "  {{ mutant = {}, ", quoted(mutant))?,
                None => write!(f, "  {{ ")?,
            }
            writeln!(f, "verdict = {} }},", quoted(&verdict.to_string()))?;
        }
        writeln!(f, "]")?;
        let plan = self.plan.to_string();
        if plan.contains("'''") {
            // Only a file name could hold these, and only in a plan made by hand.
            return writeln!(f, "plan = {}", quoted(&plan));
        }
        writeln!(f, "plan = '''\n{plan}'''")
    }
}

/// `text` as a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
