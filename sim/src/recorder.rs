//! Takes every record of a run to those who consume them: the digest, the
//! judges, the counters, and the text.

use std::collections::BTreeMap;

use afterimage_engine::{Event, Role};

use crate::check::{Judges, Model};
use crate::disk::{FaultKind, OpOutcome};
use crate::plan::{Plan, STORE};
use crate::report::RunReport;
use crate::run::RunOptions;
use crate::trace::text::line;
use crate::trace::{Digest, History, Record, Sometimes, Style, Watermarks, What};
use crate::verdict::{Invariant, Verdict, Violation};

pub(crate) struct Recorder {
    digest: Digest,
    events: u64,
    messages: u64,
    crashes: u64,
    kills: u64,
    elections: u64,
    client_ops: u64,
    faults: BTreeMap<&'static str, u64>,
    sometimes: Sometimes,
    watermarks: Watermarks,
    judges: Judges,
    /// Seen outside of the judges: a panic, an endless run.
    other: Option<Violation>,
    text: Option<String>,
    style: Style,
    history: Option<History>,
}

impl Recorder {
    pub fn new(options: &RunOptions, story: Style, judges: Judges) -> Self {
        Recorder {
            digest: Digest::new(),
            events: 0,
            messages: 0,
            crashes: 0,
            kills: 0,
            elections: 0,
            client_ops: 0,
            faults: BTreeMap::new(),
            sometimes: Sometimes::new(),
            watermarks: Watermarks::new(),
            judges,
            other: None,
            text: options.trace.is_some().then(String::new),
            style: options.style(story),
            history: options.history.then(History::new),
        }
    }

    pub fn record(&mut self, record: &Record) {
        self.events += 1;
        self.digest.record(record);
        self.count(&record.what);
        self.sometimes.record(record);
        self.watermarks.record(record);
        if let Some(text) = &mut self.text
            && let Some(line) = line(record, &self.style)
        {
            text.push_str(&line);
            text.push('\n');
        }
        if let Some(history) = &mut self.history {
            history.record(record);
        }
        self.judges.record(record);
    }

    /// What the run has shown so far, as the judges see it.
    pub fn model(&self) -> &Model {
        self.judges.model()
    }

    /// The judges as they are now: for asking what would follow from here.
    pub fn judges(&self) -> &Judges {
        &self.judges
    }

    /// A line of the text that is no record.
    pub fn say(&mut self, line: &str) {
        if let Some(text) = &mut self.text {
            text.push_str(line);
            text.push('\n');
        }
    }

    /// The length of the text so far; for [`Recorder::shorten`].
    pub fn mark(&self) -> usize {
        self.text.as_ref().map_or(0, String::len)
    }

    /// Puts one line in the place of all that was written since the mark.
    pub fn shorten(&mut self, mark: usize, line: &str) {
        if let Some(text) = &mut self.text {
            text.truncate(mark);
        }
        self.say(line);
    }

    pub fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    /// The most so far of something that no record shows.
    #[cfg(madsim)] // Only a world has a queue.
    pub fn raise(&mut self, label: &'static str, value: u64) {
        self.watermarks.raise(label, value);
    }

    pub fn panicked(&mut self, detail: String) {
        self.other.get_or_insert(Violation {
            invariant: Invariant::NoPanic,
            detail,
        });
    }

    pub fn violation(&self) -> Option<&Violation> {
        self.other.as_ref().or_else(|| self.judges.violation())
    }

    /// The run is over.
    pub fn into_report(self, resolved: Plan, fs_ops: u64, simulated_us: u64) -> RunReport {
        let violation = self.other.or(self.judges.finish());
        let verdict = match &violation {
            Some(violation) => Verdict::Fail(violation.invariant),
            None if self.faults.is_empty() => Verdict::Vacuous,
            None => Verdict::Pass,
        };
        RunReport {
            verdict,
            violation,
            digest: self.digest.value(),
            events: self.events,
            simulated_us,
            fs_ops,
            messages: self.messages,
            crashes: self.crashes,
            kills: self.kills,
            elections: self.elections,
            client_ops: self.client_ops,
            kinds: resolved.kinds(&self.faults),
            faults: self.faults,
            sometimes: (self.sometimes).counts_with_spots(resolved.scenario == STORE),
            watermarks: self.watermarks.highest().clone(),
            resolved,
            trace: self.text,
            history: self.history.map(History::finish),
        }
    }

    fn count(&mut self, what: &What) {
        match what {
            What::Sent(_) => self.messages += 1,
            What::PowerCut(report) => {
                self.crashes += 1;
                // A cut that lost nothing proved nothing.
                if report.lost > 0 || report.kept > 0 {
                    self.fault("power-cut");
                }
            }
            What::Killed => {
                self.kills += 1;
                self.fault("kill");
            }
            What::Reply { .. } => self.client_ops += 1,
            What::Engine(Event::RoleChanged { role, .. }) => {
                self.elections += u64::from(*role == Role::Leader);
            }
            What::Fault { kind } => self.fault(kind),
            What::Dropped {
                why: "partition", ..
            } => self.fault("partition"),
            What::Dropped { why: "loss", .. } => self.fault("net-loss"),
            What::Dropped { why: "corrupt", .. } => self.fault("net-corrupt"),
            What::Dropped { why: "queue", .. } => self.fault("net-queue"),
            What::Disk(op) => match op.outcome {
                OpOutcome::Injected(FaultKind::Eio) => self.fault("disk-eio"),
                OpOutcome::Injected(FaultKind::Enospc) => self.fault("disk-full"),
                OpOutcome::Injected(FaultKind::Short) => self.fault("disk-short"),
                OpOutcome::Injected(FaultKind::Erofs) => self.fault("disk-read-only"),
                OpOutcome::Injected(FaultKind::EioDone) => self.fault("disk-eio-done"),
                OpOutcome::Injected(FaultKind::Lost) => self.fault("lost-write"),
                OpOutcome::Injected(FaultKind::Misdirected) => self.fault("misdirected-write"),
                _ => {}
            },
            _ => {}
        }
    }
}
