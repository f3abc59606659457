//! The writer: one group of batches at a time to the disk.
//!
//! The order of the file operations is the durability contract:
//!
//! - **Append**: write the records behind the last one, sync, acknowledge.
//! - **Roll, truncate, go on after an open**: write header and first records
//!   into a temporary file, sync it, rename it into place, sync the directory,
//!   acknowledge. The new segment hides every record at or above its base in
//!   segments of lower generations; nothing is ever appended after a cut.
//! - **Append without a sync**: write, and leave the rest to the next group that
//!   wants one: it syncs every such segment and the directory before it is
//!   acknowledged. A roll within syncs the new segment's header and renames it, so
//!   that a name is the proof of a header here, too. A truncation always syncs.
//!
//! A failed write or sync poisons the store: after a failed sync the pages are
//! clean, so neither a second sync nor a read proves anything. A full disk does
//! not: what was written was never acknowledged, and the group goes into a new
//! segment once there is space.

use std::sync::Arc;

use super::frames::{Frames, PIECE, WRITE_BACK};
use super::new_segment::{NewSegment, link_before, publish_segment};
use super::record::{self, Seed};
use super::segment::Segment;
use super::unsynced;
use crate::entry::{Entry, HardState};
use crate::error::{Error, Result};
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
    /// Whether somebody wants it to be durable, or there is too much that is not.
    synced: bool,
    /// Everything up to here was durable when the group was taken. A truncation that
    /// is queued meanwhile lowers the store's index, and changes nothing of that.
    floor: Index,
    /// Frames on their way into a file.
    frames: Vec<u8>,
}

impl Group {
    /// Of its records, in bytes.
    fn frames_len(&self) -> u64 {
        let frame = |e: &Entry| record::frame_len(e.data.len()) as u64;
        self.entries.iter().map(frame).sum()
    }
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
                    let mut result = write(&shared, &mut group).await;
                    if result.as_ref().is_err_and(Error::is_no_space) {
                        result = sync_before(&shared, &mut group).await.and(result);
                    }
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
        synced: false,
        floor: state.durable_index,
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
        group.synced |= command.synced || command.truncate_from.is_some();
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
    if !group.synced {
        let last = group.entries.last().map_or(Index(0), |e| e.index);
        let limit = shared.options.unsynced_bytes;
        group.synced =
            !(state.unsynced).has_room(group.frames_len(), limit, state.durable_index, last);
        sometimes!(SyncedForRoom, group.synced);
    }
    state.writing = true;
    Some(group)
}

/// The group is written, and durable if it was synced: raise what may be read from
/// the segments, and what may be acknowledged.
fn complete(shared: &Shared, group: &Group) {
    let (durable, rose) = {
        let mut state = shared.state();
        state.written = group.ticket;
        state.writing = false;
        state.stalled = None;
        let mut written = state.written_index;
        // A batch behind this group may have replaced some of it meanwhile.
        for from in state.queue.iter().filter_map(|c| c.truncate_from) {
            written = written.min(from.prev());
        }
        sometimes!(DurableHeldBack, written < state.written_index);
        state.settled_index = written;
        if !group.synced {
            return;
        }
        let settled = state.settled_index;
        state.cache.evict(settled);
        state.persisted = match shared.has(Mutant::CompletesQueued) {
            true => state.next_ticket - 1,
            false => group.ticket,
        };
        let before = std::mem::replace(&mut state.durable_index, written);
        (written, written > before)
    };
    if let Some(from) = group.truncated {
        shared.observe(Event::Truncated { from });
    }
    // Without entries: of those before, which waited for this sync.
    if group.truncated.is_some() || !group.entries.is_empty() || rose {
        shared.observe(Event::Durable { index: durable });
    }
}

