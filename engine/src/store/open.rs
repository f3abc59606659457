//! Recovery: look, decide, make durable, act.
//!
//! 1. **Look**, without changing anything: the hard state, the snapshot's
//!    header, the segments' headers, the records of the last live segment (and of
//!    those before it that no header says were durable). A read error fails the
//!    open; it is never taken for a bad record.
//! 2. **Decide** which segments count and where the log ends. A broken chain
//!    above the snapshot, or a bad record that was durable, is corruption:
//!    refuse, name the file and the offset, change nothing.
//! 3. **Make durable** what was seen and is not proven durable: after a kill the
//!    cache may hold what the disk does not, and after a failed sync the pages
//!    are clean, so another sync would prove nothing. Those records are written
//!    again, into a new segment, and so is the hard state.
//! 4. **Act**: unfinished files are removed; the rest of the garbage is the
//!    cleaner's, unless it piles up. Appends go on in a new segment.
//!
//! A crash at any point of this, and another open, come to the same answer.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::cache::Cache;
use super::chain::hide;
use super::tail::{make_durable, read_tail};
use super::{Options, Report, Shared, State};
use crate::bytes::SECTOR;
use crate::commit_hint;
use crate::error::{Corruption, Error, Result};
use crate::event::{Event, Phase};
use crate::format;
use crate::fs::Advice;
use crate::fs::dir::{Dir, FREED, Handle};
use crate::hard_state::{self, HardStateFile};
use crate::host::Host;
use crate::ids::Index;
use crate::log::pins::Pins;
use crate::log::segment::{self, Segment, SegmentHeader, SharedSegment};
use crate::log::unsynced::Unsynced;
use crate::mutant::{Mutant, Mutants};
use crate::snapshot::{self, SnapshotReader};
use crate::sometimes::sometimes;

pub(crate) const LOCK: &str = "LOCK";
/// Segments that nobody needs, more than which no open leaves to the cleaner alone.
const GARBAGE_MAX: usize = 3;

pub(super) async fn open(host: Host, path: &Path, options: Options) -> Result<(Shared, Report)> {
    host.env.observe(Event::Begin(Phase::Recovery));
    let dir = Dir::new(host.fs.clone(), path);
    let mut report = Report::default();
    dir.create().await?;
    let lock = dir.lock(LOCK).await?;
    let names = dir.list().await?;
    let found = look(&host, &dir, &names, &options, &mut report).await?;
    let chain = follow(
        &host,
        &dir,
        found.segments,
        &found.snapshot,
        options.mutants,
        &mut report,
    )
    .await?;
    let tail = read_tail(&host, chain, &options, &mut report).await?;
    let (last_index, last_term) = (tail.end.index.prev(), tail.end.prev_term);
    let log_id = found.hard_state.current.log_id;
    let covered = found.snapshot.as_ref().map(|s| s.meta().last_index);
    let end = last_index.max(covered.unwrap_or_default());
    let hint_file = read_hint(&host, &dir, &names, log_id, end, &mut report).await?;
    let snapshot_meta = found.snapshot.as_ref().map(|s| s.meta().clone());
    let mut state = State {
        hard_state: found.hard_state.current.hard_state,
        last_index,
        last_term,
        cache: Cache::new(options.cache_bytes),
        queue: VecDeque::new(),
        next_ticket: 1,
        replacements: 0,
        pins: Pins::default(),
        persisted: 0,
        written: 0,
        durable_index: last_index,
        written_index: last_index,
        settled_index: last_index,
        unsynced: Unsynced::default(),
        live: tail.live.clone(),
        active: None,
        writes_through: false,
        hard_state_file: found.hard_state,
        snapshot: found.snapshot,
        commit: report.commit_hint,
        hinted: report.commit_hint,
        hint_file,
        replaced: Vec::new(),
        unlinked: Vec::new(),
        generation: found.generation,
        prepared: None,
        garbage: Vec::new(),
        publishing: false,
        writing: false,
        stalled: None,
        poisoned: false,
    };
    let mut copied = tail.unproven();
    if let Some(meta) = &snapshot_meta
        && last_index < meta.last_index
        && !options.mutants.has(Mutant::StartsAtOne)
    {
        // All that the log still has lies below the snapshot's end.
        let covered = state.live.drain(..).map(|s| s.header.file_name());
        report.garbage.extend(covered);
        if last_index > Index(0) {
            sometimes!(LogBegunAnew);
            report.decide(
                &*host.env,
                format!(
                    "log ends at {last_index}, the snapshot at {}: the log begins anew",
                    meta.last_index
                ),
            );
        }
        copied = None;
        state.last_index = meta.last_index;
        state.last_term = meta.last_term;
        state.durable_index = meta.last_index;
        state.written_index = meta.last_index;
        state.settled_index = meta.last_index;
    }
    let hard_state = state.hard_state;
    let shared = Shared {
        host,
        dir,
        options,
        log_id,
        state: Mutex::new(state),
        _lock: lock,
    };

    // Unfinished files mean nothing in any state.
    let unfinished = names.iter().filter(|name| name.ends_with(".tmp"));
    for name in unfinished.clone() {
        sometimes!(TemporaryRemoved);
        remove(&shared, name).await?;
    }
    let surplus = limit_garbage(&shared, &report.garbage).await?;
    report.garbage.extend(unfinished.cloned());
    make_durable(&shared, copied, &tail, &mut report).await?;
    let mut file = shared.state().hard_state_file.clone();
    if file.is_new() {
        sometimes!(BirthCutShort, names.iter().any(|n| n == hard_state::NAME));
        // Also where the file was found: the open that created the directory
        // may have ended right before this. The write below is the proof that
        // it was done.
        shared.dir.sync_parent().await?;
    }
    file.recover(report.bad_hard_state_slot).await?;
    {
        let mut state = shared.state();
        state.hard_state_file = file;
        let left = report
            .garbage
            .iter()
            .filter(|name| !name.ends_with(".tmp") && !surplus.contains(name));
        state.garbage.extend(left.cloned());
        report.first_index = state.first_index();
        report.last_index = state.last_index;
    }
    shared.dir.sync().await?;
    report.hard_state = hard_state;
    report.snapshot = snapshot_meta;
    shared.observe(Event::Recovered(Box::new(report.clone())));
    shared.observe(Event::End(Phase::Recovery));
    Ok((shared, report))
}

