//! What a power cut did, as data and as text.

use super::image::SECTOR;
use super::inode::Version;
use super::keep::{Keep, OpId, Part, Unit};
use super::names::Change;
use super::names::Node;

/// What a power cut did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CrashReport {
    /// The fate of every pending effect in the order of the operations, one
    /// line each; neighbouring sectors of a write share one:
    /// ```text
    /// lost  .4    create        log-2
    /// kept  .5    sector 1      log-1 @624+400
    /// lost  .5    sectors 2..3  log-1 @1024+744 zeroed
    /// kept  .5    size          log-1 624 -> 1768
    /// lost  1.7   rename        snapshot.tmp -> snapshot
    /// ```
    /// A sector counts from the start of the file. `zeroed`, `garbage`: what it
    /// shows instead of new data. `past the end`: beyond the length that the
    /// file got. `at 8192`: the length that it got in the middle of a write.
    /// `nameless`: the file itself is gone.
    pub fates: Vec<String>,
    /// With `Fates::Explicit` it does the same to the same disk.
    pub keep: Keep,
    /// Pending effects that are gone. Whether an image changed or cached state
    /// was lost: if `lost` and `kept` are both 0, the cut had no effect.
    pub lost: usize,
    /// Pending effects that are durable now.
    pub kept: usize,
    /// The files that kept some of their unsynced sectors and lost others.
    pub torn: Vec<String>,
}

/// A report as it is being written.
#[derive(Debug)]
pub(super) struct Draft {
    /// The incarnation that ran when the power went.
    boot: u32,
    /// Whether anybody reads it. Writing the lines takes longer than the cut.
    wanted: bool,
    lines: Vec<(Unit, String)>,
    report: CrashReport,
}

/// The fate of one version of a sector.
#[derive(Debug)]
pub(super) struct SectorFate<'a> {
    pub version: &'a Version,
    pub kept: bool,
    pub note: &'static str,
}

impl Draft {
    pub fn new(boot: u32, wanted: bool) -> Self {
        Draft {
            boot,
            wanted,
            lines: Vec::new(),
            report: CrashReport::default(),
        }
    }

    pub fn keep(&mut self, unit: Unit) {
        if !self.wanted {
            return;
        }
        self.report.keep.insert(shown(self.boot, unit));
    }

    pub fn torn(&mut self, name: &str) {
        if !self.wanted {
            return;
        }
        self.report.torn.push(name.to_owned());
    }

    pub fn name(&mut self, op: OpId, change: &Change, kept: bool) {
        if !self.wanted {
            return;
        }
        let (what, detail) = match change {
            Change::Link { name, node } => {
                let what = match node {
                    Node::File(_) => "create",
                    Node::Dir => "create_dir",
                };
                (what, name.to_string())
            }
            Change::Unlink { name } => ("unlink", name.to_string()),
            Change::Rename { from, to, .. } => ("rename", format!("{from} -> {to}")),
        };
        let part = Part::Name;
        self.line(Unit { op, part }, 1, kept, what, &detail);
    }

    pub fn length(&mut self, op: OpId, name: &str, from: u64, to: u64, kept: bool, note: &str) {
        if !self.wanted {
            return;
        }
        let detail = format!("{name} {from} -> {to}{}", spaced(note));
        let part = Part::Size;
        self.line(Unit { op, part }, 1, kept, "size", &detail);
    }

    /// All pending versions of the file's sectors, in any order.
    pub fn sectors(&mut self, name: &str, mut fates: Vec<SectorFate<'_>>) {
        if !self.wanted {
            return;
        }
        fates.sort_by_key(|fate| (fate.version.op, fate.version.index));
        let alike = |a: &SectorFate<'_>, b: &SectorFate<'_>| {
            let follows = a.version.op == b.version.op && a.version.index + 1 == b.version.index;
            follows && a.kept == b.kept && a.note == b.note
        };
        for run in fates.chunk_by(alike) {
            let (first, last) = (run[0].version, run[run.len() - 1].version);
            let what = match run.len() {
                1 => format!("sector {}", first.sector),
                _ => format!("sectors {}..{}", first.sector, last.sector),
            };
            let offset = u64::from(first.sector) * SECTOR as u64 + u64::from(first.from);
            let len: u64 = run.iter().map(|fate| u64::from(fate.version.len)).sum();
            let detail = format!("{name} @{offset}+{len}{}", spaced(run[0].note));
            let unit = Unit {
                op: first.op,
                part: Part::Sector(first.index),
            };
            self.line(unit, run.len(), run[0].kept, &what, &detail);
        }
    }

    fn line(&mut self, unit: Unit, effects: usize, kept: bool, what: &str, detail: &str) {
        let fate = match kept {
            true => "kept",
            false => "lost",
        };
        match kept {
            true => self.report.kept += effects,
            false => self.report.lost += effects,
        }
        let op = match shown(self.boot, unit).op {
            OpId { boot: 0, n } => format!(".{n}"),
            earlier => earlier.to_string(),
        };
        let line = format!("{fate:<5} {op:<5} {what:<13} {detail}");
        self.lines.push((unit, line));
    }

    pub fn finish(mut self) -> CrashReport {
        self.lines.sort_by_key(|(unit, _)| *unit);
        self.report.fates = self.lines.into_iter().map(|(_, line)| line).collect();
        self.report
    }
}

/// A unit as plans and reports name it: the incarnation that ran has no number.
pub(super) fn shown(running: u32, mut unit: Unit) -> Unit {
    if unit.op.boot == running {
        unit.op.boot = 0;
    }
    unit
}

fn spaced(note: &str) -> String {
    match note {
        "" => String::new(),
        note => format!(" {note}"),
    }
}
