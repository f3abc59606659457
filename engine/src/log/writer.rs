//! The writer: one group of batches at a time to the disk.
//!
//! The order of the file operations is the durability contract:
//!
//! - **Append**: write the records behind the last one, sync, acknowledge.
//! - **Roll, truncate, go on after an open**: write header and first records
//!   into a temporary file, sync it, rename it into place, sync the directory,
//!   acknowledge. The new segment hides every record at or above its base in
//!   segments of lower generations; nothing is ever appended after a cut.
//!
//! A failed write or sync poisons the store: after a failed sync the pages are
//! clean, so neither a second sync nor a read proves anything. A full disk does
//! not: what was written was never acknowledged, and the group goes into a new
//! segment once there is space.

use std::sync::Arc;

use super::record::{self, Seed};
use super::segment::{Link, Mark, RECORDS, Segment, SegmentHeader, SharedSegment};
use crate::entry::{Entry, HardState};
use crate::error::Result;
use crate::event::{Event, Phase};
use crate::fs::SyncMode;
use crate::fs::dir::{Handle, WriteAhead};
use crate::ids::Index;
use crate::job::{Job, Step};
use crate::mutant::Mutant;
use crate::sometimes::sometimes;
use crate::store::{Active, Shared, Ticket};

/// Data of one group at the most, in bytes, but at least one batch.
const GROUP_BYTES: usize = 4 << 20;
/// The same while the active segment has room for it. So much is only queued
/// where nobody waits for each batch. Not more: a recovery writes the last group
/// again.
const GROUP_BYTES_ROOMY: usize = 8 << 20;
/// Frames are written as soon as there are so many bytes of them: they are
/// still in the processor's cache then.
const PIECE: usize = 256 << 10;
/// The disk begins with so many bytes while the rest of the group is encoded.
const WRITE_BACK: u64 = 1 << 20;

/// Brings submitted batches to the disk, in order.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    running: Option<Job<(Group, Result<()>)>>,
    /// A group that found the disk full.
    stalled: Option<Group>,
    /// Empty; room for frames that the next group need not allocate.
    spare: Vec<u8>,
}

/// Batches that go to the disk together.
#[derive(Debug)]
struct Group {
    /// The last batch's ticket.
    ticket: Ticket,
    hard_state: Option<HardState>,
    /// The lowest index whose former entry some batch replaces.
    truncated: Option<Index>,
    /// Whether the segments have entries that are replaced: from here on.
    cut: Option<Index>,
    entries: Vec<Entry>,
    /// Frames on their way into a file.
    frames: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Writer {
            shared,
            running: None,
            stalled: None,
            spare: Vec::new(),
        }
    }

    /// Whether a step would find work.
    pub fn has_work(&self) -> bool {
        self.running.is_some() || self.stalled.is_some() || {
            let state = self.shared.state();
            !state.queue.is_empty() && !state.poisoned
        }
    }

    /// At most one file operation. `Stalled`: the disk is full, call again
    /// later; the batches are kept.
    ///
    /// # Errors
    /// Whatever made the store poisoned. Nothing more is acknowledged.
    pub fn step(&mut self) -> Result<Step> {
        let job = match &mut self.running {
            Some(job) => job,
            None => {
                self.shared.state().check_open()?;
                let Some(mut group) = self.stalled.take().or_else(|| take_group(&self.shared))
                else {
                    return Ok(Step::Idle);
                };
                sometimes!(GroupAfterStall, self.shared.state().stalled.is_some());
                group.frames = std::mem::take(&mut self.spare);
                let shared = self.shared.clone();
                self.running.insert(Job::new(async move {
                    let result = write(&shared, &mut group).await;
                    (group, result)
                }))
            }
        };
        let Some((mut group, result)) = job.step() else {
            return Ok(Step::Ran);
        };
        self.running = None;
        self.spare = std::mem::take(&mut group.frames);
        self.spare.clear();
        self.spare.shrink_to(2 * PIECE);
        match result {
            Ok(()) => {
                complete(&self.shared, &group);
                Ok(Step::Ran)
            }
            Err(e) if e.is_no_space() && !self.shared.state().poisoned => {
                // Nothing was promised. Bytes behind the last record may be
                // there now: go on in a new segment, which hides them.
                {
                    let mut state = self.shared.state();
                    let hole = self.shared.has(Mutant::HoleAfterFailedWrite);
                    state.active = state.active.take().filter(|_| hole).map(past_a_hole);
                    state.stalled = Some(e);
                }
                self.stalled = Some(group);
                self.shared.observe(Event::Stalled);
                Ok(Step::Stalled)
            }
            Err(e) => {
                self.shared.poison();
                Err(e)
            }
        }
    }
}