/// Removes a file that nobody needs. Whoever removes the last name of a large one
/// frees its space, which may take as long as all the rest of an open: it is left to
/// the cleaner, unless the space is needed here.
async fn remove(shared: &Shared, name: &str) -> Result<()> {
    if shared.options.segment_bytes > FREED
        && let Ok(file) = shared.dir.open(name).await
    {
        shared.state().unlinked.push(file);
    }
    shared.dir.unlink(name).await
}

/// An open leaves one segment behind that the copy of its tail hides. If the process
/// then dies before its cleaner comes to that, again and again, the disk fills up. So
/// an open that finds several takes away as many as it may add: these.
async fn limit_garbage(shared: &Shared, garbage: &[String]) -> Result<Vec<String>> {
    let is_segment = |name: &&String| segment::parse_name(name).is_some();
    let segments = garbage.iter().filter(is_segment);
    if segments.clone().count() <= GARBAGE_MAX {
        return Ok(Vec::new());
    }
    sometimes!(GarbageLimited);
    // The names of those that made garbage of them may be in the cache alone.
    if !shared.has(Mutant::LimitBeforeDurable) {
        shared.dir.sync().await?;
    }
    let surplus: Vec<String> = segments.take(2).cloned().collect();
    for name in &surplus {
        remove(shared, name).await?;
    }
    Ok(surplus)
}

/// What is in the directory.
pub(super) struct Found {
    pub hard_state: HardStateFile,
    pub snapshot: Option<SnapshotReader>,
    pub segments: Vec<SharedSegment>,
    /// The highest generation seen.
    generation: u64,
}

