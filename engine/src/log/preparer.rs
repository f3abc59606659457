//! The preparer: one segment's worth of durable zeros, ready before it is
//! needed, so that no allocation and no zeroing is on the path of an append.
//! A sync over space that was written before costs about half of one into
//! space that grows: no extent is converted and no size changes.

use std::sync::Arc;

use super::segment::Prepared;
use crate::error::Result;
use crate::event::{Event, Phase};
use crate::fs::{Advice, SyncMode};
use crate::job::{Job, Step};
use crate::store::Shared;

/// Zeros written in one operation, in bytes.
const PIECE: u64 = 1 << 20;
/// With the header.
const PAGE: u64 = 4 << 10;

/// Keeps one segment prepared.
#[derive(Debug)]
pub struct Preparer {
    shared: Arc<Shared>,
    running: Option<Job<Result<()>>>,
}

impl Preparer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Preparer {
            shared,
            running: None,
        }
    }

    /// Whether a step would find work.
    pub fn has_work(&self) -> bool {
        self.running.is_some() || {
            let state = self.shared.state();
            // Where nobody waits for a sync, it gains nothing.
            let wanted = state.active.is_some() && !state.unsynced.rolled();
            state.prepared.is_none() && wanted && !state.poisoned
        }
    }

    /// Begins to prepare although nothing was appended yet: else the first
    /// segment after an open is one that grows. Then `step` until no work is left.
    pub fn begin(&mut self) {
        let wanted = {
            let state = self.shared.state();
            state.prepared.is_none() && !state.poisoned
        };
        if self.running.is_none() && wanted {
            let shared = self.shared.clone();
            self.running = Some(Job::new(async move { prepare(&shared).await }));
        }
    }

    /// At most one file operation. `Stalled`: no space; call again later.
    ///
    /// # Errors
    /// A failed write or sync. Nothing rests on the file, so nothing is
    /// poisoned; the next step begins another one.
    pub fn step(&mut self) -> Result<Step> {
        if self.running.is_none() {
            if !self.has_work() {
                return Ok(Step::Idle);
            }
            self.begin();
        }
        match self.running.as_mut().and_then(Job::step) {
            None => Ok(Step::Ran),
            Some(result) => {
                self.running = None;
                match result {
                    Err(e) if e.is_no_space() => Ok(Step::Stalled),
                    other => other.map(|()| Step::Ran),
                }
            }
        }
    }
}

async fn prepare(shared: &Shared) -> Result<()> {
    shared.observe(Event::Begin(Phase::Prepare));
    let name = shared.tmp_name("segment");
    // Garbage until it is ready: an error or a full disk leaves it to the cleaner.
    let result = fill(shared, &name).await;
    match result {
        Ok(prepared) => shared.state().prepared = Some(prepared),
        Err(e) => {
            shared.state().garbage.push(name);
            return Err(e);
        }
    }
    shared.observe(Event::End(Phase::Prepare));
    Ok(())
}

async fn fill(shared: &Shared, name: &str) -> Result<Prepared> {
    let file = shared.dir.create_new(name).await?;
    let len = shared.options.segment_bytes;
    let zeros = vec![0; len.min(PIECE) as usize];
    let mut at = 0;
    while at < len {
        let n = (len - at).min(PIECE);
        file.write_all(&zeros[..n as usize], at).await?;
        at += n;
        // Piece by piece, for a sync of an append waits behind what is on its way to
        // the disk: one of all at the end would make it wait for all.
        if at < len {
            file.sync(SyncMode::Data).await?;
        }
    }
    file.sync(SyncMode::All).await?;
    if shared.state().writes_through {
        // Not the header's page, which is written otherwise.
        file.advise(Advice::WillWriteThrough, PAGE, len.saturating_sub(PAGE));
    }
    Ok(Prepared {
        name: name.to_owned(),
        file,
    })
}
