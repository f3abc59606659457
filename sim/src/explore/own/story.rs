//! A row of crashes as text, and how it went.
//!
//! ```text
//! crashes = crash *(" " crash)
//! crash   = place ":" (keep | "kill")
//! place   = number | "end"
//! ```
//! The number is that of the mutating file operation, counted from 1 since the
//! start of the process, before which the crash comes; `keep` is what persists
//! of what is pending then, as in plans. So `4:2#,3 1:none` cuts the power
//! before the workload's fourth operation, and in the recovery before the first.

use std::sync::Arc;

use afterimage_engine::fs::Fs;

use crate::disk::{CrashPoint, CrashTrigger, Fates, Pattern, SimFs};
use crate::explore::point::{End, Place};
use crate::trace::text::line;
use crate::trace::{Record, Style, What};

pub(super) fn write(crashes: &[(Place, End)]) -> String {
    let crashes = crashes.iter().map(|(place, end)| {
        let place = match place.is_end() {
            true => "end".to_owned(),
            false => place.nth.to_string(),
        };
        match end {
            End::Cut(keep) => format!("{place}:{keep}"),
            End::Kill => format!("{place}:kill"),
        }
    });
    crashes.collect::<Vec<_>>().join(" ")
}

/// Where the operations are not known: they are what the place has.
pub(super) fn read(text: &str) -> Result<Vec<(Place, End)>, String> {
    let crash = |word: &str| {
        let (place, end) = word
            .split_once(':')
            .ok_or_else(|| format!("{word:?} is no `operation:keep`"))?;
        let place = match place {
            "end" => Place::end(0),
            number => match number.parse() {
                Ok(nth) if nth > 0 => Place::before(nth),
                _ => return Err(format!("{number:?} is no number of an operation")),
            },
        };
        let end = match end {
            "kill" => End::Kill,
            keep => End::Cut(keep.parse()?),
        };
        Ok((place, end))
    };
    text.split_whitespace().map(crash).collect()
}

/// A new process, with the power cut that ends it armed.
pub(super) fn boot(disk: &SimFs, crash: Option<&(Place, End)>) -> Arc<dyn Fs> {
    let fs = disk.boot();
    if let Some((place, _)) = crash
        && !place.is_end()
    {
        disk.arm_crash(CrashTrigger {
            pattern: Pattern::any(),
            nth: place.nth,
            point: CrashPoint::Before,
        });
    }
    fs
}

/// What happened so far, a line an operation.
#[derive(Debug, Default)]
pub(super) struct Story {
    text: String,
}

impl Story {
    pub fn say(&mut self, verb: &str, what: &str) {
        self.text += format!("  {verb:<16}{what}").trim_end();
        self.text.push('\n');
    }

    /// The file operations since the last time.
    pub fn operations(&mut self, disk: &SimFs) {
        for op in disk.take_ops() {
            self.record(What::Disk(op));
        }
    }

    /// The process ends as it must.
    pub fn end(&mut self, disk: &SimFs, end: &End) {
        self.operations(disk);
        disk.disarm_crash();
        match end {
            End::Cut(keep) => {
                let report = disk.power_cut(&Fates::Explicit(keep.clone()));
                self.record(What::PowerCut(report));
            }
            End::Kill => {
                disk.kill();
                self.record(What::Killed);
            }
        }
    }

    fn record(&mut self, what: What) {
        let record = Record {
            time_us: 0,
            node: None,
            what,
        };
        if let Some(line) = line(&record, &Style::SINGLE) {
            self.text += &line;
            self.text.push('\n');
        }
    }

    pub fn text(self) -> String {
        self.text
    }
}
