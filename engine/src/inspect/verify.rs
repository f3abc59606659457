//! Reads everything, and names whatever is wrong.

use super::look::{Found, SegmentFile, SegmentState, SnapshotFile};
use super::problem::{Effect, Problem, What};
use super::runs::Part;
use super::walk::Extent;
use super::{Inspector, is_read_error, is_unfinished};
use crate::bytes::SECTOR;
use crate::commit_hint;
use crate::error::{Corruption, Error, Result};
use crate::format::VERSION;
use crate::hard_state::{self, Slot};
use crate::ids::{Index, Term};
use crate::job::now;
use crate::log::segment;
use crate::snapshot;
use crate::store::{LOCK, Report, survey};

/// What a directory is found to be.
#[derive(Debug)]
pub struct Verified {
    /// What an open would report now, or why it would refuse: the answer of the
    /// very code that opens a store.
    pub opens: Result<Report>,
    /// In the order of the files: hard state, snapshot, segments.
    pub problems: Vec<Problem>,
    /// Files without meaning to the log, and why: an open or the cleaner removes
    /// them. They are not problems.
    pub garbage: Vec<(String, &'static str)>,
    /// Segments that count.
    pub segments: usize,
    /// Records that count and are right, and their bytes.
    pub records: u64,
    pub bytes: u64,
}

impl Verified {
    /// Nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }
}

/// All that was found out, for [`Verified`] and for a repair.
pub(super) struct Examined {
    pub opens: Result<Report>,
    pub problems: Vec<Problem>,
    pub garbage: Vec<(String, &'static str)>,
    pub log_id: Option<u64>,
    /// Last index and term; (0, 0) without a snapshot.
    pub snapshot_end: (Index, Term),
    pub min_generation: u64,
    /// All of them, in the order of their bases.
    pub segments: Vec<SegmentFile>,
    /// Positions of those that count, and what they hold.
    pub live: Vec<usize>,
    /// Positions of those that an open tears off with the tail: see
    /// [`Report::torn_segments`].
    pub torn: Vec<usize>,
    /// Some header knew everything up to here to be durable.
    pub floor: Index,
    pub parts: Vec<Part>,
    pub extents: Vec<Option<Extent>>,
}

impl Inspector {
    /// Reads all there is and checks it.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be listed or a file vanishes. A
    /// file that cannot be read is a problem, not an error.
    pub fn verify(&self) -> Result<Verified> {
        let examined = self.examine()?;
        let extents = examined.extents.iter().flatten();
        Ok(Verified {
            segments: examined.live.len(),
            records: extents.clone().map(|extent| extent.records).sum(),
            bytes: extents.map(|extent| extent.bytes).sum(),
            opens: examined.opens,
            problems: examined.problems,
            garbage: examined.garbage,
        })
    }

    pub(super) fn examine(&self) -> Result<Examined> {
        let opens = match self.is_new() {
            true => Ok(Report {
                first_index: Index(1),
                ..Report::default()
            }),
            false => now(survey(&self.host, &self.dir, &self.names)),
        };
        let mut problems = self.check_slots()?;
        let log_id = self.log_id()?;
        let (snapshot_end, min_generation) = self.check_snapshot(log_id, &mut problems)?;
        let mut segments = self.segments(min_generation)?;
        segments.sort_by_key(|segment| match &segment.header {
            Found::Good(header) => (header.base, header.generation),
            _ => (segment.base, segment.generation),
        });
        let mut examined = Examined {
            opens,
            problems,
            garbage: self.garbage(&segments),
            log_id,
            snapshot_end,
            min_generation,
            segments,
            live: Vec::new(),
            torn: Vec::new(),
            floor: Index(0),
            parts: Vec::new(),
            extents: Vec::new(),
        };
        self.check_headers(&mut examined);
        self.check_chain(&mut examined)?;
        self.check_records(&mut examined)?;
        self.check_hint(&mut examined)?;
        self.check_against_open(&mut examined);
        Ok(examined)
    }

    pub(super) fn problem(&self, name: &str, offset: u64, what: What, effect: Effect) -> Problem {
        Problem {
            path: self.dir.join(name),
            offset,
            what,
            effect,
        }
    }

