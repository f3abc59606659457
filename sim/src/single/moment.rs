//! The moments of a run at which a crash could come: where an exploration begins.

use super::Single;
use crate::check::Judges;
use crate::disk::{Capture, SimFs};
use crate::plan::Plan;
use crate::report::RunReport;
use crate::run::RunOptions;

/// The disk before a mutating operation, and what was promised by then.
pub(crate) struct Moment {
    /// 0 for the open with which a plan begins that does not say so; then the
    /// plan's steps from 1 on.
    pub step: usize,
    /// `None`: the end of the plan.
    pub capture: Option<Capture>,
    pub disk: SimFs,
    pub judges: Judges,
}

/// Carries out a plan and returns each moment at which a crash could come.
pub(crate) fn moments(plan: &Plan, options: &RunOptions) -> (Vec<Moment>, RunReport) {
    let mut single = Single::new(plan, options);
    single.disk.capture(true);
    single.moments = Some(Vec::new());
    single.carry_out_all();
    single.disk.take_captures();
    let mut moments = single.moments.take().unwrap_or_default();
    moments.push(Moment {
        step: plan.steps.len(),
        capture: None,
        disk: single.disk.fork(),
        judges: single.recorder.judges().clone(),
    });
    (moments, single.report())
}

impl Single {
    pub(super) fn take_moments(&mut self) {
        let Some(moments) = &mut self.moments else {
            return;
        };
        for capture in self.disk.take_captures() {
            moments.push(Moment {
                step: self.at,
                disk: capture.disk.clone(),
                capture: Some(capture),
                judges: self.recorder.judges().clone(),
            });
        }
    }
}
