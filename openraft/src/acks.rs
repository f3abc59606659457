//! Tells callers that what they handed over is durable: one thread waits for
//! the tickets in their order and calls the callbacks, so no task has to block.
//! Where the caller does all the work, it also calls them.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use afterimage_engine::store::Ticket;
use afterimage_engine::threads::Threads;
use afterimage_engine::{Error, Result};
use openraft::alias::OneshotSenderOf;
use openraft::async_runtime::OneshotSender;
use openraft::storage::IOFlushed;
use openraft::type_config::TypeConfigExt;

use crate::config::Config;
use crate::error::to_io;
use crate::hands::Hands;

/// Handed over but not durable yet, in bytes: more has to wait. Well below
/// what [`Threads::append`] blocks at, so that it never does.
const IN_FLIGHT_BYTES_MAX: usize = 16 << 20;

pub(crate) struct Acks<C: Config> {
    queue: Queue<C>,
    room: Arc<Mutex<Room<C>>>,
    thread: Option<JoinHandle<()>>,
}

enum Queue<C: Config> {
    ToThread(Sender<Ack<C>>),
    /// Until [`Acks::answer_to`].
    Here(Mutex<VecDeque<Ack<C>>>),
    /// It is being dropped.
    Closed,
}

struct Ack<C: Config> {
    ticket: Ticket,
    bytes: usize,
    done: IOFlushed<C>,
}

struct Room<C: Config> {
    in_flight_bytes: usize,
    /// The log has one writer, so at most one waits.
    waiting: Option<OneshotSenderOf<C, ()>>,
}

impl<C: Config> Room<C> {
    fn new() -> Self {
        Room {
            in_flight_bytes: 0,
            waiting: None,
        }
    }
}

impl<C: Config> Acks<C> {
    /// Fails if the system gives no thread.
    pub fn start(hands: Arc<Hands>) -> io::Result<Self> {
        let (queue, acks) = channel();
        let room = Arc::new(Mutex::new(Room::new()));
        let shared = room.clone();
        let thread = std::thread::Builder::new()
            .name("afterimage-acks".into())
            .spawn(move || match &*hands {
                Hands::Threads(threads) => answer(threads, &acks, &shared),
                Hands::Caller(_) => unreachable!("it calls back itself"),
            })?;
        Ok(Acks {
            queue: Queue::ToThread(queue),
            room,
            thread: Some(thread),
        })
    }

    /// Answered by [`Acks::answer_to`].
    pub fn of_caller() -> Self {
        Acks {
            queue: Queue::Here(Mutex::default()),
            room: Arc::new(Mutex::new(Room::new())),
            thread: None,
        }
    }

    /// This much is durable, or nothing more ever will be.
    pub fn answer_to(&self, persisted: Result<Ticket, Error>) {
        let Queue::Here(queue) = &self.queue else {
            return;
        };
        loop {
            let next = lock(queue).pop_front_if(|ack| match &persisted {
                Ok(persisted) => ack.ticket <= *persisted,
                Err(_) => true,
            });
            let Some(ack) = next else {
                return;
            };
            done(ack, persisted.clone().map(drop), &self.room);
        }
    }

    /// Waits, without blocking, while too much is on its way.
    pub async fn room(&self) {
        loop {
            let freed = {
                let mut room = lock(&self.room);
                if room.in_flight_bytes <= IN_FLIGHT_BYTES_MAX {
                    return;
                }
                let (sender, freed) = C::oneshot();
                room.waiting = Some(sender);
                freed
            };
            // An error says that the thread is gone, as after a panic; then the
            // append that follows fails.
            if freed.await.is_err() {
                return;
            }
        }
    }

    /// Calls `done` once this ticket's batch is durable, or will never be.
    /// Tickets must come in their order.
    pub fn push(&self, ticket: Ticket, bytes: usize, done: IOFlushed<C>) {
        lock(&self.room).in_flight_bytes += bytes;
        let ack = Ack {
            ticket,
            bytes,
            done,
        };
        match &self.queue {
            Queue::ToThread(queue) => {
                if let Err(unsent) = queue.send(ack) {
                    // Only a panic of a callback ends the thread early.
                    let gone = io::Error::other("the thread that calls back has ended");
                    unsent.0.done.io_completed(Err(gone));
                }
            }
            Queue::Here(queue) => lock(queue).push_back(ack),
            Queue::Closed => unreachable!("open until it is dropped"),
        }
    }

    /// As [`Acks::push`], and waits.
    pub async fn wait(&self, ticket: Ticket) -> io::Result<()> {
        let (done, result) = C::oneshot();
        self.push(ticket, 0, IOFlushed::signal(done));
        result
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the thread that calls back has ended")))
    }
}

/// Ends once everything handed over was answered.
impl<C: Config> Drop for Acks<C> {
    fn drop(&mut self) {
        self.queue = Queue::Closed;
        if let Some(thread) = self.thread.take() {
            // A panic was reported by the thread itself; here nobody can be told.
            thread.join().ok();
        }
    }
}

impl<C: Config> fmt::Debug for Acks<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acks").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No user code runs under the lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer<C: Config>(threads: &Threads, acks: &Receiver<Ack<C>>, room: &Mutex<Room<C>>) {
    for ack in acks {
        let result = threads.wait(ack.ticket);
        done(ack, result, room);
    }
}

fn done<C: Config>(ack: Ack<C>, result: Result<()>, room: &Mutex<Room<C>>) {
    let waiting = {
        let mut room = lock(room);
        room.in_flight_bytes -= ack.bytes;
        match room.in_flight_bytes <= IN_FLIGHT_BYTES_MAX {
            true => room.waiting.take(),
            false => None,
        }
    };
    if let Some(waiting) = waiting {
        // Whoever waited may have given up.
        waiting.send(()).ok();
    }
    ack.done.io_completed(result.map_err(to_io));
}
