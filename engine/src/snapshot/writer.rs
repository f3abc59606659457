//! Streams a snapshot into a temporary file.

use super::SnapshotSource;
use super::format::{Chunks, Header, MEMBERSHIP_BYTES_MAX, chunks_start, encode_membership};
use crate::entry::SnapshotMeta;
use crate::error::{Error, Result};
use crate::fs::SyncMode;
use crate::fs::dir::{Handle, WriteAhead};
use crate::ids::{Index, Term};
use crate::store::Shared;

/// The disk begins with so many bytes while the rest is still to come.
const WRITE_BACK: u64 = 8 << 20;

/// A snapshot on its way into its file. At most one chunk is in memory.
pub(crate) struct SnapshotWriter {
    pub tmp: String,
    file: Handle,
    meta: SnapshotMeta,
    membership: Vec<u8>,
    chunks: Chunks,
    /// Chunks written.
    number: u64,
    pending: Vec<u8>,
    ahead: WriteAhead,
    data_len: u64,
    data_crc: crc32fast::Hasher,
}

impl SnapshotWriter {
    /// Creates the temporary file: garbage until it gets its name.
    pub async fn create(shared: &Shared, meta: SnapshotMeta) -> Result<Self> {
        let membership = encode_membership(&meta.membership);
        if membership.len() > MEMBERSHIP_BYTES_MAX {
            return Err(Error::Misuse("the membership is larger than 1 MiB"));
        }
        let tmp = shared.tmp_name(super::NAME);
        let file = shared.dir.create_new(&tmp).await?;
        Ok(SnapshotWriter {
            tmp,
            file,
            chunks: Chunks {
                start: chunks_start(membership.len()),
                chunk_bytes: shared.options.chunk_bytes.clamp(1, 1 << 30) as u64,
                nonce: shared.host.env.random(),
            },
            meta,
            membership,
            number: 0,
            pending: Vec::new(),
            ahead: WriteAhead::new(0, WRITE_BACK),
            data_len: 0,
            data_crc: crc32fast::Hasher::new(),
        })
    }

    pub fn last_index(&self) -> Index {
        self.meta.last_index
    }

    pub fn last_term(&self) -> Term {
        self.meta.last_term
    }

    /// Bytes that complete the current chunk.
    fn wanted(&self) -> usize {
        (self.chunks.chunk_bytes as usize).saturating_sub(self.pending.len())
    }

    /// Takes any amount of data; writes the chunks that it completes.
    pub async fn push(&mut self, mut data: &[u8]) -> Result<()> {
        self.data_len += data.len() as u64;
        while !data.is_empty() {
            let n = self.wanted().min(data.len());
            self.pending.extend_from_slice(&data[..n]);
            data = &data[n..];
            if self.wanted() == 0 {
                self.write_chunk().await?;
            }
        }
        Ok(())
    }

    /// Takes what the source gives next, as [`SnapshotWriter::push`] does, but
    /// without a copy; `false` once that was everything.
    pub async fn pull(&mut self, source: &mut dyn SnapshotSource) -> Result<bool> {
        let before = self.pending.len();
        let wanted = self.wanted();
        let more = source.read(&mut self.pending, wanted);
        self.data_len += (self.pending.len() - before) as u64;
        while self.pending.len() as u64 >= self.chunks.chunk_bytes {
            // A source may give more than it was asked for.
            let rest = self.pending.split_off(self.chunks.chunk_bytes as usize);
            self.write_chunk().await?;
            self.pending.extend_from_slice(&rest);
        }
        Ok(more)
    }

    async fn write_chunk(&mut self) -> Result<()> {
        let crc = self.chunks.crc(self.number, &self.pending).to_le_bytes();
        self.data_crc.update(&crc);
        self.pending.extend_from_slice(&crc);
        let Some(offset) = self.chunks.offset(self.number) else {
            return Err(Error::Misuse("the snapshot is longer than a file can be"));
        };
        self.file.write_all(&self.pending, offset).await?;
        self.ahead
            .written(&self.file, offset + self.pending.len() as u64);
        self.pending.clear();
        self.number += 1;
        Ok(())
    }

    /// Writes what is left of the data.
    pub async fn finish_data(&mut self) -> Result<()> {
        if !self.pending.is_empty() {
            self.write_chunk().await?;
        }
        Ok(())
    }

    /// Writes the header. Everything is durable on return, but for the name.
    pub async fn finish(self, shared: &Shared, min_generation: u64) -> Result<Finished> {
        assert!(self.pending.is_empty(), "finish_data comes first");
        let header = Header {
            chunk_bytes: self.chunks.chunk_bytes as u32,
            log_id: shared.log_id,
            last_index: self.meta.last_index,
            last_term: self.meta.last_term,
            min_generation,
            data_len: self.data_len,
            data_crc: self.data_crc.finalize(),
            membership_len: self.membership.len() as u32,
            membership_crc: crc32fast::hash(&self.membership),
            nonce: self.chunks.nonce,
        };
        let mut front = header.encode().to_vec();
        front.extend_from_slice(&self.membership);
        front.resize(self.chunks.start as usize, 0);
        self.file.write_all(&front, 0).await?;
        // Sync before rename: the rename may become durable first and leave a
        // snapshot without its data.
        self.file.sync(SyncMode::All).await?;
        Ok(Finished {
            tmp: self.tmp,
            file: self.file,
            header,
            meta: self.meta,
        })
    }
}

/// A whole snapshot that has not got its name yet.
pub(crate) struct Finished {
    pub tmp: String,
    pub file: Handle,
    pub header: Header,
    pub meta: SnapshotMeta,
}
