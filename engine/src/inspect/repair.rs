//! Mends a directory, after a copy of it was made.
//!
//! The format helps: a segment of a new generation hides every record from its
//! base on, wherever it stands. So to end the log before a record that cannot be
//! read is to create one file, by an atomic rename; nothing of what was there is
//! overwritten or shortened. Files that an open refuses are removed after that,
//! never before: what they had hidden must not come back.

use super::chain::base_of;
use super::look::SegmentFile;
use super::problem::{Effect, Problem, What};
use super::runs::{Run, keep, runs};
use super::verify::Examined;
use super::walk::{Extent, Piece, Walk};
use super::{Inspector, is_unfinished};
use crate::commit_hint;
use crate::error::{Corruption, Error, Result};
use crate::fs::SyncMode;
use crate::fs::dir::{Dir, Handle};
use crate::hard_state::{self, HardStateFile};
use crate::host::Env;
use crate::ids::{Index, NUMBER_MAX, Term};
use crate::job::now;
use crate::log::segment::{self, Link, SegmentHeader};
use crate::mutant::Mutants;
use crate::snapshot;
use std::path::Path;

/// Bytes copied at once.
const COPY: usize = 1 << 20;

/// What would mend a directory, and at what cost.
#[derive(Debug)]
pub struct Repair {
    /// In the order in which they are done.
    pub actions: Vec<Action>,
    /// Entries that the log would not have any more.
    pub loss: Option<Loss>,
    /// What stays wrong.
    pub unmended: Vec<Problem>,
}

/// One step of a repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write the hard state that counts into the slot that is bad.
    RewriteSlot { number: u64 },
    /// Begin a segment of this generation at this index: the log ends before it.
    /// `last`: where the last record is that stays.
    EndLog {
        before: Index,
        /// All up to here is known to be durable.
        floor: Index,
        generation: u64,
        last: Option<(String, u64)>,
        link: Link,
    },
    /// Remove a file.
    Remove { name: String, why: &'static str },
}

/// Entries that a repair takes from the log. All of them may have been
/// acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// The first entry that is lost.
    pub from: Index,
    /// The highest one known to have been in the log; below `from` if none is.
    pub to: Index,
    /// Those that can still be read: how many, and their bytes on disk.
    pub records: u64,
    pub bytes: u64,
    /// The lowest and the highest term among these.
    pub terms: Option<(Term, Term)>,
    /// Up to here the log was known to be durable: those entries were most
    /// likely acknowledged.
    pub durable_index: Index,
}

impl Repair {
    /// Whether the store opens afterwards.
    pub fn is_possible(&self) -> bool {
        let refuses = |problem: &Problem| problem.effect == Effect::Refuses;
        !self.unmended.iter().any(refuses)
    }
}

impl Inspector {
    /// What would mend the directory. Changes nothing.
    ///
    /// # Errors
    /// As [`Inspector::verify`].
    pub fn propose(&self) -> Result<Repair> {
        let examined = self.examine()?;
        let mut repair = Repair {
            actions: Vec::new(),
            loss: None,
            unmended: Vec::new(),
        };
        let mut removals = Vec::new();
        for problem in &examined.problems {
            match mend(problem) {
                Mend::Slot(number) => repair.actions.push(Action::RewriteSlot { number }),
                Mend::Remove(why) => {
                    let name = problem.path.file_name().unwrap_or_default();
                    let name = name.to_string_lossy().into_owned();
                    removals.push(Action::Remove { name, why });
                }
                Mend::Log => {}
                Mend::No => repair.unmended.push(problem.clone()),
            }
        }
        if repair.is_possible() {
            self.end_log(&examined, &mut repair, &mut removals)?;
            self.forget_hint(&repair, &mut removals);
        }
        repair.actions.extend(removals);
        Ok(repair)
    }

    /// Where the log loses anything, the commit hint may speak of it.
    fn forget_hint(&self, repair: &Repair, removals: &mut Vec<Action>) {
        let is_end = |action: &Action| matches!(action, Action::EndLog { .. });
        let is_hint = |action: &Action| matches!(action, Action::Remove { name, .. } if name == commit_hint::NAME);
        let loses = repair.actions.iter().any(is_end) || !removals.is_empty();
        if loses && self.has(commit_hint::NAME) && !removals.iter().any(is_hint) {
            removals.push(Action::Remove {
                name: commit_hint::NAME.to_owned(),
                why: HINT_BEYOND,
            });
        }
    }

