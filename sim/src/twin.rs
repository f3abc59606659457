//! Recovery on a copy of the disk: to see whether it answers twice alike.

use std::path::Path;
use std::sync::Arc;

use afterimage_engine::Host;
use afterimage_engine::store::{Options, Store};

use crate::disk::{Fates, SimFs};
use crate::env::SimEnv;
use crate::mutants::{FsBug, wrap};
use crate::rng::Ratio;
use crate::trace::Contents;

/// Most opens have fewer operations, reads included.
const STEPS_MAX: u64 = 40;

/// A copy of a disk from before an open.
pub(crate) struct Twin<'a> {
    pub disk: SimFs,
    pub dir: &'a Path,
    pub options: Options,
    pub bug: Option<FsBug>,
    /// Nothing is pending on it, so that a cut in the middle loses nothing.
    pub settled: bool,
    /// Says where the power goes, and what it leaves.
    pub draw: u64,
}

impl Twin<'_> {
    /// Opens the copy; cuts its power in the middle of the open, if it was
    /// settled, or right after; and opens it again. That must come to what the
    /// original comes to.
    pub fn reopen(self) -> Result<Contents, String> {
        let Twin { disk, draw, .. } = &self;
        disk.disarm_crash();
        disk.disarm_fails();
        disk.limit_space(None);
        disk.short_io(Ratio::default());
        let open = |attempt: u64| {
            let host = Host {
                fs: wrap(disk.boot(), self.bug),
                env: Arc::new(SimEnv::new(*draw, &format!("twin {attempt}"))),
            };
            Store::open(host, self.dir, self.options.clone())
        };
        let mut first = open(1);
        let steps = match self.settled {
            true => draw % STEPS_MAX,
            false => u64::MAX,
        };
        for _ in 0..steps {
            if let Some(result) = first.step() {
                let _store = result.map_err(|e| format!("first open: {e}"))?;
                break;
            }
        }
        drop(first);
        disk.power_cut(&Fates::Random(*draw));
        let (store, _) = open(2).run().map_err(|e| format!("second open: {e}"))?;
        Contents::read(&store).map_err(|e| format!("second open: {e}"))
    }
}