/// The group waits for space, but nothing that was written before has to: a snapshot
/// of that may be what makes some.
async fn sync_before(shared: &Shared, group: &mut Group) -> Result<()> {
    if shared.state().poisoned || shared.has(Mutant::StallHoldsWritten) {
        return Ok(());
    }
    unsynced::sync(shared).await?;
    let rose = {
        let mut state = shared.state();
        group.floor = state.written_index;
        state.persisted = state.written;
        let durable = state.settled_index;
        let before = std::mem::replace(&mut state.durable_index, durable);
        (durable > before).then_some(durable)
    };
    if let Some(index) = rose {
        shared.observe(Event::Durable { index });
    }
    Ok(())
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
        return match group.synced {
            true => unsynced::sync(shared).await,
            false => Ok(()),
        };
    }
    match active {
        Some(active) if group.cut.is_none() && active.end.offset < shared.options.segment_bytes => {
            shared.observe(Event::Begin(Phase::Append));
            append(shared, active, group).await?;
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
            begin_segment(shared, base, group).await?;
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

/// Goes on in a new segment. Durable on return, if the group is to be.
async fn begin_segment(shared: &Shared, base: Index, group: &mut Group) -> Result<()> {
    // A truncation to which nothing was appended: the segment that it began hides what
    // it cut off, and is garbage once another one hides it. So that one must be durable.
    let last = shared.state().live.last().map(|last| last.header.base);
    group.synced |= last.is_some_and(|last| last >= base);
    let (floor, durable, first) = match group.synced {
        true => {
            // Its header says so.
            unsynced::sync(shared).await?;
            (base.prev(), true, &group.entries[..])
        }
        // The header alone: the first records are appended as all others are.
        false => (group.floor, false, &[][..]),
    };
    let floor = match shared.has(Mutant::FloorTooHigh) {
        true => base.prev(),
        false => floor,
    };
    let link = link_before(shared, base)?;
    let mut segment = NewSegment::begin(shared, base, link, floor, &mut group.frames).await?;
    segment.write(first).await?;
    let (segment, end) = segment.finish(durable).await?;
    let hidden = publish_segment(shared, segment.clone(), end);
    if durable {
        shared.state().garbage.extend(hidden);
        return Ok(());
    }
    assert!(hidden.is_empty(), "see above");
    sometimes!(RolledUnsynced);
    {
        let mut state = shared.state();
        state.unsynced.wrote(&segment, 0);
        state.unsynced.named();
    }
    let name = segment.header.file_name();
    let appended = append(shared, Active { segment, end }, group).await;
    if appended.as_ref().is_err_and(Error::is_no_space) {
        // Begun in vain: what it has reserved may be what is missing. It hides nothing.
        let mut state = shared.state();
        state.live.pop();
        state.garbage.push(name);
    }
    appended
}

/// Appends to the active segment. Durable on return, with all before it, if the
/// group is to be.
async fn append(shared: &Shared, active: Active, group: &mut Group) -> Result<()> {
    let Active {
        segment,
        end: start,
    } = active;
    let all_synced = shared.state().unsynced.is_empty();
    let entries = &group.entries;
    let mut frames = Frames {
        seed: Seed::new(segment.header.nonce),
        floor: group.floor,
        end: start,
        marks: Vec::with_capacity(entries.len()),
        buf: &mut group.frames,
        // Where nobody waits, the system chooses the time.
        ahead: group
            .synced
            .then(|| WriteAhead::new(start.offset, WRITE_BACK)),
    };
    frames.encode(&segment.file, entries).await?;
    // A sync that covers only its own write is no use behind others.
    let through =
        group.synced && all_synced && frames.write_through(shared, &segment.file, start).await?;
    if !through {
        frames.flush(&segment.file).await?;
        let rolls_next = frames.end.offset >= shared.options.segment_bytes;
        if !group.synced {
            let bytes = frames.end.offset - start.offset;
            shared.state().unsynced.wrote(&segment, bytes);
        } else if !all_synced {
            shared.state().unsynced.wrote(&segment, 0);
            unsynced::sync(shared).await?;
        } else if !(rolls_next && shared.has(Mutant::RollSkipsSync)) {
            sync_data(shared, &segment.file).await?;
        }
    }
    let Frames { end, marks, .. } = frames;
    segment.learn(&marks);
    let mut state = shared.state();
    state.written_index = end.index.prev();
    state.active = Some(Active { segment, end });
    state.writes_through = through;
    Ok(())
}

/// A sync whose failure poisons: never tried again.
pub(super) async fn sync_data(shared: &Shared, file: &Handle) -> Result<()> {
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
    append(shared, active, group).await?;
    shared.observe(Event::End(Phase::Truncate));
    Ok(())
}

/// Planted bug: the end of the log moves although the write failed.
fn past_a_hole(mut active: Active) -> Active {
    active.end.offset += record::HEADER as u64;
    active
}
