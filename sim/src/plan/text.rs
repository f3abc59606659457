//! The text form of a plan: one line an item, `#` begins a comment.
//!
//! ```text
//! plan 1                                   # the version of this form
//! scenario raft-3
//! seed 0x2a                                # or decimal; 0 if left out
//! cluster nodes=3 tick_ms=10 duration_ms=20000
//! net latency_us=500..2000 loss=1/100
//! disk op_us=20..100 profile=xfs direct    # written through, where asked to
//! workload clients=3 keys=4 reads=1/3
//! s4 @1200 partition leader one_way for=3000
//! s5 @1500 crash n2 op=sync:log-* nth=3 point=mid down=400
//! s6 @1500 crash n2 during=recovery op=* nth=5    # in the open that follows
//! s7 kill follower.1 down=200              # without @: at 0
//! s8 @2000 fail n1 op=sync nth=2 fault=eio
//! s9 @2500 rot n3 file=log-* sector=2 bit=17
//! s10 await n2 until=receives:append nth=2  # what is below waits for it
//! s11 lose n2,n3 to=n1 kind=append-accepted
//! s12 @100 mend 11                         # 0.1 s after s10 was met
//! s13 heal                                 # the faults end
//! s14 @3000 add_learner n4 for=2000        # a spare: cluster nodes=3 spares=1
//! s15 @3000 partition ring for=2000 flap=300
//! s16 @3500 remove leader stop for=4000
//! ```
//!
//! `scenario` is the only section that must be there. A key that is left out
//! has the default of `sections.rs` or, in a step, of `actions.rs`; sections
//! come before steps. A target is a member (`n2`), the `leader`, or
//! `follower.0` and so on, at the moment the step is carried out. Times are in
//! milliseconds where no unit is named.
//!
//! A plan of the scenario `store` drives one store, step by step:
//!
//! ```text
//! plan 1
//! scenario store
//! cluster segment_bytes=1024
//! s1 append 1/1:8 1/2:8                    # term/index:bytes
//! s2 crash op=* nth=2 point=before         # within the next step
//! s3 append 1/3:700
//! s4 restart
//! s5 check
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::actions::{cluster_actions, store_actions};
use super::fields;
use super::words::quote;
use super::{Action, Cluster, Disk, Net, Plan, STORE, Step, Workload};

/// The version of the text form that is written, and the newest that is read.
const VERSION: u32 = 1;
const HOUR_MS: u64 = 3_600_000;
const SCENARIO_BYTES_MAX: usize = 64;
const SECTIONS: &str = "scenario, seed, cluster, net, disk, workload";

/// Why a text is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PlanError {
    /// Counted from 1.
    pub line: usize,
    pub problem: Problem,
}

/// What is wrong with a line. Quotes of the text are short and of one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("expected `plan {VERSION}`, found {found}")]
    Header { found: String },
    #[error("plan version {found}, this build knows up to {VERSION}")]
    Version { found: u32 },
    #[error("unknown {what} {found}; known: {known}")]
    Unknown {
        what: &'static str,
        found: String,
        known: String,
    },
    #[error("{what} is missing")]
    Missing { what: &'static str },
    #[error("{what} is {found}; allowed: {allowed}")]
    Invalid {
        what: String,
        found: String,
        allowed: String,
    },
    #[error("{found} is either a word of its own or KEY=VALUE, once")]
    Misshapen { found: String },
    #[error("{what} was given before")]
    Duplicate { what: String },
    #[error("section `{what}` after the first step; sections come first")]
    Misplaced { what: &'static str },
    #[error("a control character")]
    Control,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "plan {VERSION}")?;
        writeln!(f, "scenario {}", self.scenario)?;
        writeln!(f, "seed {:#x}", self.seed)?;
        write_section(f, "cluster", &self.cluster)?;
        write_section(f, "net", &self.net)?;
        write_section(f, "disk", &self.disk)?;
        write_section(f, "workload", &self.workload)?;
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        Ok(())
    }
}

