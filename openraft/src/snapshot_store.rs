//! The state machine's snapshots, in a directory of the engine without a log.
//!
//! The data begins with the length of what follows as a little-endian u32, then
//! OpenRaft's metadata (see `payload`), for the engine's own has no room for
//! joint memberships and addresses; then comes the state machine's.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use afterimage_engine::store::{Cleaner, Install, Options, SnapshotReader, SnapshotSource, Store};
use afterimage_engine::{Error, Host, Index, Membership, SnapshotMeta, Term};
use openraft::alias::SnapshotMetaOf;
use openraft::type_config::TypeConfigExt;

use crate::config::{Config, position, to_log_id};
use crate::error::{invalid_data, invalid_input, to_io};
use crate::payload;
use crate::snapshot_data::{Data, SnapshotData, push};

/// Asked of a state machine at once, in bytes.
const PIECE_BYTES: usize = 256 << 10;

/// The one current snapshot. Clones share it.
pub struct SnapshotStore<C: Config> {
    shared: Arc<Shared>,
    config: PhantomData<fn() -> C>,
}

struct Shared {
    store: Store,
    cleaner: Mutex<Cleaner>,
}

impl<C: Config> SnapshotStore<C> {
    /// Opens the directory, or creates it; the one above must exist. Blocks.
    pub fn open(host: Host, dir: &Path, options: Options) -> io::Result<Self> {
        let (store, _) = Store::open(host, dir, options).run().map_err(to_io)?;
        let shared = Shared {
            cleaner: Mutex::new(store.cleaner()),
            store,
        };
        shared.clean()?;
        Ok(SnapshotStore {
            shared: Arc::new(shared),
            config: PhantomData,
        })
    }

    /// The directory's store, for looking at it.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// The current snapshot, if there is one.
    pub async fn current(&self) -> io::Result<Option<(SnapshotMetaOf<C>, SnapshotData)>> {
        let shared = self.shared.clone();
        C::spawn_blocking(move || shared.current::<C>()).await?
    }

    /// As [`SnapshotStore::current`], on the caller's thread.
    pub(crate) fn current_now(&self) -> io::Result<Option<(SnapshotMetaOf<C>, SnapshotData)>> {
        self.shared.current::<C>()
    }

    /// Stores what `source` gives, unless a snapshot as new is there. Durable
    /// on return.
    pub(crate) async fn save(
        &self,
        meta: &SnapshotMetaOf<C>,
        mut source: Box<dyn SnapshotSource>,
    ) -> io::Result<()> {
        let head = head::<C>(meta)?;
        let meta = engine_meta::<C>(meta);
        let shared = self.shared.clone();
        let saved = C::spawn_blocking(move || {
            if shared.end() >= (meta.last_index, meta.last_term) {
                return Ok(());
            }
            shared.write(shared.store.install(meta), |install| {
                push(install, head)?;
                loop {
                    let mut piece = Vec::new();
                    let more = source.read(&mut piece, PIECE_BYTES);
                    push(install, piece)?;
                    if !more {
                        return Ok(());
                    }
                }
            })
        });
        saved.await?
    }

    /// Begins to receive a snapshot, into a file that is not the current one.
    pub async fn receive(&self, meta: &SnapshotMetaOf<C>) -> io::Result<SnapshotData> {
        let head = head::<C>(meta)?;
        let mut install = self.shared.store.install(engine_meta::<C>(meta));
        let begun = C::spawn_blocking(move || push(&mut install, head).map(|()| install));
        let install = begun.await?.map_err(to_io)?;
        Ok(SnapshotData(Data::Arriving(Box::new(Mutex::new(install)))))
    }

    /// Makes it the current one; durable on return. Fails if the current one is
    /// newer.
    pub(crate) async fn install(
        &self,
        meta: &SnapshotMetaOf<C>,
        data: SnapshotData,
    ) -> io::Result<()> {
        let head = head::<C>(meta)?;
        let meta = engine_meta::<C>(meta);
        let shared = self.shared.clone();
        C::spawn_blocking(move || shared.install(meta, head, data)).await?
    }
}

impl Shared {
    /// Where the current snapshot ends.
    fn end(&self) -> (Index, Term) {
        let meta = self.store.snapshot();
        meta.map_or_else(Default::default, |meta| (meta.last_index, meta.last_term))
    }

    fn current<C: Config>(&self) -> io::Result<Option<(SnapshotMetaOf<C>, SnapshotData)>> {
        let Some(reader) = self.store.open_snapshot().map_err(to_io)? else {
            return Ok(None);
        };
        let (meta, start) = read_head::<C>(&reader)?;
        let end = (reader.meta().last_index, reader.meta().last_term);
        if meta.last_log_id != to_log_id(end) {
            return Err(invalid_data("the snapshot's two ends differ".into()));
        }
        Ok(Some((meta, SnapshotData(Data::Stored(reader, start)))))
    }