    fn end_log(
        &self,
        examined: &Examined,
        repair: &mut Repair,
        removals: &mut Vec<Action>,
    ) -> Result<()> {
        if examined.parts.is_empty() && examined.torn.is_empty() {
            return Ok(());
        }
        let (snapshot_end, _) = examined.snapshot_end;
        let kept = keep(&runs(&examined.parts), snapshot_end);
        let covered = kept.map_or(0, |run| run.first);
        let is_broken = |at: usize| {
            let part = examined.parts[at];
            examined
                .parts
                .get(at + 1)
                .is_some_and(|next| part.end < next.base)
        };
        if (0..covered).any(is_broken) {
            removals.extend(examined.live[..covered].iter().filter_map(|&i| {
                let name = examined.segments[i].name.clone();
                let known = |action: &Action| matches!(action, Action::Remove { name: n, .. } if *n == name);
                (!removals.iter().any(known)).then_some(Action::Remove {
                    name,
                    why: "the snapshot covers it",
                })
            }).collect::<Vec<_>>());
        }
        let ends_well = |extent: &Option<Extent>| extent.is_some_and(|extent| !extent.is_dirty);
        let is_last = |run: Run| run.last + 1 == examined.parts.len();
        let is_whole = kept.is_some_and(is_last) && examined.extents.last().is_some_and(ends_well);
        if is_whole && examined.torn.is_empty() {
            return Ok(());
        }
        let action = self.end_before(examined, kept)?;
        if let Action::EndLog { before, .. } = &action {
            repair.loss = Some(self.loss(examined, kept, *before)?);
        }
        repair.actions.push(action);
        Ok(())
    }

    fn end_before(&self, examined: &Examined, kept: Option<Run>) -> Result<Action> {
        let (snapshot_end, snapshot_term) = examined.snapshot_end;
        let headers = examined.segments.iter().filter_map(|s| s.header.good());
        let generation = headers
            .map(|header| header.generation)
            .chain(examined.segments.iter().map(|segment| segment.generation))
            .chain([examined.min_generation])
            .max()
            .unwrap_or(0)
            + 1;
        if generation > NUMBER_MAX {
            return Err(Error::Misuse("there is no higher generation"));
        }
        // The log begins anew where nothing, or only what is covered, is left.
        let mut before = snapshot_end.next();
        let mut link = Link {
            term: snapshot_term,
            ..Link::default()
        };
        let mut last = None;
        let mut floor = before.prev();
        let end = kept.filter(|run| run.to >= before).and_then(|run| {
            let segment = &examined.segments[examined.live[run.last]];
            Some((run.to, segment, segment.sound(examined.log_id)?))
        });
        if let Some((to, segment, header)) = end {
            before = to;
            link = match before == header.base {
                true => header.prev,
                false => self.link_to(segment, header, before)?,
            };
            last = self.holder_of(examined, &link);
            // What stays may be in the cache alone.
            let headers =
                (examined.live.iter()).filter_map(|&i| examined.segments[i].sound(examined.log_id));
            let known = headers.map(|header| header.floor).max();
            floor = known.unwrap_or_default().min(before.prev());
        }
        Ok(Action::EndLog {
            before,
            floor,
            generation,
            last,
            link,
        })
    }

    /// The file that has a link's record, and where that ends.
    fn holder_of(&self, examined: &Examined, link: &Link) -> Option<(String, u64)> {
        let has = |segment: &&SegmentFile| {
            let header = segment.sound(examined.log_id);
            header.is_some_and(|header| header.generation == link.generation)
        };
        let segment = examined.segments.iter().find(has)?;
        Some((segment.name.clone(), link.end))
    }

    /// The record before `before`, which this segment has.
    fn link_to(
        &self,
        segment: &SegmentFile,
        header: &SegmentHeader,
        before: Index,
    ) -> Result<Link> {
        let file = now(self.dir.open(&segment.name))?;
        let end = Extent::read(&file, header, Some(before))?.end;
        assert_eq!(end.index, before, "read a moment ago");
        Ok(Link {
            term: end.prev_term,
            generation: header.generation,
            end: end.offset,
            crc: end.prev_crc,
            // What is cut off here may have been acknowledged.
            doubtful: true,
        })
    }

    fn loss(&self, examined: &Examined, kept: Option<Run>, from: Index) -> Result<Loss> {
        let mut loss = Loss {
            from,
            to: from.prev(),
            records: 0,
            bytes: 0,
            terms: None,
            durable_index: Index(0),
        };
        let live = &examined.live[kept.map_or(0, |run| run.last)..];
        for &i in live.iter().chain(&examined.torn) {
            let segment = &examined.segments[i];
            // Where a segment begins, everything before had been written.
            loss.see(base_of(segment).prev());
            let Some(header) = segment.sound(examined.log_id) else {
                continue;
            };
            let file = now(self.dir.open(&segment.name))?;
            let mut walk = Walk::new(&file, header)?;
            while let Some(piece) = walk.step()? {
                let Piece::Record { header, .. } = piece else {
                    continue;
                };
                if segment.until().is_some_and(|until| header.index >= until) {
                    break;
                }
                loss.durable_index = loss.durable_index.max(header.sync_floor);
                if header.index >= from {
                    loss.see(header.index);
                    loss.records += 1;
                    loss.bytes += header.frame_len() as u64;
                    let (low, high) = loss.terms.unwrap_or((header.term, header.term));
                    loss.terms = Some((low.min(header.term), high.max(header.term)));
                }
            }
        }
        Ok(loss)
    }

