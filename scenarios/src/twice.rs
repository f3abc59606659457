//! The same seed in another process: is it the same run?

use std::fmt;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::str::FromStr;

use afterimage_sim::mutants::MutantInfo;
use afterimage_sim::plan::{Heal, Plan};
use afterimage_sim::report::RunReport;
use afterimage_sim::run::{Detail, run_fresh};
use afterimage_sim::verdict::Verdict;

use crate::campaign::options;
use crate::digest::hex;
use crate::error::Error;

/// This very program: its path may hold a newer build by now.
const SELF: &str = "/proc/self/exe";

/// Lines shown before the first one that differs.
const NEIGHBOURS: usize = 3;

/// What two runs of a seed must agree on. Its text form is the first line that
/// the second process prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    verdict: Verdict,
    digest: u64,
    events: u64,
}

impl From<&RunReport> for Fingerprint {
    fn from(report: &RunReport) -> Self {
        Fingerprint {
            verdict: report.verdict,
            digest: report.digest,
            events: report.events,
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.verdict, hex(self.digest), self.events)
    }
}

impl FromStr for Fingerprint {
    type Err = String;
    fn from_str(line: &str) -> Result<Self, String> {
        let bad = || format!("it answered `{line}`");
        let parts: Vec<&str> = line.split(' ').collect();
        let [verdict, digest, events] = parts[..] else {
            return Err(bad());
        };
        let digest = digest.strip_prefix("0x").ok_or_else(bad)?;
        Ok(Fingerprint {
            verdict: verdict.parse().map_err(|_| bad())?,
            digest: u64::from_str_radix(digest, 16).map_err(|_| bad())?,
            events: events.parse().map_err(|_| bad())?,
        })
    }
}

/// Two runs of a seed that were not the same.
#[derive(Debug)]
pub struct Difference {
    pub first: Fingerprint,
    pub second: Fingerprint,
    /// The first event that differs, with its neighbours.
    pub event: String,
}

/// Runs the seed again in a fresh process and compares it with `report`.
///
/// A process a seed, not one for all: what leaks from run to run through the
/// process (a counter, a hasher's keys) shows up as a difference only so.
pub fn compare(
    plan: &Plan,
    mutant: Option<&'static MutantInfo>,
    report: &RunReport,
) -> Result<Option<Difference>, Error> {
    let failed = |what: String| Error::SecondProcess {
        scenario: plan.scenario.clone(),
        seed: plan.seed,
        what,
    };
    let again = |trace| second_process(plan, mutant, trace).map_err(failed);
    let first = Fingerprint::from(report);
    let (second, _) = again(false)?;
    if first == second {
        return Ok(None);
    }
    // Only now with the traces: they cost more than the runs.
    let traced = run_fresh(plan, options(mutant, Some(Detail::Everything)));
    let (_, trace) = again(true)?;
    let event = first_difference(traced.trace.as_deref().unwrap_or(""), &trace).unwrap_or_else(
        || "the traces of two more runs are equal: the difference comes and goes, or is in an event that a trace leaves out".to_owned(),
    );
    Ok(Some(Difference {
        first,
        second,
        event,
    }))
}

fn second_process(
    plan: &Plan,
    mutant: Option<&'static MutantInfo>,
    trace: bool,
) -> Result<(Fingerprint, String), String> {
    let mut command = Command::new(SELF);
    command
        .args(["again", "--scenario", &plan.scenario, "--seed"])
        .arg(plan.seed.to_string())
        .args(["--profile", plan.disk.profile.name])
        .stdin(Stdio::null())
        // The terminal's Ctrl-C is for us alone: a seed under way is finished.
        .process_group(0);
    if let Some(mutant) = mutant {
        command.args(["--mutant", mutant.name]);
    }
    // No other drawn plan has this.
    if plan.cluster.heal == Heal::Nobody {
        command.arg("--unbounded");
    }
    if trace {
        command.arg("--trace");
    }
    let io = |error: io::Error| format!("it cannot be started: {error}");
    let output = command.output().map_err(io)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("it ended with {}: {said}", output.status));
    }
    let text = String::from_utf8(output.stdout).map_err(|error| error.to_string())?;
    let (line, trace) = text.split_once('\n').unwrap_or((&text, ""));
    Ok((line.parse()?, trace.to_owned()))
}

/// The first line in which two traces differ, after the lines before it.
fn first_difference(first: &str, second: &str) -> Option<String> {
    let (mut a, mut b) = (first.lines(), second.lines());
    let mut before = Vec::new();
    for number in 1_u64.. {
        let (x, y) = (a.next(), b.next());
        if x != y {
            let tail = before.len().saturating_sub(NEIGHBOURS);
            let mut text = format!("line {number} of the trace differs:\n");
            for line in &before[tail..] {
                text += &format!("         {line}\n");
            }
            text += &format!("  first  {}\n", x.unwrap_or("(the trace ends)"));
            text += &format!("  second {}", y.unwrap_or("(the trace ends)"));
            return Some(text);
        }
        before.push(x?);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(first: &str, second: &str, expected: Option<&str>) {
        assert_eq!(first_difference(first, second).as_deref(), expected);
    }

    #[test]
    fn the_first_difference_is_named_with_its_neighbours() {
        check("", "", None);
        check("a\nb\n", "a\nb\n", None);
        check(
            "a\nb\nc\nd\ne\nf",
            "a\nb\nc\nd\nX\nf",
            Some(
                "line 5 of the trace differs:\n         b\n         c\n         d\n  \
                 first  e\n  second X",
            ),
        );
        check(
            "a",
            "a\nb",
            Some(
                "line 2 of the trace differs:\n         a\n  \
                 first  (the trace ends)\n  second b",
            ),
        );
    }

    #[test]
    fn a_fingerprint_survives_its_text_form() {
        for verdict in ["pass", "vacuous", "fail(acked-durable)"] {
            let fingerprint = Fingerprint {
                verdict: verdict.parse().expect("a verdict"),
                digest: 0x2a,
                events: 7,
            };
            assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        }
        for bad in [
            "",
            "pass",
            "pass 2a 7",
            "pass 0x2a",
            "pass 0x2a 7 7",
            "great 0x2a 7",
        ] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }
}