    fn install(&self, meta: SnapshotMeta, head: Vec<u8>, data: SnapshotData) -> io::Result<()> {
        let wanted = (meta.last_index, meta.last_term);
        match data.0 {
            Data::Initial if wanted.0 > Index(0) => {
                return Err(invalid_input("a snapshot without its data".into()));
            }
            Data::Initial => {}
            // OpenRaft restores a state machine so, from its own snapshot.
            Data::Stored(..) if self.end() == wanted => {}
            Data::Stored(reader, start) => {
                self.write(self.store.install(meta), |install| {
                    push(install, head)?;
                    copy(&reader, start, install)
                })?;
            }
            Data::Arriving(install) => {
                let install = install.into_inner().unwrap_or_else(PoisonError::into_inner);
                if *install.meta() != meta {
                    return Err(invalid_input("another snapshot was received".into()));
                }
                self.write(install, |_| Ok(()))?;
            }
        }
        match self.end() == wanted {
            true => Ok(()),
            false => Err(invalid_input(format!(
                "the snapshot up to {} is there already",
                self.end().0
            ))),
        }
    }

    fn write(
        &self,
        mut install: Install,
        fill: impl FnOnce(&mut Install) -> afterimage_engine::Result<()>,
    ) -> io::Result<()> {
        let written = fill(&mut install).and_then(|()| finish(&mut install));
        // Of a failed one, too: dropped, its file is garbage.
        drop(install);
        written.map_err(to_io)?;
        self.clean()
    }

    fn clean(&self) -> io::Result<()> {
        let mut cleaner = self.cleaner.lock().unwrap_or_else(PoisonError::into_inner);
        while cleaner.has_work() {
            cleaner.step().map_err(to_io)?;
        }
        Ok(())
    }
}

fn finish(install: &mut Install) -> afterimage_engine::Result<()> {
    if !install.push(install.wanted(), Vec::new(), true) {
        return Err(Error::Misuse("the last piece was pushed already"));
    }
    while install.outcome().is_none() {
        install.step()?;
        // It may be another one's turn.
        std::thread::yield_now();
    }
    Ok(())
}

fn copy(
    reader: &SnapshotReader,
    start: u64,
    install: &mut Install,
) -> afterimage_engine::Result<()> {
    let mut at = start;
    loop {
        let piece = reader.read(at)?;
        if piece.is_empty() {
            return Ok(());
        }
        at += piece.len() as u64;
        push(install, piece)?;
    }
}

/// What the engine has to know.
fn engine_meta<C: Config>(meta: &SnapshotMetaOf<C>) -> SnapshotMeta {
    let end = meta.last_log_id.as_ref().map(position);
    let (last_index, last_term) = end.unwrap_or_default();
    SnapshotMeta {
        last_index,
        last_term,
        membership: Membership::default(),
    }
}

fn head<C: Config>(meta: &SnapshotMetaOf<C>) -> io::Result<Vec<u8>> {
    let bytes = payload::encode(meta)?;
    let len = u32::try_from(bytes.len())
        .map_err(|_| invalid_input("the membership is too large".into()))?;
    Ok([&len.to_le_bytes(), &bytes[..]].concat())
}

/// The metadata, and where the state machine's data begins.
fn read_head<C: Config>(reader: &SnapshotReader) -> io::Result<(SnapshotMetaOf<C>, u64)> {
    let len = read_exactly(reader, 0, 4)?;
    let len = u32::from_le_bytes(len.try_into().expect("four bytes were asked for"));
    let meta = read_exactly(reader, 4, u64::from(len))?;
    let meta = payload::decode(&meta, "the snapshot's metadata")?;
    Ok((meta, 4 + u64::from(len)))
}

fn read_exactly(reader: &SnapshotReader, from: u64, len: u64) -> io::Result<Vec<u8>> {
    let end = from + len;
    if end > reader.data_len() {
        return Err(invalid_data("the snapshot ends in its metadata".into()));
    }
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < len {
        bytes.extend(reader.read(from + bytes.len() as u64).map_err(to_io)?);
    }
    bytes.truncate(len as usize);
    Ok(bytes)
}

impl<C: Config> Clone for SnapshotStore<C> {
    fn clone(&self) -> Self {
        SnapshotStore {
            shared: self.shared.clone(),
            config: PhantomData,
        }
    }
}

impl<C: Config> fmt::Debug for SnapshotStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotStore")
            .field("dir", &self.shared.store.dir())
            .finish_non_exhaustive()
    }
}
