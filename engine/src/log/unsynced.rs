//! What was written and not yet synced, because nobody has asked for it.
//!
//! An append without a sync leaves its segment here, and a roll without one leaves
//! the next segment's name here as well. A sync covers all of it or fails, and
//! nothing of it is acknowledged before. Until then a power cut may take any of it:
//! the next segment's header says from where on ([`SegmentHeader::floor`]), and
//! recovery believes nothing behind that which it has not checked.
//!
//! [`SegmentHeader::floor`]: super::segment::SegmentHeader

use std::sync::Arc;

use super::segment::SharedSegment;
use super::writer::sync_data;
use crate::error::Result;
use crate::ids::Index;
use crate::mutant::Mutant;
use crate::sometimes::sometimes;
use crate::store::Shared;

/// Records that may lie between one known to be durable and one that is written: a
/// record, and a segment's header, has four bytes for it.
const RECORDS_MAX: u64 = u32::MAX as u64 / 2;

/// What the next sync has to cover.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    /// Segments with such records, in order.
    segments: Vec<SharedSegment>,
    /// Some segment's name is not durable.
    names: bool,
    /// Of all these records, in bytes.
    bytes: u64,
}

impl Unsynced {
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether a segment was begun so.
    pub fn rolled(&self) -> bool {
        self.names
    }

    /// Whether so much more may be left, for entries up to `last`.
    pub fn has_room(&self, bytes: u64, limit: u64, durable: Index, last: Index) -> bool {
        self.bytes.saturating_add(bytes) <= limit && last.0.saturating_sub(durable.0) < RECORDS_MAX
    }

    /// So many bytes of records were written at the end of `segment`.
    pub fn wrote(&mut self, segment: &SharedSegment, bytes: u64) {
        let is_new = (self.segments.last()).is_none_or(|last| !Arc::ptr_eq(last, segment));
        if is_new {
            self.segments.push(segment.clone());
        }
        self.bytes += bytes;
    }

    /// A segment got its name.
    pub fn named(&mut self) {
        self.names = true;
    }
}

/// Makes all of it durable. A failure poisons, as that of any sync.
pub(super) async fn sync(shared: &Shared) -> Result<()> {
    let (mut segments, names) = {
        let state = shared.state();
        let Unsynced {
            segments, names, ..
        } = &state.unsynced;
        (segments.clone(), *names)
    };
    if segments.is_empty() {
        return Ok(());
    }
    sometimes!(SyncOfSegments, segments.len() > 1);
    if shared.has(Mutant::SyncsLastSegment) {
        segments.drain(..segments.len() - 1);
    }
    for segment in segments {
        sync_data(shared, &segment.file).await?;
    }
    if names
        && !shared.has(Mutant::SyncsNoNames)
        && let Err(e) = shared.dir.sync().await
    {
        shared.poison();
        return Err(e);
    }
    shared.state().unsynced = Unsynced::default();
    Ok(())
}
