//! One member's process: a madsim task that owns the engine's node and does
//! what the dispatcher hands it, one command at a time. Killing the madsim node
//! drops the task with all that it holds, as killing a process would.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

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

/// The dispatcher's line to one process.
pub(super) struct Mailbox<S> {
    inner: Mutex<Inner<S>>,
}

struct Inner<S> {
    command: Option<Command<S>>,
    outcome: Option<Outcome>,
    process: Option<Waker>,
    dispatcher: Option<Waker>,
}

impl<S> Mailbox<S> {
    pub fn new() -> Arc<Self> {
        Arc::new(Mailbox {
            inner: Mutex::new(Inner {
                command: None,
                outcome: None,
                process: None,
                dispatcher: None,
            }),
        })
    }

    /// One thread runs all of it, so that nobody ever waits here.
    fn lock(&self) -> MutexGuard<'_, Inner<S>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over a command and waits for what it came to.
    pub async fn call(&self, command: Command<S>) -> Outcome {
        {
            let mut inner = self.lock();
            assert!(inner.command.is_none(), "one command at a time");
            inner.command = Some(command);
            if let Some(waker) = inner.process.take() {
                waker.wake();
            }
        }
        poll_fn(|cx| {
            let mut inner = self.lock();
            match inner.outcome.take() {
                Some(outcome) => Poll::Ready(outcome),
                None => {
                    inner.dispatcher = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    async fn next(&self) -> Command<S> {
        poll_fn(|cx| {
            let mut inner = self.lock();
            match inner.command.take() {
                Some(command) => Poll::Ready(command),
                None => {
                    inner.process = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn reply(&self, outcome: Outcome) {
        let mut inner = self.lock();
        inner.outcome = Some(outcome);
        if let Some(waker) = inner.dispatcher.take() {
            waker.wake();
        }
    }
}

type Opening<S> = Job<Result<(Node<S>, Report), Error>>;

enum Process<S> {
    Off,
    Opening(Opening<S>),
    Up(Box<Node<S>>),
}

/// The process's main loop.
pub(super) async fn process<S: Subject>(mailbox: Arc<Mailbox<S>>) {
    let mut process = Process::Off;
    loop {
        let command = mailbox.next().await;
        let done = catch_unwind(AssertUnwindSafe(|| process.carry_out(command)));
        mailbox.reply(done.unwrap_or_else(|panic| Outcome {
            panic: Some(panics::text(&*panic)),
            ..Outcome::default()
        }));
    }
}

impl<S: Subject> Process<S> {
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