/// Folds queued batches into one group.
fn take_group(shared: &Shared) -> Option<Group> {
    let mut state = shared.state();
    let mut group = Group {
        ticket: 0,
        hard_state: None,
        truncated: None,
        cut: None,
        entries: Vec::new(),
        frames: Vec::new(),
    };
    let mut bytes = 0;
    let room = state.active.as_ref().map_or(0, |active| {
        let room = (shared.options.segment_bytes).saturating_sub(active.end.offset);
        usize::try_from(room).unwrap_or(usize::MAX)
    });
    let bytes_max = room.clamp(GROUP_BYTES, GROUP_BYTES_ROOMY);
    while let Some(command) = state.queue.front() {
        bytes += command.entries.iter().map(|e| e.data.len()).sum::<usize>();
        if bytes > bytes_max && group.ticket != 0 {
            break;
        }
        let command = state.queue.pop_front()?;
        sometimes!(GroupOfBatches, group.ticket != 0);
        group.ticket = command.ticket;
        group.hard_state = command.hard_state.or(group.hard_state);
        if let Some(from) = command.truncate_from {
            let keep = group.entries.partition_point(|e| e.index < from);
            sometimes!(GroupReplacesItself, keep < group.entries.len());
            group.entries.truncate(keep);
            group.truncated = Some(group.truncated.map_or(from, |t| t.min(from)));
            if from <= state.written_index {
                group.cut = Some(group.cut.map_or(from, |c| c.min(from)));
            }
        }
        match group.entries.is_empty() {
            true => group.entries = command.entries,
            false => group.entries.extend(command.entries),
        }
    }
    if group.ticket == 0 {
        return None;
    }
    state.writing = true;
    Some(group)
}

/// The group is durable: raise what may be acknowledged.
fn complete(shared: &Shared, group: &Group) {
    let durable = {
        let mut state = shared.state();
        state.persisted = match shared.has(Mutant::CompletesQueued) {
            true => state.next_ticket - 1,
            false => group.ticket,
        };
        state.writing = false;
        state.stalled = None;
        let mut durable = state.written_index;
        // A batch behind this group may have replaced some of it meanwhile.
        for from in state.queue.iter().filter_map(|c| c.truncate_from) {
            durable = durable.min(from.prev());
        }
        sometimes!(DurableHeldBack, durable < state.written_index);
        state.durable_index = durable;
        state.trim_tail(shared.options.cache_bytes, durable);
        durable
    };
    if let Some(from) = group.truncated {
        shared.observe(Event::Truncated { from });
    }
    if group.truncated.is_some() || !group.entries.is_empty() {
        shared.observe(Event::Durable { index: durable });
    }
}

async fn write(shared: &Shared, group: &mut Group) -> Result<()> {
    if let Some(hard_state) = group.hard_state {
        write_hard_state(shared, hard_state).await?;
    }
    let (active, base) = {
        let state = shared.state();
        let base = group
            .cut
            .or(group.entries.first().map(|e| e.index))
            .unwrap_or(Index(0));
        (state.active.clone(), base)
    };
    if group.cut.is_none() && group.entries.is_empty() {
        return Ok(());
    }
    match active {
        Some(active) if group.cut.is_none() && active.end.offset < shared.options.segment_bytes => {
            shared.observe(Event::Begin(Phase::Append));
            append(shared, active, &group.entries, &mut group.frames).await?;
            shared.observe(Event::End(Phase::Append));
        }
        Some(active)
            if shared.has(Mutant::AppendAfterCut)
                && group
                    .cut
                    .is_some_and(|cut| cut >= active.segment.header.base) =>
        {
            append_after_cut(shared, active, base, group).await?;
        }
        _ => {
            let phase = if group.cut.is_some() {
                Phase::Truncate
            } else {
                Phase::Roll
            };
            shared.observe(Event::Begin(phase));
            let link = link_before(shared, base)?;
            let (segment, end) =
                create_segment(shared, base, link, &group.entries, &mut group.frames).await?;
            let hidden = publish_segment(shared, segment, end);
            shared.state().garbage.extend(hidden);
            shared.observe(Event::End(phase));
        }
    }
    Ok(())
}

async fn write_hard_state(shared: &Shared, hard_state: HardState) -> Result<()> {
    shared.observe(Event::Begin(Phase::HardState));
    let mut file = shared.state().hard_state_file.clone();
    if let Err(e) = file.write(hard_state).await {
        // Either state counts now, so nothing may go on from here: also not
        // after a full disk, which an overwrite does not meet.
        shared.poison();
        return Err(e);
    }
    shared.state().hard_state_file = file;
    shared.observe(Event::HardStateDurable { hard_state });
    shared.observe(Event::End(Phase::HardState));
    Ok(())
}

