//! Stories: steps that wait until a member has done something, so that a plan
//! written by hand tells the same tale whatever the latencies are.

use afterimage_engine::NodeId;

use super::nemesis::End;
use super::{Happening, Subject, World};
use crate::plan::{Action, Deed};
use crate::trace::What;

/// How far a plan's steps have got into the queue.
#[derive(Debug, Default)]
pub(super) struct Story {
    /// How long its steps have waited so far: the later ones come so much later.
    waited_us: u64,
    awaited: Option<Awaited>,
}

#[derive(Debug)]
struct Awaited {
    /// The step that waits.
    at: usize,
    node: NodeId,
    until: Deed,
    /// So many times more.
    left: u64,
    since_us: u64,
}

impl<S: Subject> World<S> {
    /// Puts steps into the queue: from this one on, up to the next that waits.
    pub(super) fn schedule(&mut self, from: usize) {
        for (at, step) in self.plan.steps.iter().enumerate().skip(from) {
            let time_us = step.at_ms * 1000 + self.story.waited_us;
            self.queue
                .push(time_us.max(self.now_us), Happening::Step(at));
            if matches!(step.action, Action::Await { .. }) {
                return;
            }
        }
    }

    /// The step `at` begins to wait, unless there is nothing to wait for.
    pub(super) fn begin_await(&mut self, at: usize, node: Option<NodeId>) -> String {
        let Action::Await {
            until,
            nth,
            within_ms,
            ..
        } = self.plan.steps[at].action
        else {
            unreachable!("the step waits");
        };
        let Some(node) = node else {
            self.schedule(at + 1);
            return "skip: no such target now".to_owned();
        };
        let member = self.member(node);
        let holds = match until {
            Deed::Leads => member.leads(),
            Deed::Up => member.is_up(),
            _ => false,
        };
        if holds && nth == 1 {
            self.schedule(at + 1);
            return format!("n{node}: so it is");
        }
        self.story.awaited = Some(Awaited {
            at,
            node,
            until,
            left: nth,
            since_us: self.now_us,
        });
        let step = self.plan.steps[at].id;
        self.end_in(within_ms, End::Await { step });
        format!("n{node}: awaited")
    }

    /// Whether the record is what a step waits for.
    pub(super) fn watch_deed(&mut self, node: Option<NodeId>, what: &What) {
        let Some(awaited) = &mut self.story.awaited else {
            return;
        };
        if node != Some(awaited.node) || !awaited.until.is(what) {
            return;
        }
        awaited.left -= 1;
        if awaited.left == 0 {
            self.go_on();
        }
    }

    /// The step has waited long enough: what was awaited has not come.
    pub(super) fn end_await(&mut self, step: u32) {
        let Some(awaited) = &self.story.awaited else {
            return;
        };
        if self.plan.steps[awaited.at].id == step {
            let note = format!("skip: n{} did not", awaited.node);
            self.record(None, What::Step { id: step, note });
            self.go_on();
        }
    }

    fn go_on(&mut self) {
        let Some(awaited) = self.story.awaited.take() else {
            return;
        };
        self.story.waited_us += self.now_us - awaited.since_us;
        self.schedule(awaited.at + 1);
    }
}