    pub(super) fn refuses(&self, name: &str, offset: u64, what: What) -> Problem {
        self.problem(name, offset, what, Effect::Refuses)
    }

    fn check_slots(&self) -> Result<Vec<Problem>> {
        let refuses = |what| Ok(vec![self.refuses(hard_state::NAME, 0, what)]);
        let Some(slots) = self.slots()? else {
            return match self.is_new() {
                true => Ok(Vec::new()),
                false => refuses(What::Corrupt(Corruption::NoHardState)),
            };
        };
        for slot in &slots {
            match slot {
                Found::Newer(found) => return refuses(version(*found)),
                Found::Failed(e) => return refuses(What::Unreadable(e.clone())),
                Found::Good(_) | Found::Bad => {}
            }
        }
        match slots.each_ref().map(Found::good) {
            [Some(_), Some(_)] => Ok(Vec::new()),
            [None, None] => refuses(What::Corrupt(Corruption::HardState)),
            [Some(other), None] => self.bad_slot(1, other),
            [None, Some(other)] => self.bad_slot(0, other),
        }
    }

    /// One that held nothing newer is no problem: the next open writes it.
    fn bad_slot(&self, number: u64, other: &Slot) -> Result<Vec<Problem>> {
        if other.is_older(&self.sector(hard_state::NAME, number)?) {
            return Ok(Vec::new());
        }
        let term = other.hard_state.term;
        let offset = number * SECTOR as u64;
        Ok(vec![self.refuses(
            hard_state::NAME,
            offset,
            What::Slot { term },
        )])
    }

    /// Where the snapshot ends, and the generation below which segments are dead.
    fn check_snapshot(
        &self,
        log_id: Option<u64>,
        problems: &mut Vec<Problem>,
    ) -> Result<((Index, Term), u64)> {
        let refuses = |offset, what| self.refuses(snapshot::NAME, offset, what);
        let file = match self.snapshot()? {
            None => return Ok(Default::default()),
            Some(Found::Good(file)) => file,
            Some(other) => {
                problems.push(match other {
                    Found::Newer(found) => refuses(0, version(found)),
                    Found::Failed(e) => refuses(0, What::Unreadable(e)),
                    _ => refuses(0, What::Corrupt(Corruption::SnapshotHeader)),
                });
                return Ok(Default::default());
            }
        };
        let header = &file.header;
        if file.expected_len() != Some(file.len) {
            let what = What::Corrupt(Corruption::SnapshotData);
            problems.push(refuses(file.len, what));
        } else if file.membership.is_none() {
            let what = What::Corrupt(Corruption::SnapshotHeader);
            problems.push(refuses(SECTOR as u64, what));
        } else if log_id.is_some_and(|id| id != header.log_id) {
            problems.push(refuses(16, What::Corrupt(Corruption::Foreign)));
        } else {
            problems.extend(self.check_chunks(&file));
        }
        let end = (header.last_index, header.last_term);
        Ok((end, header.min_generation))
    }

    fn check_chunks(&self, file: &SnapshotFile) -> Option<Problem> {
        let mut sum = crc32fast::Hasher::new();
        // However many are bad, one problem: their number is bounded by nothing else.
        let mut first_bad = None;
        let mut bad = 0;
        for chunk in file.read_chunks() {
            match chunk {
                Err(e) => {
                    let what = What::Unreadable(e);
                    return Some(self.problem(snapshot::NAME, 0, what, Effect::Lurks));
                }
                Ok(chunk) => match chunk.crc {
                    Some(crc) => sum.update(&crc.to_le_bytes()),
                    None => {
                        first_bad.get_or_insert((chunk.number, chunk.offset));
                        bad += 1;
                    }
                },
            }
        }
        let (offset, what) = match first_bad {
            Some((first, offset)) => (offset, What::Chunks { first, bad }),
            None if sum.finalize() != file.header.data_crc => (56, What::Sum),
            None => return None,
        };
        Some(self.problem(snapshot::NAME, offset, what, Effect::Lurks))
    }