/// Appends to the active segment. Durable on return.
async fn append(
    shared: &Shared,
    active: Active,
    entries: &[Entry],
    frames: &mut Vec<u8>,
) -> Result<()> {
    let Active {
        segment,
        end: start,
    } = active;
    let mut group = Frames {
        seed: Seed::new(segment.header.nonce),
        floor: shared.state().durable_index,
        end: start,
        marks: Vec::with_capacity(entries.len()),
        buf: frames,
        ahead: WriteAhead::new(start.offset, WRITE_BACK),
    };
    group.encode(&segment.file, entries).await?;
    if !group.write_through(shared, &segment.file, start).await? {
        group.flush(&segment.file).await?;
        let rolls_next = group.end.offset >= shared.options.segment_bytes;
        if !(rolls_next && shared.has(Mutant::RollSkipsSync)) {
            sync_data(shared, &segment.file).await?;
        }
    }
    let Frames { end, marks, .. } = group;
    segment.learn(&marks);
    let mut state = shared.state();
    state.written_index = end.index.prev();
    state.active = Some(Active { segment, end });
    Ok(())
}

/// A sync whose failure poisons: never tried again.
async fn sync_data(shared: &Shared, file: &Handle) -> Result<()> {
    let result = file.sync(SyncMode::Data).await;
    if result.is_err() {
        if shared.has(Mutant::RetryFailedSync) {
            return file.sync(SyncMode::Data).await;
        }
        shared.poison();
    }
    result
}

/// Planted bug: the truncated records are overwritten in place.
async fn append_after_cut(
    shared: &Shared,
    active: Active,
    base: Index,
    group: &mut Group,
) -> Result<()> {
    let Active { segment, .. } = active;
    let end = segment.locate(base)?;
    // A segment that forgets what it knew about the records behind the cut.
    let mutants = shared.options.mutants;
    let segment = Arc::new(Segment::new(segment.header, segment.file.clone(), mutants));
    shared.observe(Event::Begin(Phase::Truncate));
    {
        let mut state = shared.state();
        if let Some(last) = state.live.last_mut() {
            *last = segment.clone();
        }
    }
    let active = Active { segment, end };
    append(shared, active, &group.entries, &mut group.frames).await?;
    shared.observe(Event::End(Phase::Truncate));
    Ok(())
}

/// Planted bug: the end of the log moves although the write failed.
fn past_a_hole(mut active: Active) -> Active {
    active.end.offset += record::HEADER as u64;
    active
}

/// Planted bug: a file has its name before it has a header. The name again.
async fn name_early(shared: &Shared, tmp: String, name: &str) -> Result<String> {
    if !shared.has(Mutant::NamedBeforeWritten) {
        return Ok(tmp);
    }
    shared.dir.rename(&tmp, name).await?;
    Ok(name.to_owned())
}

/// The frames of a group on their way into a file.
struct Frames<'a> {
    seed: Seed,
    floor: Index,
    /// Behind the frames that are encoded.
    end: Mark,
    /// The end of each.
    marks: Vec<Mark>,
    /// What is in front of `end` and not written yet.
    buf: &'a mut Vec<u8>,
    ahead: WriteAhead,
}

impl Frames<'_> {
    /// Encodes all, and writes what is more than a piece.
    async fn encode(&mut self, file: &Handle, entries: &[Entry]) -> Result<()> {
        for entry in entries {
            assert_eq!(entry.index, self.end.index, "a batch continues the log");
            if self.buf.len() >= PIECE {
                self.flush(file).await?;
                self.ahead.written(file, self.end.offset);
            }
            let from = self.buf.len();
            let prev_crc = self.end.prev_crc;
            let crc = record::encode(entry, prev_crc, self.floor, &self.seed, self.buf);
            self.end = Mark {
                index: entry.index.next(),
                offset: self.end.offset + (self.buf.len() - from) as u64,
                prev_crc: crc,
                prev_term: entry.term,
            };
            self.marks.push(self.end);
        }
        Ok(())
    }

    async fn flush(&mut self, file: &Handle) -> Result<()> {
        let offset = self.end.offset - self.buf.len() as u64;
        file.write_all(self.buf, offset).await?;
        self.buf.clear();
        Ok(())
    }

    /// All of the group at once, if all is still here and the file knows how.
    async fn write_through(&mut self, shared: &Shared, file: &Handle, start: Mark) -> Result<bool> {
        if start.offset + self.buf.len() as u64 != self.end.offset {
            return Ok(false);
        }
        match file.write_through(self.buf, start.offset).await {
            None => Ok(false),
            Some(Ok(())) => {
                sometimes!(WrittenThrough);
                Ok(true)
            }
            Some(Err(e)) => {
                shared.poison();
                Err(e)
            }
        }
    }
}