    /// Copies all files of the directory to a new one. Durable on return, with
    /// its name.
    ///
    /// # Errors
    /// [`Error::Io`] with `AlreadyExists` if there is something under that name.
    /// After any other, above all a full disk, what was copied is gone again.
    pub fn back_up(&self, to: &Path) -> Result<u64> {
        let copy = Dir::new(self.host.fs.clone(), to);
        if !now(copy.create())? && !now(copy.list())?.is_empty() {
            return Err(Error::exists(to));
        }
        let ours = |name: &&String| {
            [hard_state::NAME, snapshot::NAME, commit_hint::NAME].contains(&name.as_str())
                || segment::parse_name(name).is_some()
                || is_unfinished(name)
        };
        let mut bytes = 0;
        for name in self.names.iter().filter(ours) {
            match self.copy_file(name, &copy) {
                Ok(n) => bytes += n,
                Err(e) => {
                    for name in now(copy.list())? {
                        now(copy.unlink(&name))?;
                    }
                    return Err(e);
                }
            }
        }
        now(copy.sync())?;
        now(copy.sync_parent())?;
        Ok(bytes)
    }

    fn copy_file(&self, name: &str, copy: &Dir) -> Result<u64> {
        let from = now(self.dir.open(name))?;
        let to = now(copy.create_new(name))?;
        let mut buf = vec![0; COPY];
        let mut at = 0;
        loop {
            let n = from.read_now(&mut buf, at)?;
            now(to.write_all(&buf[..n], at))?;
            at += n as u64;
            if n < buf.len() {
                break;
            }
        }
        now(to.sync(SyncMode::All))?;
        Ok(at)
    }

    /// Does what was proposed. Everything is durable on return. After a crash or
    /// an error anywhere in it, another proposal comes to the same log.
    ///
    /// The inspector must come from [`Inspector::open_to_repair`], and nothing
    /// may have changed since the proposal.
    ///
    /// # Errors
    /// [`Error::Misuse`] if the repair is not possible, [`Error::Io`].
    pub fn carry_out(&mut self, repair: &Repair, env: &dyn Env) -> Result<()> {
        if !repair.is_possible() {
            return Err(Error::Misuse("the store would not open after this repair"));
        }
        for action in &repair.actions {
            match action {
                Action::RewriteSlot { .. } => {
                    let (mut file, _) = now(HardStateFile::open(&self.dir, Mutants::NONE))?;
                    now(file.recover(true))?;
                }
                Action::EndLog {
                    before,
                    floor,
                    generation,
                    link,
                    ..
                } => self.create_segment(*before, *floor, *generation, *link, env)?,
                Action::Remove { name, .. } => now(self.dir.unlink(name))?,
            }
        }
        now(self.dir.sync())?;
        self.names = now(self.dir.list())?;
        Ok(())
    }

    fn create_segment(
        &self,
        base: Index,
        floor: Index,
        generation: u64,
        prev: Link,
        env: &dyn Env,
    ) -> Result<()> {
        let (hard_state, _) = now(HardStateFile::open(&self.dir, Mutants::NONE))?;
        let header = SegmentHeader {
            log_id: hard_state.current.log_id,
            base,
            generation,
            nonce: env.random(),
            prev,
            floor,
            created_at_ms: env.now_ms(),
        };
        let tmp = format!("segment-{:016x}.tmp", env.random());
        let file: Handle = now(self.dir.create_new(&tmp))?;
        now(file.write_all(&header.encode(), 0))?;
        // Sync before rename: a segment under its name has a header.
        now(file.sync(SyncMode::All))?;
        now(self.dir.rename(&tmp, &header.file_name()))?;
        // And before anything is removed that only this hides.
        now(self.dir.sync())
    }
}

impl Loss {
    fn see(&mut self, index: Index) {
        self.to = self.to.max(index);
    }
}

/// Why the commit hint goes where the log ends earlier than it did.
const HINT_BEYOND: &str = "it may speak of entries that are lost";

/// How a problem is mended.
enum Mend {
    Slot(u64),
    Remove(&'static str),
    /// By what becomes of the log.
    Log,
    No,
}

fn mend(problem: &Problem) -> Mend {
    let name = problem.path.file_name().unwrap_or_default();
    let is_segment = segment::parse_name(&name.to_string_lossy()).is_some();
    match &problem.what {
        What::Slot { .. } => Mend::Slot(problem.offset / crate::bytes::SECTOR as u64),
        What::TornTail { .. } | What::Record { .. } => Mend::Log,
        What::Corrupt(what) => match what {
            // Without a snapshot nothing would be left: what the missing files
            // held was all applied, or is the state machine's very beginning.
            Corruption::Gap { from, .. } if *from == Index(1) => Mend::No,
            Corruption::DurableRecord | Corruption::BrokenChain | Corruption::Gap { .. } => {
                Mend::Log
            }
            // Nor would anything be left here.
            Corruption::Committed { from, .. } if *from == Index(1) => Mend::No,
            Corruption::Committed { .. } => Mend::Remove(HINT_BEYOND),
            Corruption::Foreign if is_segment => Mend::Remove("it belongs to another log"),
            // At another offset: two segments claim one generation, and nothing
            // tells which of them is right.
            Corruption::SegmentHeader if problem.offset == 0 => Mend::Remove("its header is bad"),
            _ => Mend::No,
        },
        _ => Mend::No,
    }
}