    fn garbage(&self, segments: &[SegmentFile]) -> Vec<(String, &'static str)> {
        let segments = segments.iter().filter_map(|segment| {
            let why = match segment.state {
                SegmentState::Live { .. } => return None,
                SegmentState::Hidden => "a newer segment hides it",
                SegmentState::Dead => "the snapshot discarded it",
            };
            Some((segment.name.clone(), why))
        });
        let others = self.names.iter().filter_map(|name| {
            let ours = [LOCK, hard_state::NAME, snapshot::NAME, commit_hint::NAME]
                .contains(&name.as_str())
                || segment::parse_name(name).is_some();
            let why = match (ours, is_unfinished(name), name.ends_with(".tmp")) {
                (true, ..) => return None,
                (false, true, _) => "unfinished",
                (false, false, true) => "not ours, but the next open removes it",
                (false, false, false) => "not ours",
            };
            Some((name.clone(), why))
        });
        segments.chain(others).collect()
    }

    fn check_headers(&self, examined: &mut Examined) {
        let mut generations: Vec<u64> = Vec::new();
        for segment in &examined.segments {
            let dead = segment.generation < examined.min_generation;
            let problem = match &segment.header {
                Found::Bad if dead => continue,
                Found::Bad => (0, What::Corrupt(Corruption::SegmentHeader)),
                Found::Newer(found) => (0, version(*found)),
                Found::Failed(e) => (0, What::Unreadable(e.clone())),
                Found::Good(header) if examined.log_id.is_some_and(|id| id != header.log_id) => {
                    (16, What::Corrupt(Corruption::Foreign))
                }
                Found::Good(header) if header.file_name() != segment.name => {
                    let truth = header.file_name();
                    (0, What::Misnamed { truth })
                }
                Found::Good(header) if generations.contains(&header.generation) => {
                    (32, What::Corrupt(Corruption::SegmentHeader))
                }
                Found::Good(header) => {
                    generations.push(header.generation);
                    continue;
                }
            };
            let (offset, what) = problem;
            let problem = self.refuses(&segment.name, offset, what);
            examined.problems.push(problem);
        }
    }

    /// The commit hint proves what was durable. An open asks it last of all, so
    /// it may have stopped before.
    fn check_hint(&self, examined: &mut Examined) -> Result<()> {
        let Some(log_id) = examined.log_id.filter(|_| self.has(commit_hint::NAME)) else {
            return Ok(());
        };
        let (snapshot_end, _) = examined.snapshot_end;
        let log_end = match examined.extents.last() {
            Some(Some(extent)) => extent.end.index.prev(),
            Some(None) => return Ok(()), // a problem of its own
            None => Index(0),
        };
        let end = log_end.max(snapshot_end);
        let what = match now(commit_hint::read(&self.dir, log_id)) {
            Ok(found) => match found.hint {
                Some(hint) if hint > end => What::Corrupt(Corruption::Committed {
                    from: end.next(),
                    to: hint,
                }),
                _ => return Ok(()),
            },
            Err(Error::Version { found, .. }) => version(found),
            Err(e) if is_read_error(&e) => What::Unreadable(e),
            Err(e) => return Err(e),
        };
        let problem = self.refuses(commit_hint::NAME, commit_hint::INDEX_AT, what);
        examined.problems.push(problem);
        Ok(())
    }

    /// An open that refuses for what was not found here is a problem all the same.
    fn check_against_open(&self, examined: &mut Examined) {
        let Err(error) = &examined.opens else { return };
        let problems = &mut examined.problems;
        if problems.iter().any(|p| p.effect == Effect::Refuses) {
            return;
        }
        let (path, offset, what) = match error {
            Error::Corrupt { path, offset, what } => {
                (path.clone(), *offset, What::Corrupt(what.clone()))
            }
            Error::Version { path, found, .. } => (path.clone(), 0, version(*found)),
            Error::Io { path, .. } => (path.clone(), 0, What::Unreadable(error.clone())),
            _ => {
                let path = self.dir.path().to_owned();
                (path, 0, What::Unreadable(error.clone()))
            }
        };
        problems.push(Problem {
            path,
            offset,
            what,
            effect: Effect::Refuses,
        });
    }
}

fn version(found: u32) -> What {
    What::Version {
        found,
        known: VERSION,
    }
}
