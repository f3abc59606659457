//! Reads a store back through its public interface.

use afterimage_engine::raft::LogView;
use afterimage_engine::store::Store;
use afterimage_engine::{Entry, Error, Index};

use crate::disk::is_corruption;
use crate::trace::Contents;

/// Data read at once, in bytes.
const PIECE: usize = 1 << 20;

impl Contents {
    /// Everything that the store holds.
    ///
    /// # Errors
    /// A failed file operation. Bytes that are wrong are no error here: they
    /// are said in `unreadable`.
    pub fn read(store: &Store) -> Result<Contents, Error> {
        let mut contents = Contents {
            hard_state: store.hard_state(),
            first_index: store.first_index(),
            last_index: store.last_index(),
            ..Contents::default()
        };
        // The one is read even where the other can't be: what is there counts.
        let log = read_log(store, &mut contents);
        let snapshot = read_snapshot(store, &mut contents);
        for read in [log, snapshot] {
            match read {
                Ok(()) => {}
                Err(e @ Error::Io { .. }) => return Err(e),
                // The first one says why.
                Err(e) if contents.unreadable.is_none() => {
                    contents.corrupt = is_corruption(&e);
                    contents.unreadable = Some(e.to_string());
                }
                Err(_) => {}
            }
        }
        Ok(contents)
    }

    /// Reads the log once more, at most `piece` bytes at once: what comes must be
    /// the same, and no more than was asked for but one entry. What differs is
    /// said in `unreadable`.
    ///
    /// # Errors
    /// A failed file operation.
    pub fn same_in_pieces(&mut self, store: &Store, piece: usize) -> Result<(), Error> {
        if self.unreadable.is_some() {
            return Ok(());
        }
        let mut expected = self.entries.as_slice();
        while let Some(first) = expected.first() {
            let entries = match store.entries(first.index, piece) {
                Ok(entries) => entries,
                Err(e @ Error::Io { .. }) => return Err(e),
                Err(e) => {
                    self.corrupt = is_corruption(&e);
                    self.unreadable = Some(e.to_string());
                    return Ok(());
                }
            };
            let bytes: usize = entries.iter().map(|e| e.data.len()).sum();
            let same = entries
                .iter()
                .map(Entry::id)
                .eq(expected.iter().copied().take(entries.len()));
            if entries.is_empty() || !same || (bytes > piece && entries.len() > 1) {
                let what = format!(
                    "{} entries of {bytes} bytes from {} on, {piece} asked for: not what is there",
                    entries.len(),
                    first.index
                );
                self.unreadable = Some(what);
                return Ok(());
            }
            expected = &expected[entries.len()..];
        }
        Ok(())
    }
}

fn read_log(store: &Store, contents: &mut Contents) -> Result<(), Error> {
    let mut next: Index = contents.first_index;
    while next <= contents.last_index {
        let entries = store.entries(next, PIECE)?;
        next = next + entries.len() as u64;
        contents.entries.extend(entries.iter().map(|e| e.id()));
    }
    Ok(())
}

fn read_snapshot(store: &Store, contents: &mut Contents) -> Result<(), Error> {
    let Some(reader) = store.open_snapshot()? else {
        return Ok(());
    };
    let mut crc = crc32fast::Hasher::new();
    let mut offset = 0;
    loop {
        let piece = reader.read(offset)?;
        if piece.is_empty() {
            break;
        }
        crc.update(&piece);
        offset += piece.len() as u64;
    }
    let meta = reader.meta();
    // All of it, and not only what a reader that stops early calls all.
    if offset != reader.data_len() {
        let why = format!(
            "the snapshot has {} bytes, {offset} read",
            reader.data_len()
        );
        contents.unreadable.get_or_insert(why);
    }
    if store.snapshot().as_ref() != Some(meta) {
        let why = "the store speaks of another snapshot than it opens".to_owned();
        contents.unreadable.get_or_insert(why);
    }
    contents.snapshot = Some((meta.last_index, meta.last_term, crc.finalize()));
    Ok(())
}