fn write_section<S>(f: &mut fmt::Formatter<'_>, name: &str, section: &S) -> fmt::Result
where
    S: fields::Line + Clone + Default,
{
    let changed = fields::changed(section);
    if changed.is_empty() {
        return Ok(());
    }
    writeln!(f, "{name} {}", changed.join(" "))
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.id)?;
        if self.at_ms > 0 {
            write!(f, " @{}", self.at_ms)?;
        }
        write!(f, " {}", self.action.name())?;
        for field in fields::print(&self.action) {
            write!(f, " {field}")?;
        }
        Ok(())
    }
}

impl FromStr for Plan {
    type Err = PlanError;

    /// Reads a plan. Never panics; memory grows with the text alone.
    fn from_str(text: &str) -> Result<Plan, PlanError> {
        let mut parser = Parser::default();
        let mut last = 1;
        for (number, line) in (1..).zip(text.lines()) {
            last = number;
            parser.line(line).map_err(|problem| PlanError {
                line: number,
                problem,
            })?;
        }
        parser.finish().map_err(|problem| PlanError {
            line: last,
            problem,
        })
    }
}

/// The part of a line before its comment. A `#` inside of a word is none.
fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        if c == '#' && before.is_whitespace() {
            return &line[..at];
        }
        before = c;
    }
    line
}

#[derive(Default)]
struct Parser {
    version_read: bool,
    scenario: Option<String>,
    seed: Option<u64>,
    cluster: Option<Cluster>,
    net: Option<Net>,
    disk: Option<Disk>,
    workload: Option<Workload>,
    steps: Vec<Step>,
    ids: BTreeSet<u32>,
}

impl Parser {
    fn line(&mut self, line: &str) -> Result<(), Problem> {
        let line = without_comment(line);
        if line.contains(|c: char| c.is_control() && c != '\t') {
            return Err(Problem::Control);
        }
        let tokens: Vec<&str> = line.split_whitespace().collect();
        let Some((&first, rest)) = tokens.split_first() else {
            return Ok(());
        };
        if !self.version_read {
            self.version_read = true;
            return read_version(first, rest);
        }
        match first {
            "scenario" => {
                let scenario = read_scenario(only_word("scenario", rest)?)?;
                self.section(|p| &mut p.scenario, "scenario", scenario)
            }
            "seed" => {
                let seed = read_seed(only_word("seed", rest)?)?;
                self.section(|p| &mut p.seed, "seed", seed)
            }
            "cluster" => {
                let cluster = read_section::<Cluster>(rest)?;
                check_cluster(&cluster)?;
                self.section(|p| &mut p.cluster, "cluster", cluster)
            }
            "net" => self.section(|p| &mut p.net, "net", read_section(rest)?),
            "disk" => self.section(|p| &mut p.disk, "disk", read_section(rest)?),
            "workload" => self.section(|p| &mut p.workload, "workload", read_section(rest)?),
            _ => self.step(first, rest),
        }
    }

    fn section<T>(
        &mut self,
        slot: impl Fn(&mut Self) -> &mut Option<T>,
        what: &'static str,
        value: T,
    ) -> Result<(), Problem> {
        if !self.steps.is_empty() {
            return Err(Problem::Misplaced { what });
        }
        if slot(self).replace(value).is_some() {
            return Err(Problem::Duplicate {
                what: format!("section `{what}`"),
            });
        }
        Ok(())
    }