/// Where the record before `base` ends, for a segment that begins at `base`.
pub(crate) fn link_before(shared: &Shared, base: Index) -> Result<Link> {
    let prev = base.prev();
    let (segment, active) = {
        let state = shared.state();
        let (snapshot_index, snapshot_term) = state.snapshot_end();
        match state.segment_of(prev) {
            Some((segment, _)) => (segment, state.active.clone()),
            // The log begins here, or the snapshot stands in for what came before.
            None if prev == snapshot_index => {
                return Ok(Link {
                    term: snapshot_term,
                    ..Link::default()
                });
            }
            None => unreachable!("{prev} is neither in the log nor the snapshot's end"),
        }
    };
    let mark = match active {
        Some(a)
            if (a.end.index == base || shared.has(Mutant::LinkToOldEnd))
                && Arc::ptr_eq(&a.segment, &segment) =>
        {
            a.end
        }
        _ => segment.locate(base)?,
    };
    Ok(Link {
        term: mark.prev_term,
        generation: segment.header.generation,
        end: mark.offset,
        crc: mark.prev_crc,
        doubtful: false,
    })
}

/// Writes a segment that begins with `entries` and brings it into place.
/// Durable on return, name and content.
pub(crate) async fn create_segment(
    shared: &Shared,
    base: Index,
    prev: Link,
    entries: &[Entry],
    frames: &mut Vec<u8>,
) -> Result<(SharedSegment, Mark)> {
    let prepared = shared.state().prepared.take();
    let header = SegmentHeader {
        log_id: shared.log_id,
        base,
        generation: shared.state().next_generation(),
        nonce: match shared.has(Mutant::SameNonce) {
            true => 0,
            false => shared.host.env.random(),
        },
        prev,
        created_at_ms: shared.host.env.now_ms(),
    };
    let start = Mark {
        index: base,
        offset: RECORDS,
        prev_crc: prev.crc,
        prev_term: prev.term,
    };
    frames.extend_from_slice(&header.encode());
    let (tmp, file, mode) = match prepared {
        Some(p) => {
            sometimes!(PreparedUsed);
            (p.name, p.file, SyncMode::Data)
        }
        None => {
            let tmp = shared.tmp_name("segment");
            // Not garbage before it fails: the cleaner runs meanwhile.
            let created = shared.dir.create_new(&tmp).await;
            let file = created.inspect_err(|_| shared.state().garbage.push(tmp.clone()))?;
            (tmp, file, SyncMode::All)
        }
    };
    let name = header.file_name();
    let tmp = name_early(shared, tmp, &name).await?;
    let mut group = Frames {
        seed: Seed::new(header.nonce),
        // Everything before the base is durable: the segment before lost its
        // last chance to be torn when its own sync returned.
        floor: base.prev(),
        end: start,
        marks: Vec::with_capacity(entries.len()),
        buf: frames,
        ahead: WriteAhead::new(start.offset, WRITE_BACK),
    };
    let mut written = group.encode(&file, entries).await;
    if written.is_ok() {
        written = group.flush(&file).await;
    }
    written.inspect_err(|_| {
        sometimes!(SegmentGivenUp);
        shared.state().garbage.push(tmp.clone());
    })?;
    let Frames { end, marks, .. } = group;
    let durable =
        shared.has(Mutant::DurableNotLowered) && end.index <= shared.state().durable_index;
    if !durable && let Err(e) = file.sync(mode).await {
        shared.poison();
        return Err(e);
    }
    if let Err(e) = shared.dir.rename(&tmp, &name).await {
        shared.state().garbage.push(tmp);
        return Err(e);
    }
    let promises = !(entries.is_empty() && shared.has(Mutant::TruncationNotDurable));
    if promises && let Err(e) = shared.dir.sync().await {
        shared.poison();
        return Err(e);
    }
    shared.observe(Event::SegmentCreated {
        base,
        generation: header.generation,
    });
    let segment = Segment::new(
        header,
        file.renamed(shared.dir.join(&name)),
        shared.options.mutants,
    );
    segment.learn(&marks);
    Ok((Arc::new(segment), end))
}

/// The new segment takes over; what it hides is garbage from now on.
pub(crate) fn publish_segment(shared: &Shared, segment: SharedSegment, end: Mark) -> Vec<String> {
    let mut state = shared.state();
    let hidden = state
        .live
        .partition_point(|s| s.header.base < segment.header.base);
    let names: Vec<_> = state
        .live
        .drain(hidden..)
        .map(|s| s.header.file_name())
        .collect();
    state.live.push(segment.clone());
    state.written_index = end.index.prev();
    state.active = Some(Active { segment, end });
    names
}
