//! Opens of the store, and how its lives end.

use std::path::Path;

use afterimage_engine::store::Store;
use afterimage_engine::{Error, Host, Job};

use super::up::Up;
use super::{DIR, STEPS_MAX, Single, store_options};
use crate::disk::{Fates, Keep, OpRecord, Pattern, is_corruption, is_excused};
use crate::plan::{Action, StoreOp};
use crate::rng::hash;
use crate::run::Detail;
use crate::trace::{Contents, What};
use crate::twin::Twin;

/// A process is to be killed after a file operation.
pub(super) struct Doom {
    /// The plan's step.
    pub at: usize,
    pub pattern: Pattern,
    pub left: u64,
}

impl Doom {
    pub(super) fn count(&mut self, op: &OpRecord) {
        let name = op.to.as_ref().unwrap_or(&op.path);
        if self.left > 0 && op.kind.mutates() && self.pattern.matches(op.kind, name) {
            self.left -= 1;
        }
    }
}

impl Single {
    /// The first open, of an empty directory: always the same, so that the
    /// story begins behind it.
    pub(super) fn open_new(&mut self) {
        let mark = self.recorder.mark();
        self.recorder.say("open");
        self.open();
        if self.up.is_some() && self.options.trace != Some(Detail::Everything) {
            let last = self.last_op;
            self.recorder.shorten(
                mark,
                &format!("open                 a new store, .1 to .{last}"),
            );
        }
    }

    pub(super) fn open(&mut self) {
        self.incarnation += 1;
        self.refused = false;
        self.gave_up = false;
        let incarnation = self.incarnation;
        let bug = self.options.mutant.and_then(|m| m.fs_bug());
        let options = store_options(&self.plan, self.options.mutant);
        let twin = Twin {
            disk: self.disk.fork(),
            dir: Path::new(DIR),
            options: options.clone(),
            bug,
            settled: std::mem::take(&mut self.settled),
            draw: hash(&[self.plan.seed, incarnation, self.ops]),
        };
        let host = Host {
            fs: crate::mutants::wrap(self.disk.boot(), bug),
            env: self.env.clone(),
        };
        self.record(What::Boot { incarnation });
        let Some(opened) = self.run_job(Store::open(host, Path::new(DIR), options)) else {
            return;
        };
        let (store, hint) = match opened {
            Ok((store, report)) => (store, report.commit_hint),
            Err(e) => {
                self.record(What::OpenFailed {
                    error: e.to_string(),
                    excused: is_excused(&e),
                    corrupt: is_corruption(&e),
                });
                self.disk.kill();
                return;
            }
        };
        if hint > self.committed {
            let told = self.committed;
            self.recorder
                .panicked(format!("the commit hint is {hint}, it was told {told}"));
        }
        let contents = Contents::read(&store);
        self.take_records();
        match contents {
            Ok(contents) => {
                self.up = Some(Up::new(store, hint));
                let died = What::died_of(&contents);
                self.record(What::Up(contents));
                if let Some(died) = died {
                    self.close(died);
                    return;
                }
                let contents = twin.reopen();
                self.record(What::Reopened { contents });
            }
            Err(e) => self.died(&e),
        }
    }

    /// Runs a job to its end; `None` if the power went.
    fn run_job<T>(&mut self, mut job: Job<T>) -> Option<T> {
        for _ in 0..STEPS_MAX {
            let result = job.step();
            self.take_records();
            if self.disk.crash_fired() || self.doom.as_ref().is_some_and(|d| d.left == 0) {
                drop(job);
                assert!(self.power_went() || self.killed());
                return None;
            }
            if result.is_some() {
                return result;
            }
        }
        self.recorder.panicked("the open never ends".to_owned());
        None
    }

    pub(super) fn kill(&mut self) {
        self.up = None;
        self.disk.kill();
        self.record(What::Killed);
    }

    /// Whether the operation came after which the process is to die.
    pub(super) fn killed(&mut self) -> bool {
        if self.doom.take_if(|doom| doom.left == 0).is_none() {
            return false;
        }
        self.kill();
        true
    }

    pub(super) fn died(&mut self, error: &Error) {
        self.close(What::Died {
            error: error.to_string(),
            excused: is_excused(error),
            corrupt: is_corruption(error),
        });
    }

    pub(super) fn close(&mut self, why: What) {
        self.up = None;
        self.disk.kill();
        self.record(why);
    }

    /// Whether the armed power cut fired; then its fates are drawn.
    pub(super) fn power_went(&mut self) -> bool {
        if !self.disk.crash_fired() {
            return false;
        }
        let Some((at, _)) = self.armed.take() else {
            unreachable!("a crash fires only if it was armed");
        };
        let keep = match &self.plan.steps[at].action {
            Action::Store(StoreOp::Crash { keep, .. }) => keep.clone(),
            _ => None,
        };
        self.cut_power(at, keep);
        true
    }

    pub(super) fn cut_power(&mut self, at: usize, keep: Option<Keep>) {
        self.up = None;
        let id = u64::from(self.plan.steps[at].id);
        let fates = match keep {
            Some(keep) => Fates::Explicit(keep),
            None => Fates::Random(hash(&[self.plan.seed, id])),
        };
        let report = self.disk.power_cut(&fates);
        if let Action::Store(StoreOp::Crash { keep, .. } | StoreOp::Cut { keep }) =
            &mut self.plan.steps[at].action
        {
            *keep = Some(report.keep.clone());
        }
        self.settled = true;
        self.record(What::PowerCut(report));
    }
}
