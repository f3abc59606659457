//! Work that can be stopped between any two file operations.
//!
//! Every protocol of the engine (append, roll, save, install, recover, clean)
//! is written as straight-line code, in the order in which its file operations
//! must happen. After each operation it gives up its turn with [`turn`]; a
//! [`Job`] resumes it once per [`Job::step`]. No runtime is involved: a
//! production thread calls [`Job::run`], the simulator calls `step` and lets
//! messages, latency and power cuts happen in between.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A piece of work that advances by at most one file operation a step.
pub struct Job<T> {
    work: Pin<Box<dyn Future<Output = T> + Send>>,
}

impl<T> Job<T> {
    /// Wraps work that calls [`turn`] after each of its file operations and
    /// awaits nothing else.
    pub fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self {
            work: Box::pin(work),
        }
    }

    /// Does at most one file operation. `Some` when the work is finished;
    /// must not be called again after that.
    pub fn step(&mut self) -> Option<T> {
        match self
            .work
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    /// Does all of it on this thread.
    pub fn run(mut self) -> T {
        loop {
            if let Some(value) = self.step() {
                return value;
            }
        }
    }
}

impl<T> fmt::Debug for Job<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Job")
    }
}

/// Does all of some work on this thread, as [`Job::run`] does.
pub(crate) fn now<T>(work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        let turn = work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(value) = turn {
            return value;
        }
    }
}

/// Ends this step of the job; what follows belongs to the next.
pub async fn turn() {
    let mut given_up = false;
    std::future::poll_fn(|_| {
        if given_up {
            Poll::Ready(())
        } else {
            given_up = true;
            Poll::Pending
        }
    })
    .await;
}

/// What one step of a long-lived task (writer, cleaner, preparer, ...) came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It did something; call again.
    Ran,
    /// There is nothing to do until somebody gives it work.
    Idle,
    /// It waits for space on the disk; call again later.
    Stalled,
}
