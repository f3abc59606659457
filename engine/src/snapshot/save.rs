//! Saving a snapshot of the local state machine.

use std::sync::Arc;

use super::reader::SnapshotReader;
use super::writer::{Finished, SnapshotWriter};
use crate::entry::SnapshotMeta;
use crate::error::Result;
use crate::event::{Event, Phase};
use crate::ids::Index;
use crate::job::{Job, turn};
use crate::mutant::Mutant;
use crate::sometimes::sometimes;
use crate::store::Shared;

/// A frozen state of a state machine, read once from front to back.
pub trait SnapshotSource: Send {
    /// Appends up to about `max` bytes to `out`; `false` once everything was given.
    fn read(&mut self, out: &mut Vec<u8>, max: usize) -> bool;
}

/// See [`crate::store::Store::save_snapshot`].
pub(crate) fn save(
    shared: Arc<Shared>,
    meta: SnapshotMeta,
    mut source: Box<dyn SnapshotSource>,
) -> Job<Result<bool>> {
    Job::new(async move {
        shared.state().check_open()?;
        shared.observe(Event::Begin(Phase::SnapshotSave));
        let mut writer = SnapshotWriter::create(&shared, meta).await?;
        let tmp = writer.tmp.clone();
        let saved = match stream(&shared, &mut source, &mut writer).await {
            Ok(()) => finish(&shared, writer).await,
            Err(e) => Err(e),
        };
        if !matches!(saved, Ok(true)) {
            // Unlinking a name that is gone already is fine.
            shared.state().garbage.push(tmp);
        }
        shared.observe(Event::End(Phase::SnapshotSave));
        saved
    })
}

async fn stream(
    shared: &Shared,
    source: &mut Box<dyn SnapshotSource>,
    writer: &mut SnapshotWriter,
) -> Result<()> {
    while writer.pull(&mut **source).await? {
        shared.state().check_open()?;
    }
    writer.finish_data().await
}

async fn finish(shared: &Shared, writer: SnapshotWriter) -> Result<bool> {
    let last_index = writer.last_index();
    let _publishing = Publishing::begin(shared).await;
    if !is_news(shared, last_index) && !shared.has(Mutant::OlderSnapshotReplaces) {
        sometimes!(SaveOvertaken);
        return Ok(false);
    }
    let min_generation = {
        let state = shared.state();
        state.snapshot.as_ref().map_or(0, |s| s.min_generation())
    };
    let finished = writer.finish(shared, min_generation).await?;
    let reader = publish(shared, finished).await?;
    let meta = reader.meta().clone();
    shared.state().succeed(reader);
    shared.observe(Event::SnapshotSaved { meta });
    Ok(true)
}

/// Whether a snapshot up to `last_index` is newer than the current one.
pub(super) fn is_news(shared: &Shared, last_index: Index) -> bool {
    let current = shared.state().snapshot_end().0;
    if shared.has(Mutant::NewestByName) {
        return last_index.to_string() > current.to_string();
    }
    last_index > current
}

/// Renames the file over the current snapshot. Durable on return.
pub(super) async fn publish(shared: &Shared, finished: Finished) -> Result<SnapshotReader> {
    let Finished {
        tmp,
        file,
        header,
        meta,
    } = finished;
    let file = file.renamed(shared.dir.join(super::NAME));
    let reader = SnapshotReader::new(file, header, meta);
    if shared.has(Mutant::CleanBeforeSnapshotDurable) {
        shared.state().snapshot = Some(reader.clone());
        turn().await;
    }
    // From here on either snapshot may be the one that a crash leaves, and one
    // that discards the log takes with it whatever is acknowledged meanwhile. So
    // every error poisons, also that the disk is full: by now an install has
    // said that the log is to go.
    let mut unknown = Unknown(Some(shared));
    if let Err(e) = shared.dir.rename(&tmp, super::NAME).await {
        shared.poison();
        return Err(e);
    }
    if let Err(e) = shared.dir.sync().await {
        shared.poison();
        return Err(e);
    }
    unknown.0 = None;
    Ok(reader)
}

/// Poisons when it is dropped, unless it is known by then which snapshot is the
/// current one: a job may be dropped between any two of its steps.
struct Unknown<'a>(Option<&'a Shared>);

impl Drop for Unknown<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.0 {
            // Not observed: whoever drops a job is mostly going down himself.
            shared.state().poisoned = true;
        }
    }
}

/// Held from the decision whether a snapshot is taken until it is durable.
/// Saves and installs take it, so that neither overtakes the other.
pub(super) struct Publishing<'a> {
    shared: &'a Shared,
}

impl<'a> Publishing<'a> {
    /// Waits for the other one, step by step.
    pub async fn begin(shared: &'a Shared) -> Self {
        while std::mem::replace(&mut shared.state().publishing, true) {
            turn().await;
        }
        Publishing { shared }
    }
}

impl Drop for Publishing<'_> {
    fn drop(&mut self) {
        self.shared.state().publishing = false;
    }
}
