//! One member's process: it owns the engine's node and does what the dispatcher
//! hands it, one command at a time. To drop it is to kill it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use afterimage_engine::node::{Input, Node, NodeConfig, Output, Task};
use afterimage_engine::raft::{Change, Refused};
use afterimage_engine::store::Report;
use afterimage_engine::{Error, Host, Index, Job, NodeId, Step, Term};

use super::Subject;
use crate::panics;
use crate::trace::Contents;

/// Where a node keeps its files.
pub(super) const DIR: &str = "/raft";

pub(super) enum Command<S> {
    /// Begin to open the store.
    Boot {
        host: Host,
        config: NodeConfig,
        machine: S,
    },
    /// One step of the open.
    BootStep,
    Handle(Input),
    Step(Task),
    /// Change the membership.
    Change(Change),
    /// Hand over the leadership.
    Transfer(NodeId),
    /// Read everything back.
    Inspect,
    /// Tell the state machine's digest.
    Status,
}

/// What one command came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub error: Option<Error>,
    pub panic: Option<String>,
    pub outputs: Vec<Output>,
    pub stalled: bool,
    pub contents: Option<Contents>,
    /// To an operator: where in the log a change is.
    pub answer: Option<Result<Option<(Index, Term)>, Refused>>,
    /// `None` until the node is up.
    pub status: Option<Status>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Status {
    pub work: [bool; Task::ALL.len()],
    pub leader: bool,
    pub term: Term,
    pub commit: Index,
    pub applied: Index,
    pub state: u64,
}

type Opening<S> = Job<Result<(Node<S>, Report), Error>>;

pub(super) enum Process<S> {
    Off,
    Opening(Opening<S>),
    Up(Box<Node<S>>),
}

impl<S: Subject> Process<S> {
    /// Carries out a command. A panic of it is told, and ends nothing else.
    pub fn call(&mut self, command: Command<S>) -> Outcome {
        let done = catch_unwind(AssertUnwindSafe(|| self.carry_out(command)));
        done.unwrap_or_else(|panic| Outcome {
            panic: Some(panics::text(&*panic)),
            ..Outcome::default()
        })
    }

    fn carry_out(&mut self, command: Command<S>) -> Outcome {
        let mut outcome = Outcome::default();
        let mut state = 0;
        let result = match (command, &mut *self) {
            (
                Command::Boot {
                    host,
                    config,
                    machine,
                },
                _,
            ) => {
                let job = Node::open(host, Path::new(DIR), config, machine);
                *self = Process::Opening(job);
                Ok(())
            }
            (Command::BootStep, Process::Opening(job)) => match job.step() {
                None => Ok(()),
                Some(Ok((node, _report))) => {
                    *self = Process::Up(Box::new(node));
                    Ok(())
                }
                Some(Err(e)) => Err(e),
            },
            (Command::Handle(input), Process::Up(node)) => node.handle(input),
            (Command::Step(task), Process::Up(node)) => node.step(task).map(|step| {
                outcome.stalled = step == Step::Stalled;
            }),
            (Command::Change(change), Process::Up(node)) => node
                .change_membership(change)
                .map(|answer| outcome.answer = Some(answer.map(Some))),
            (Command::Transfer(to), Process::Up(node)) => node
                .transfer_leadership(to)
                .map(|answer| outcome.answer = Some(answer.map(|()| None))),
            (Command::Inspect, Process::Up(node)) => {
                Contents::read(node.store()).map(|contents| outcome.contents = Some(contents))
            }
            (Command::Status, Process::Up(node)) => {
                state = node.machine().digest();
                Ok(())
            }
            _ => unreachable!("the dispatcher knows what each process is doing"),
        };
        outcome.error = result.err();
        if let Process::Up(node) = self {
            outcome.outputs = node.outputs();
            outcome.status = Some(Status {
                work: Task::ALL.map(|task| node.has_work(task)),
                leader: node.is_leader(),
                term: node.term(),
                commit: node.commit_index(),
                applied: node.applied_index(),
                state,
            });
        }
        outcome
    }
}
