//! What the files are by their headers and names: no record is read here.

use super::{Inspector, is_read_error};
use crate::bytes::{SECTOR, Sector};
use crate::entry::Membership;
use crate::error::{Error, Result};
use crate::fs::dir::Handle;
use crate::hard_state::{self, Slot};
use crate::ids::Index;
use crate::job::now;
use crate::log::segment::{self, Link, SegmentHeader};
use crate::snapshot::{self, Header as SnapshotHeader, chunks_start, decode_membership};
use crate::store::hide;

/// What was found at a fixed place of a file.
#[derive(Debug, Clone)]
pub enum Found<T> {
    Good(T),
    /// Not what belongs there.
    Bad,
    /// Of this newer version of the format.
    Newer(u32),
    /// The file operation failed.
    Failed(Error),
}

impl<T> Found<T> {
    fn of(decoded: std::result::Result<Option<T>, u32>) -> Self {
        match decoded {
            Ok(Some(good)) => Found::Good(good),
            Ok(None) => Found::Bad,
            Err(version) => Found::Newer(version),
        }
    }

    /// Keeps what is about one file to that file. Errors of the directory are
    /// everybody's.
    pub(super) fn catch(read: Result<Found<T>>) -> Result<Self> {
        match read {
            Err(e) if is_read_error(&e) => Ok(Found::Failed(e)),
            other => other,
        }
    }

    pub(super) fn map<U>(self, what: impl FnOnce(T) -> U) -> Found<U> {
        match self {
            Found::Good(good) => Found::Good(what(good)),
            Found::Bad => Found::Bad,
            Found::Newer(version) => Found::Newer(version),
            Found::Failed(error) => Found::Failed(error),
        }
    }

    pub fn good(&self) -> Option<&T> {
        match self {
            Found::Good(good) => Some(good),
            _ => None,
        }
    }
}

/// A file with the name of a segment.
#[derive(Debug, Clone)]
pub struct SegmentFile {
    pub name: String,
    /// As the name has it.
    pub base: Index,
    /// As the name has it.
    pub generation: u64,
    pub header: Found<SegmentHeader>,
    pub state: SegmentState,
}

/// What a segment is to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentState {
    /// Part of it. Its records below `until` count, where the next segment
    /// takes over.
    Live { until: Option<Index> },
    /// A segment of a higher generation replaced it.
    Hidden,
    /// The snapshot discarded it.
    Dead,
}

impl SegmentFile {
    /// The header, if the file is what its name says, in this log.
    pub(super) fn sound(&self, log_id: Option<u64>) -> Option<&SegmentHeader> {
        self.header.good().filter(|header| {
            header.file_name() == self.name && log_id.is_none_or(|id| id == header.log_id)
        })
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.state, SegmentState::Live { .. })
    }

    pub(super) fn until(&self) -> Option<Index> {
        match self.state {
            SegmentState::Live { until } => until,
            _ => None,
        }
    }
}

/// The snapshot's file.
#[derive(Debug, Clone)]
pub(super) struct SnapshotFile {
    pub file: Handle,
    pub len: u64,
    pub header: SnapshotHeader,
    /// `None`: its bytes are bad.
    pub membership: Option<Membership>,
}

impl SnapshotFile {
    /// How long the file must be.
    pub fn expected_len(&self) -> Option<u64> {
        let header = &self.header;
        let crcs = self.chunks().checked_mul(4)?;
        crcs.checked_add(header.data_len)?
            .checked_add(chunks_start(header.membership_len as usize))
    }

    /// How many chunks there are.
    pub fn chunks(&self) -> u64 {
        let header = &self.header;
        header.data_len.div_ceil(u64::from(header.chunk_bytes))
    }
}

impl Inspector {
    /// Both slots; `None` without a file.
    pub(super) fn slots(&self) -> Result<Option<[Found<Slot>; 2]>> {
        if !self.has(hard_state::NAME) {
            return Ok(None);
        }
        let slot = |number: u64| {
            Found::catch(self.sector(hard_state::NAME, number).map(|sector| {
                // A file that ends before it: as an open takes it.
                Found::of(Slot::decode(&sector))
            }))
        };
        Ok(Some([slot(0)?, slot(1)?]))
    }

    /// The directory's log id: the hard state has it.
    pub(super) fn log_id(&self) -> Result<Option<u64>> {
        let slots = self.slots()?;
        let good = slots.iter().flatten().filter_map(Found::good);
        let current = good.max_by_key(|slot| slot.sequence);
        Ok(current.map(|slot| slot.log_id))
    }

    /// `None` without a file.
    pub(super) fn snapshot(&self) -> Result<Option<Found<SnapshotFile>>> {
        if !self.has(snapshot::NAME) {
            return Ok(None);
        }
        Found::catch(self.snapshot_file()).map(Some)
    }

    fn snapshot_file(&self) -> Result<Found<SnapshotFile>> {
        let sector = self.sector(snapshot::NAME, 0)?;
        let header = match SnapshotHeader::decode(&sector) {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(Found::Bad),
            Err(version) => return Ok(Found::Newer(version)),
        };
        let file = now(self.dir.open(snapshot::NAME))?;
        let len = file.len_now()?;
        let mut membership = None;
        // Before anything is allocated for a length that may be rot.
        if u64::from(header.membership_len) <= len.saturating_sub(SECTOR as u64) {
            let mut bytes = vec![0; header.membership_len as usize];
            file.read_now(&mut bytes, SECTOR as u64)?;
            let whole = crc32fast::hash(&bytes) == header.membership_crc;
            membership = whole.then(|| decode_membership(&bytes)).flatten();
        }
        Ok(Found::Good(SnapshotFile {
            file,
            len,
            header,
            membership,
        }))
    }

    /// Every segment, in the order of names; and which of them count. Where the
    /// header is bad, the name must do.
    pub(super) fn segments(&self, min_generation: u64) -> Result<Vec<SegmentFile>> {
        let mut segments = Vec::new();
        let mut headers = Vec::new();
        for name in self.segment_names() {
            let Some((base, generation)) = segment::parse_name(name) else {
                continue;
            };
            let header = Found::catch(
                self.sector(name, 0)
                    .map(|sector| Found::of(SegmentHeader::decode(&sector))),
            )?;
            headers.push(match &header {
                Found::Good(header) => *header,
                _ => nameplate(base, generation),
            });
            segments.push(SegmentFile {
                name: name.clone(),
                base,
                generation,
                header,
                state: SegmentState::Hidden,
            });
        }
        let chain = hide(&headers, min_generation);
        for (at, &live) in chain.live.iter().enumerate() {
            let next = chain.live.get(at + 1);
            let until = next.map(|&next| headers[next].base);
            segments[live].state = SegmentState::Live { until };
        }
        for (segment, header) in segments.iter_mut().zip(&headers) {
            if header.generation < min_generation {
                segment.state = SegmentState::Dead;
            }
        }
        Ok(segments)
    }

    /// A sector of a file; zeros behind its end.
    pub(super) fn sector(&self, name: &str, number: u64) -> Result<Sector> {
        let mut sector = [0; SECTOR];
        let file = now(self.dir.open(name))?;
        file.read_now(&mut sector, number * SECTOR as u64)?;
        Ok(sector)
    }
}

/// What a segment's name says, for one whose header says nothing.
fn nameplate(base: Index, generation: u64) -> SegmentHeader {
    SegmentHeader {
        log_id: 0,
        base,
        generation,
        nonce: 0,
        prev: Link::default(),
        floor: base.prev(),
        created_at_ms: 0,
    }
}
