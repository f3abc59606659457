//! OpenRaft's runtime on madsim: tasks and time are simulated, channels are
//! tokio's, which need neither.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use openraft::OptionalSend;
use openraft::async_runtime::{AsyncRuntime, Instant};
use openraft_rt_tokio::{TokioMpsc, TokioMutex, TokioOneshot, TokioWatch};

#[derive(Debug)]
pub struct MadRuntime;

/// Simulated time since the run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MadInstant(Duration);

impl Instant for MadInstant {
    fn now() -> Self {
        MadInstant(madsim::time::TimeHandle::current().elapsed())
    }
    fn elapsed(&self) -> Duration {
        Self::now() - *self
    }
}
impl std::ops::Add<Duration> for MadInstant {
    type Output = Self;
    fn add(self, other: Duration) -> Self {
        MadInstant(self.0 + other)
    }
}
impl std::ops::AddAssign<Duration> for MadInstant {
    fn add_assign(&mut self, other: Duration) {
        self.0 += other;
    }
}
impl std::ops::Sub<Duration> for MadInstant {
    type Output = Self;
    fn sub(self, other: Duration) -> Self {
        MadInstant(self.0.saturating_sub(other))
    }
}
impl std::ops::SubAssign<Duration> for MadInstant {
    fn sub_assign(&mut self, other: Duration) {
        self.0 = self.0.saturating_sub(other);
    }
}
impl std::ops::Sub for MadInstant {
    type Output = Duration;
    fn sub(self, other: Self) -> Duration {
        self.0.saturating_sub(other.0)
    }
}

/// A future, until some time has passed.
pub struct Timeout<T> {
    future: Pin<Box<T>>,
    sleep: Pin<Box<madsim::time::Sleep>>,
}

/// The time is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

impl std::fmt::Display for Elapsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the time is up")
    }
}

impl<T: Future> Future for Timeout<T> {
    type Output = Result<T::Output, Elapsed>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = self.future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        self.sleep.as_mut().poll(cx).map(|()| Err(Elapsed))
    }
}

/// The run's own randomness.
#[derive(Debug)]
pub struct MadRng;

impl rand::TryRng for MadRng {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(madsim::rand::random())
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(madsim::rand::random())
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for byte in out {
            *byte = madsim::rand::random();
        }
        Ok(())
    }
}

fn after(duration: Duration) -> madsim::time::Sleep {
    madsim::time::sleep(duration)
}

impl AsyncRuntime for MadRuntime {
    type JoinError = madsim::task::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = madsim::task::JoinHandle<T>;
    type Sleep = madsim::time::Sleep;
    type Instant = MadInstant;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = MadRng;
    type Mpsc = TokioMpsc;
    type Watch = TokioWatch;
    type Oneshot = TokioOneshot;
    type Mutex<T: OptionalSend + 'static> = TokioMutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        madsim::task::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        after(duration)
    }

    fn sleep_until(deadline: MadInstant) -> Self::Sleep {
        after(deadline - MadInstant::now())
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Timeout<F> {
        Timeout {
            future: Box::pin(future),
            sleep: Box::pin(after(duration)),
        }
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: MadInstant,
        future: F,
    ) -> Timeout<F> {
        Self::timeout(deadline - MadInstant::now(), future)
    }

    fn is_panic(error: &Self::JoinError) -> bool {
        error.is_panic()
    }

    fn thread_rng() -> MadRng {
        MadRng
    }

    fn new(_threads: usize) -> Self {
        unreachable!("the world has made the runtime")
    }

    fn block_on<F: Future<Output = T>, T>(&mut self, _future: F) -> T {
        unreachable!("the world has made the runtime")
    }

    /// At once: a simulated disk takes no time by itself.
    fn spawn_blocking<F, T>(f: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        std::future::ready(Ok(f()))
    }
}