pub(super) async fn look(
    host: &Host,
    dir: &Dir,
    names: &[String],
    options: &Options,
    report: &mut Report,
) -> Result<Found> {
    let mutants = options.mutants;
    let segment_names: Vec<_> = names
        .iter()
        .filter(|name| segment::parse_name(name).is_some())
        .collect();
    let has_snapshot = names.iter().any(|name| name == snapshot::NAME);
    let hard_state = if names.iter().any(|name| name == hard_state::NAME) {
        let (file, bad_slot) = HardStateFile::open(dir, mutants).await?;
        report.bad_hard_state_slot = bad_slot.is_some() || file.current.doubtful;
        if let Some(offset) = bad_slot {
            if !options.accept_bad_slot {
                return Err(Error::Corrupt {
                    path: dir.join(hard_state::NAME),
                    offset,
                    what: Corruption::HardStateSlot,
                });
            }
            sometimes!(HardStateFellBack);
            report.decide(
                &*host.env,
                "hard state: one slot is bad, the other one counts",
            );
        } else if file.current.doubtful {
            report.decide(
                &*host.env,
                "hard state: a slot was bad, and nothing was written since",
            );
        }
        file
    } else if segment_names.is_empty() && !has_snapshot {
        report.decide(
            &*host.env,
            "no hard state, no log, no snapshot: a new store",
        );
        let tmp = format!("{}-{:016x}.tmp", hard_state::NAME, host.env.random());
        HardStateFile::create(dir, host.env.random(), &tmp).await?
    } else {
        return Err(Error::Corrupt {
            path: dir.join(hard_state::NAME),
            offset: 0,
            what: Corruption::NoHardState,
        });
    };
    let log_id = hard_state.current.log_id;
    let snapshot = if has_snapshot {
        let reader = SnapshotReader::open(dir).await?;
        if reader.log_id() != log_id {
            return Err(Error::Corrupt {
                path: dir.join(snapshot::NAME),
                offset: 16,
                what: Corruption::Foreign,
            });
        }
        report.decide(
            &*host.env,
            format!(
                "snapshot: up to {}/{}",
                reader.meta().last_term,
                reader.meta().last_index
            ),
        );
        Some(reader)
    } else {
        None
    };
    let min_generation = snapshot.as_ref().map_or(0, SnapshotReader::min_generation);
    let mut generation = min_generation;
    let mut segments: Vec<SharedSegment> = Vec::new();
    let mut files = Vec::new();
    for name in segment_names {
        let file = dir.open(name).await?;
        // A disk is quicker with many small reads at once than one by one. Not
        // the whole of the newest segment: of what is read in order, the system
        // reads ahead by itself, in larger pages than it does on advice.
        file.advise(Advice::WillRead, 0, SECTOR as u64);
        files.push((name, file));
    }
    for (name, file) in files {
        let Some(header) = read_header(&file, name, log_id, min_generation).await? else {
            report.decide(&*host.env, format!("{name}: dead, its header is bad"));
            report.garbage.push(name.clone());
            continue;
        };
        if segments
            .iter()
            .any(|s| s.header.generation == header.generation)
        {
            return Err(corrupt(&file, 32, Corruption::SegmentHeader));
        }
        generation = generation.max(header.generation);
        segments.push(Arc::new(Segment::new(header, file, mutants)));
    }
    Ok(Found {
        hard_state,
        snapshot,
        segments,
        generation,
    })
}

pub(super) fn corrupt(file: &Handle, offset: u64, what: Corruption) -> Error {
    Error::Corrupt {
        path: file.path().to_owned(),
        offset,
        what,
    }
}

/// `None`: bad, but by its name a segment that the snapshot declared dead.
async fn read_header(
    file: &Handle,
    name: &str,
    log_id: u64,
    min_generation: u64,
) -> Result<Option<SegmentHeader>> {
    let mut sector = [0; SECTOR];
    file.read(&mut sector, 0).await?;
    match SegmentHeader::decode(&sector) {
        Ok(Some(header)) if header.log_id != log_id => Err(corrupt(file, 16, Corruption::Foreign)),
        // The header is the truth, and a segment gets its name once: another
        // name means that somebody moved files about.
        Ok(Some(header)) if header.file_name() == name => Ok(Some(header)),
        Ok(None) if segment::parse_name(name).is_some_and(|(_, g)| g < min_generation) => Ok(None),
        Ok(_) => Err(corrupt(file, 0, Corruption::SegmentHeader)),
        Err(found) => Err(Error::Version {
            path: file.path().to_owned(),
            found,
            known: format::VERSION,
        }),
    }
}

/// The live segments that continue each other.
#[derive(Default)]
pub(super) struct Followed {
    /// Oldest first.
    pub live: Vec<SharedSegment>,
    /// What a segment would have followed that is not there: a tail that was never
    /// synced, and is torn off.
    pub torn: Vec<SharedSegment>,
    /// Some header knew everything up to here to be durable.
    pub floor: Index,
    /// Where the snapshot ends: what it covers was durable, too.
    pub covered: Index,
}