    fn step(&mut self, first: &str, rest: &[&str]) -> Result<(), Problem> {
        let id: u32 = first
            .strip_prefix('s')
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| Problem::Unknown {
                what: "section or step",
                found: quote(first),
                known: format!("{SECTIONS}, and steps such as `s1`"),
            })?;
        let scenario = self.scenario.as_ref().ok_or(Problem::Missing {
            what: "`scenario`, which comes before the first step,",
        })?;
        let on_store = scenario == STORE;
        let (at_ms, rest) = match rest.split_first() {
            Some((token, rest)) if token.starts_with('@') => (read_time(token, on_store)?, rest),
            _ => (0, rest),
        };
        let Some((&name, fields)) = rest.split_first() else {
            return Err(Problem::Missing { what: "the action" });
        };
        let known = if on_store {
            store_actions()
        } else {
            cluster_actions()
        };
        let names: Vec<&str> = known.iter().map(Action::name).collect();
        let Some(mut action) = known.into_iter().find(|action| action.name() == name) else {
            return Err(Problem::Unknown {
                what: "action",
                found: quote(name),
                known: names.join(", "),
            });
        };
        fields::read(&mut action, fields)?;
        match &self.cluster {
            Some(cluster) => action.check(cluster)?,
            None => action.check(&Cluster::default())?,
        }
        if !self.ids.insert(id) {
            return Err(Problem::Duplicate {
                what: format!("step `s{id}`"),
            });
        }
        self.steps.push(Step { id, at_ms, action });
        Ok(())
    }

    fn finish(self) -> Result<Plan, Problem> {
        if !self.version_read {
            return Err(Problem::Header {
                found: "nothing".to_string(),
            });
        }
        Ok(Plan {
            scenario: self.scenario.ok_or(Problem::Missing {
                what: "section `scenario`",
            })?,
            seed: self.seed.unwrap_or(0),
            cluster: self.cluster.unwrap_or_default(),
            net: self.net.unwrap_or_default(),
            disk: self.disk.unwrap_or_default(),
            workload: self.workload.unwrap_or_default(),
            steps: self.steps,
        })
    }
}

fn read_version(first: &str, rest: &[&str]) -> Result<(), Problem> {
    let version = match rest {
        [version] if first == "plan" => version.parse().ok(),
        _ => None,
    };
    match version {
        Some(found) if found > VERSION => Err(Problem::Version { found }),
        Some(VERSION) => Ok(()),
        _ => Err(Problem::Header {
            found: quote(&[&[first], rest].concat().join(" ")),
        }),
    }
}

fn only_word<'a>(what: &'static str, rest: &[&'a str]) -> Result<&'a str, Problem> {
    match rest {
        [] => Err(Problem::Missing { what }),
        [word] => Ok(word),
        more => Err(Problem::Invalid {
            what: what.to_string(),
            found: quote(&more.join(" ")),
            allowed: "one word".to_string(),
        }),
    }
}

fn read_scenario(text: &str) -> Result<String, Problem> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    if text.len() > SCENARIO_BYTES_MAX || !text.chars().all(allowed) {
        return Err(Problem::Invalid {
            what: "scenario".to_string(),
            found: quote(text),
            allowed: format!("up to {SCENARIO_BYTES_MAX} of a-z, 0-9, - and _"),
        });
    }
    Ok(text.to_string())
}

fn read_seed(text: &str) -> Result<u64, Problem> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|_| Problem::Invalid {
        what: "seed".to_string(),
        found: quote(text),
        allowed: "a decimal or 0x number of 64 bits".to_string(),
    })
}

fn read_section<S: fields::Line + Default>(tokens: &[&str]) -> Result<S, Problem> {
    let mut section = S::default();
    fields::read(&mut section, tokens)?;
    Ok(section)
}

fn check_cluster(cluster: &Cluster) -> Result<(), Problem> {
    if cluster.heartbeat_ticks < cluster.election_ticks {
        return Ok(());
    }
    Err(Problem::Invalid {
        what: "heartbeat_ticks".to_string(),
        found: quote(&cluster.heartbeat_ticks.to_string()),
        allowed: format!("fewer than election_ticks, {}", cluster.election_ticks),
    })
}

fn read_time(token: &str, on_store: bool) -> Result<u64, Problem> {
    let invalid = |allowed: String| Problem::Invalid {
        what: "time".to_string(),
        found: quote(token),
        allowed,
    };
    if on_store {
        let allowed = format!("none, the steps of `{STORE}` just follow one another");
        return Err(invalid(allowed));
    }
    token
        .strip_prefix('@')
        .and_then(|number| number.parse().ok())
        .filter(|at| *at <= HOUR_MS)
        .ok_or_else(|| invalid(format!("@0 to @{HOUR_MS}, in milliseconds")))
}
