//! Reads a snapshot, checking every chunk.

use std::sync::Arc;

use super::format::{Header, chunks_start, decode_membership};
use crate::bytes::SECTOR;
use crate::entry::SnapshotMeta;
use crate::error::{Corruption, Error, Result};
use crate::format;
use crate::fs::dir::{Dir, Handle};

/// An open snapshot. Clones share it; it stays readable after it was replaced.
#[derive(Debug, Clone)]
pub struct SnapshotReader {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: Handle,
    header: Header,
    meta: SnapshotMeta,
}

impl SnapshotReader {
    pub(crate) fn new(file: Handle, header: Header, meta: SnapshotMeta) -> Self {
        SnapshotReader {
            inner: Arc::new(Inner { file, header, meta }),
        }
    }

    /// Opens the snapshot of a directory and checks header and membership, and
    /// that the file has the length that the header speaks of.
    pub(crate) async fn open(dir: &Dir) -> Result<Self> {
        let file = dir.open(super::NAME).await?;
        let corrupt = |offset, what| Error::Corrupt {
            path: file.path().to_owned(),
            offset,
            what,
        };
        let mut sector = [0; SECTOR];
        file.read(&mut sector, 0).await?;
        let header = match Header::decode(&sector) {
            Ok(Some(header)) => header,
            Ok(None) => return Err(corrupt(0, Corruption::SnapshotHeader)),
            Err(found) => {
                return Err(Error::Version {
                    path: file.path().to_owned(),
                    found,
                    known: format::VERSION,
                });
            }
        };
        let len = file.len().await?;
        let chunks = header.data_len.div_ceil(u64::from(header.chunk_bytes));
        let end = (chunks.checked_mul(4))
            .and_then(|crcs| crcs.checked_add(header.data_len))
            .and_then(|n| n.checked_add(chunks_start(header.membership_len as usize)));
        if end != Some(len) {
            return Err(corrupt(len, Corruption::SnapshotData));
        }
        let mut membership = vec![0; header.membership_len as usize];
        file.read(&mut membership, SECTOR as u64).await?;
        let membership = (crc32fast::hash(&membership) == header.membership_crc)
            .then(|| decode_membership(&membership))
            .flatten()
            .ok_or_else(|| corrupt(SECTOR as u64, Corruption::SnapshotHeader))?;
        let meta = SnapshotMeta {
            last_index: header.last_index,
            last_term: header.last_term,
            membership,
        };
        Ok(SnapshotReader::new(file, header, meta))
    }

    /// The file, if nobody else reads it.
    pub(crate) fn into_file(self) -> Option<Handle> {
        Arc::into_inner(self.inner).map(|inner| inner.file)
    }

    pub fn meta(&self) -> &SnapshotMeta {
        &self.inner.meta
    }

    /// Length of the data, in bytes.
    pub fn data_len(&self) -> u64 {
        self.inner.header.data_len
    }

    /// Segments of a lower generation are dead.
    pub(crate) fn min_generation(&self) -> u64 {
        self.inner.header.min_generation
    }

    pub(crate) fn log_id(&self) -> u64 {
        self.inner.header.log_id
    }

    /// Data from `offset` (any), up to the end of the chunk it lies in; empty at
    /// the end of the data and beyond.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the chunk's CRC is wrong, [`Error::Io`].
    pub fn read(&self, offset: u64) -> Result<Vec<u8>> {
        let Inner { file, header, .. } = &*self.inner;
        if offset >= header.data_len {
            return Ok(Vec::new());
        }
        let chunk_bytes = u64::from(header.chunk_bytes);
        let number = offset / chunk_bytes;
        let start = number * chunk_bytes;
        let len = chunk_bytes.min(header.data_len - start) as usize;
        let chunks = header.chunks();
        let corrupt = |at| Error::Corrupt {
            path: file.path().to_owned(),
            offset: at,
            what: Corruption::SnapshotData,
        };
        let at = chunks.offset(number).ok_or_else(|| corrupt(u64::MAX))?;
        let mut bytes = vec![0; len + 4];
        if file.read_now(&mut bytes, at)? < bytes.len() {
            return Err(corrupt(at));
        }
        let crc = bytes.split_off(len);
        if chunks.crc(number, &bytes).to_le_bytes() != crc[..] {
            return Err(corrupt(at));
        }
        bytes.drain(..(offset - start) as usize);
        Ok(bytes)
    }
}