/// The live chain; all else goes to the garbage.
pub(super) async fn follow(
    host: &Host,
    dir: &Dir,
    segments: Vec<SharedSegment>,
    snapshot: &Option<SnapshotReader>,
    mutants: Mutants,
    report: &mut Report,
) -> Result<Followed> {
    let snapshot_end = snapshot.as_ref().map_or(Index(0), |s| s.meta().last_index);
    let headers: Vec<_> = segments.iter().map(|s| s.header).collect();
    let min_generation = snapshot.as_ref().map_or(0, SnapshotReader::min_generation);
    let mut chain = hide(&headers, min_generation);
    if mutants.has(Mutant::NothingHidden) {
        chain.live.append(&mut chain.garbage);
        chain.live.sort_by_key(|&i| headers[i].base);
    }
    for &i in &chain.garbage {
        let why = if headers[i].generation < min_generation {
            sometimes!(DeadSegment);
            "dead"
        } else {
            sometimes!(HiddenSegment);
            "hidden"
        };
        report.decide(&*host.env, format!("{}: {why}", headers[i].file_name()));
        report.garbage.push(headers[i].file_name());
    }
    let mut live: Vec<_> = chain.live.iter().map(|&i| segments[i].clone()).collect();
    let floor = live.iter().map(|s| s.header.floor).max();
    let floor = floor.unwrap_or_default();
    for pair in live.windows(2) {
        let link = pair[1].header.prev.end.saturating_sub(4);
        pair[0].file.advise(Advice::WillRead, link, 4);
    }
    // From the newest back, as far as each segment is continued by the next.
    let mut first = live.len();
    let mut torn = Vec::new();
    while first > 0 {
        let Some(next) = live.get(first) else {
            first -= 1; // the newest one
            continue;
        };
        if continues(&live[first - 1], next).await? {
            first -= 1;
            continue;
        }
        let before = next.header.base.prev();
        if before > snapshot_end && before > floor {
            // Nobody was told that what is missing was there.
            torn.splice(..0, live.drain(first..));
            continue;
        }
        if before > snapshot_end || mutants.has(Mutant::GapRefused) {
            return Err(corrupt(
                &live[first - 1].file,
                next.header.prev.end,
                Corruption::BrokenChain,
            ));
        }
        break;
    }
    for covered in live.drain(..first) {
        sometimes!(GapCovered);
        let name = covered.header.file_name();
        report.decide(
            &*host.env,
            format!("{name}: below a gap that the snapshot covers"),
        );
        report.garbage.push(name);
    }
    if let Some(oldest) = live.first()
        && oldest.header.base.prev() > snapshot_end
        && !mutants.has(Mutant::GapAccepted)
    {
        let before = oldest.header.base.prev();
        if before <= floor {
            return Err(Error::Corrupt {
                path: dir.path().to_owned(),
                offset: 0,
                what: Corruption::Gap {
                    from: snapshot_end.next(),
                    to: before,
                },
            });
        }
        torn.splice(..0, live.drain(..));
    }
    Ok(Followed {
        live,
        torn,
        floor,
        covered: snapshot_end,
    })
}

/// Whether `next` was begun where `segment` ends (or was cut).
pub(crate) async fn continues(segment: &Segment, next: &Segment) -> Result<bool> {
    let link = next.header.prev;
    let generation = segment.header.generation;
    if link.generation != generation || link.end < segment::RECORDS + 4 {
        return Ok(false);
    }
    let mut crc = [0; 4];
    segment.file.read(&mut crc, link.end - 4).await?;
    Ok(u32::from_le_bytes(crc) == link.crc)
}

/// The commit hint's file, if there is one. `end`: where the log, or the
/// snapshot, ends.
pub(super) async fn read_hint(
    host: &Host,
    dir: &Dir,
    names: &[String],
    log_id: u64,
    end: Index,
    report: &mut Report,
) -> Result<Option<Handle>> {
    if !names.iter().any(|name| name == commit_hint::NAME) {
        return Ok(None);
    }
    let found = commit_hint::read(dir, log_id).await?;
    match found.hint {
        Some(hint) if hint > end => {
            let what = Corruption::Committed {
                from: end.next(),
                to: hint,
            };
            return Err(corrupt(&found.file, commit_hint::INDEX_AT, what));
        }
        Some(hint) => {
            sometimes!(HintUsed);
            report.commit_hint = hint;
            report.decide(&*host.env, format!("commit hint: {hint}"));
        }
        None => {
            sometimes!(HintTorn);
            report.decide(&*host.env, "commit hint: torn, none");
        }
    }
    Ok(Some(found.file))
}
