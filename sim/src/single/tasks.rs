//! Who takes the next step: what a step of the plan began, and what goes on in the
//! background beside it.

use afterimage_engine::Step;

use super::up::Task;
use super::{STEPS_MAX, Single};
use crate::disk::is_excused;
use crate::trace::What;

impl Single {
    /// Runs a task to its end, or lets it run beside what comes.
    pub(super) fn go(&mut self, task: Task, background: bool) {
        match (background, &mut self.up) {
            (true, Some(up)) => {
                up.background.insert(task);
            }
            _ => self.finish(task),
        }
    }

    /// Runs a task until it has nothing more to do, or waits for space, or the
    /// store is down; what is in the background takes turns with it.
    pub(super) fn finish(&mut self, task: Task) {
        for _ in 0..STEPS_MAX {
            match self.step(task) {
                Some(Step::Ran) => self.step_background(Some(task)),
                Some(Step::Idle | Step::Stalled) | None => return,
            };
        }
        self.recorder.panicked(format!("{task:?} never ends"));
    }

    /// Runs what is in the background until it has nothing more to do.
    pub(super) fn wait(&mut self) {
        for _ in 0..STEPS_MAX {
            if !self.step_background(None) {
                return;
            }
        }
        self.recorder.panicked("the background never ends".into());
    }

    /// One step of each task in the background; whether any of them did something.
    fn step_background(&mut self, except: Option<Task>) -> bool {
        let Some(up) = &self.up else { return false };
        let mut ran = false;
        for task in up.background.clone() {
            if Some(task) == except {
                continue;
            }
            match self.step(task) {
                Some(Step::Ran) => ran = true,
                // It came to its end, and others may have work of that.
                Some(Step::Idle) if !self.is_in_background(task) => ran = true,
                // It would only try, fail and leave garbage, over and over.
                Some(Step::Stalled) => self.up.iter_mut().for_each(|up| {
                    up.background.remove(&task);
                }),
                _ => {}
            }
        }
        ran
    }

    fn is_in_background(&self, task: Task) -> bool {
        let up = self.up.as_ref();
        up.is_some_and(|up| up.background.contains(&task))
    }

    /// One step of a task; `None`: the store is down.
    pub(super) fn step(&mut self, task: Task) -> Option<Step> {
        let result = self.up.as_mut()?.step(task);
        self.take_records();
        self.expect_read();
        if self.power_went() || self.killed() {
            return None;
        }
        let error = match result {
            Err(error) if self.ends_reader(&error) => return Some(Step::Idle),
            Ok(step) => {
                self.expect_done(task, step);
                return Some(step);
            }
            Err(error) => error,
        };
        self.expect_to_wait(task, &error);
        let poisoned = self.up.as_ref().is_some_and(|up| up.store.is_poisoned());
        if poisoned || !is_excused(&error) {
            self.died(&error);
            return None;
        }
        // A fault that spoilt a file on which nothing rests yet. Not again and again.
        self.up.iter_mut().for_each(|up| {
            up.background.remove(&task);
        });
        let id = self.current;
        self.gave_up = true;
        let note = format!("gave up: {error}");
        self.record(What::Step { id, note });
        Some(Step::Idle)
    }
}
