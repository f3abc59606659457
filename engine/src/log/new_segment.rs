//! A segment on its way into the directory, and into the log.

use std::sync::Arc;

use super::frames::{Frames, WRITE_BACK};
use super::places::Places;
use super::record::Seed;
use super::segment::{Link, Mark, Segment, SegmentHeader, SharedSegment, start_mark};
use crate::entry::Entry;
use crate::error::Result;
use crate::event::Event;
use crate::fs::SyncMode;
use crate::fs::dir::{Handle, WriteAhead};
use crate::ids::Index;
use crate::mutant::Mutant;
use crate::sometimes::sometimes;
use crate::store::{Active, Shared};

/// A segment on its way into the directory: under a temporary name, until it is
/// finished.
pub(crate) struct NewSegment<'a> {
    shared: &'a Shared,
    header: SegmentHeader,
    /// The file's present name.
    tmp: String,
    file: Handle,
    /// What its sync has to cover.
    mode: SyncMode,
    frames: Frames<'a>,
    places: Places,
}

impl<'a> NewSegment<'a> {
    /// One that begins at `base`, behind what `prev` names. Everything up to `floor`
    /// is durable. Nothing is written yet; `buf` is room for frames.
    pub async fn begin(
        shared: &'a Shared,
        base: Index,
        prev: Link,
        floor: Index,
        buf: &'a mut Vec<u8>,
    ) -> Result<Self> {
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
            floor,
            created_at_ms: shared.host.env.now_ms(),
        };
        let start = start_mark(&header);
        buf.extend_from_slice(&header.encode());
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
                if floor < base.prev() {
                    let reserved = reserve(shared, &file).await;
                    reserved.inspect_err(|_| shared.state().garbage.push(tmp.clone()))?;
                }
                (tmp, file, SyncMode::All)
            }
        };
        let tmp = name_early(shared, tmp, &header.file_name()).await?;
        Ok(NewSegment {
            shared,
            header,
            tmp,
            file,
            mode,
            frames: Frames {
                seed: Seed::new(header.nonce),
                floor,
                end: start,
                marks: Vec::new(),
                buf,
                ahead: Some(WriteAhead::new(start.offset, WRITE_BACK)),
            },
            places: Places::new(start),
        })
    }

    fn give_up(&self) {
        sometimes!(SegmentGivenUp);
        self.shared.state().garbage.push(self.tmp.clone());
    }

    /// Writes these entries behind the ones before.
    pub async fn write(&mut self, entries: &[Entry]) -> Result<()> {
        let written = self.frames.encode(&self.file, entries).await;
        written.inspect_err(|_| self.give_up())?;
        for mark in self.frames.marks.drain(..) {
            self.places.push(mark);
        }
        Ok(())
    }

    /// Brings it into place. Its content is durable on return, and so is its name
    /// if that is asked for.
    pub async fn finish(mut self, durable_name: bool) -> Result<(SharedSegment, Mark)> {
        let flushed = self.frames.flush(&self.file).await;
        flushed.inspect_err(|_| self.give_up())?;
        let NewSegment {
            shared,
            header,
            tmp,
            file,
            ..
        } = self;
        let end = self.frames.end;
        let is_empty = end.index == header.base;
        let durable =
            shared.has(Mutant::DurableNotLowered) && end.index <= shared.state().durable_index;
        if !durable && let Err(e) = file.sync(self.mode).await {
            shared.poison();
            return Err(e);
        }
        let name = header.file_name();
        if let Err(e) = shared.dir.rename(&tmp, &name).await {
            shared.state().garbage.push(tmp);
            return Err(e);
        }
        let promises = durable_name && !(is_empty && shared.has(Mutant::TruncationNotDurable));
        if promises && let Err(e) = shared.dir.sync().await {
            shared.poison();
            return Err(e);
        }
        shared.observe(Event::SegmentCreated {
            base: header.base,
            generation: header.generation,
        });
        let file = file.renamed(shared.dir.join(&name));
        let segment = Segment::of(header, file, self.places, shared.options.mutants);
        Ok((Arc::new(segment), end))
    }
}

/// Space for a whole segment, as far as there is any: to find a place for each write
/// costs a sixth of it, and a disk that is full is met here and by no sync.
async fn reserve(shared: &Shared, file: &Handle) -> Result<()> {
    match file.allocate(0, shared.options.segment_bytes).await {
        Err(e) if !e.is_no_space() => Err(e),
        _ => Ok(()),
    }
}

/// Planted bug: a file has its name before it has a header. The name again.
async fn name_early(shared: &Shared, tmp: String, name: &str) -> Result<String> {
    if !shared.has(Mutant::NamedBeforeWritten) {
        return Ok(tmp);
    }
    shared.dir.rename(&tmp, name).await?;
    Ok(name.to_owned())
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
