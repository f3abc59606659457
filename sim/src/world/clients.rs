//! The clients: each has one operation outstanding, retries it at another
//! member until it is answered, and never gives up on it, so that a command is
//! applied once, if ever (its session's sequence number sees to that).

use afterimage_engine::NodeId;
use afterimage_engine::node::{Input, Reply, Request, RequestKind};

use super::{Happening, Subject, World};
use crate::plan::Workload;
use crate::rng::{SimRng, hash};
use crate::trace::{Operation, What};

/// Between a client and a member, one way.
pub(super) const CLIENT_LATENCY_US: u64 = 300;

#[derive(Debug)]
pub(super) enum ClientEvent {
    Invoke,
    Try,
    Arrive {
        node: NodeId,
        sequence: u64,
        attempt: u64,
    },
    Timeout {
        sequence: u64,
        attempt: u64,
    },
    Reply {
        node: NodeId,
        sequence: u64,
        reply: Reply,
    },
}

#[derive(Debug)]
pub(super) struct Client {
    pub id: u64,
    pub sequence: u64,
    /// The operation that waits for its answer.
    pub outstanding: Option<Outstanding>,
    /// Where the last answer came from, or who is said to lead.
    pub leader: Option<NodeId>,
    /// Never writes.
    only_reads: bool,
    rng: SimRng,
    puts: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Outstanding {
    pub kind: RequestKind,
    pub body: Vec<u8>,
    /// Counts the tries; an answer or a timeout of an older one is stale.
    pub attempt: u64,
}

impl Client {
    pub fn new(seed: u64, id: u64, only_reads: bool) -> Self {
        Client {
            id,
            sequence: 0,
            outstanding: None,
            leader: None,
            only_reads,
            rng: SimRng::new(hash(&[seed, id]), "client"),
            puts: 0,
        }
    }

    /// Draws the next operation, and how many bytes of padding a put carries.
    pub fn draw(&mut self, workload: &Workload) -> (Operation, usize) {
        let key = self.rng.below(u64::from(workload.keys.max(1))) as u32;
        if self.only_reads || self.rng.chance(workload.reads) {
            return (Operation::Get { key }, 0);
        }
        let padding = self.rng.between(0, u64::from(workload.value_bytes_max));
        (self.put(key), padding as usize)
    }

    /// A put of a value that nobody else writes in this run.
    pub fn put(&mut self, key: u32) -> Operation {
        self.puts += 1;
        Operation::Put {
            key,
            value: (self.id << 32) | self.puts,
        }
    }

    pub fn think_us(&mut self, workload: &Workload) -> u64 {
        self.rng.between(0, workload.think_ms_max * 1000)
    }

    /// Whom to ask: the one who is said to lead, or anybody.
    pub fn target(&mut self, machines: u64) -> NodeId {
        match self.leader {
            Some(id) if id.0 >= 1 && id.0 <= machines => id,
            _ => NodeId(1 + self.rng.below(machines)),
        }
    }

    pub fn request(&self) -> Option<Request> {
        let outstanding = self.outstanding.as_ref()?;
        Some(Request {
            client: self.id,
            sequence: self.sequence,
            kind: outstanding.kind,
            body: outstanding.body.clone(),
        })
    }
}

impl<S: Subject> World<S> {
    pub(super) fn client(&mut self, at: usize, event: ClientEvent) {
        match event {
            ClientEvent::Invoke => {
                if !self.is_healed() {
                    let (operation, padding) = self.clients[at].draw(&self.plan.workload);
                    self.invoke(at, operation, padding);
                }
            }
            ClientEvent::Try => self.attempt(at),
            ClientEvent::Arrive {
                node,
                sequence,
                attempt,
            } => {
                let client = &self.clients[at];
                let current = client.outstanding.as_ref().map(|o| o.attempt);
                if client.sequence != sequence || current != Some(attempt) {
                    return;
                }
                let Some(request) = client.request() else {
                    return;
                };
                if self.member(node).is_up() {
                    self.handle(node, Input::Request(request));
                }
            }
            ClientEvent::Timeout { sequence, attempt } => {
                // A member whose disk went bad stays down: that a client's luck
                // leads it there again and again says nothing of the cluster.
                let known = self.leader().filter(|_| self.is_healed());
                let client = &mut self.clients[at];
                let current = client.outstanding.as_ref().map(|o| o.attempt);
                if client.sequence == sequence && current == Some(attempt) {
                    client.leader = known;
                    self.attempt(at);
                }
            }
            ClientEvent::Reply {
                node,
                sequence,
                reply,
            } => self.replied(at, node, sequence, reply),
        }
    }

    pub(super) fn invoke(&mut self, at: usize, operation: Operation, padding: usize) {
        let (kind, body) = S::request(&operation, padding);
        let client = &mut self.clients[at];
        client.sequence += 1;
        client.outstanding = Some(Outstanding {
            kind,
            body,
            attempt: 0,
        });
        let invoke = What::Invoke {
            client: client.id,
            sequence: client.sequence,
            kind,
            operation,
        };
        self.record(None, invoke);
        self.attempt(at);
    }

    /// Sends the outstanding operation (again).
    fn attempt(&mut self, at: usize) {
        let machines = self.machines();
        let client = &mut self.clients[at];
        let node = client.target(machines);
        let sequence = client.sequence;
        let Some(outstanding) = &mut client.outstanding else {
            return;
        };
        outstanding.attempt += 1;
        let attempt = outstanding.attempt;
        let arrive = ClientEvent::Arrive {
            node,
            sequence,
            attempt,
        };
        let timeout = ClientEvent::Timeout { sequence, attempt };
        let timeout_us = self.plan.workload.timeout_ms.max(1) * 1000;
        for (delay, event) in [(CLIENT_LATENCY_US, arrive), (timeout_us, timeout)] {
            let happening = Happening::Client { at, event };
            self.queue.push(self.now_us + delay, happening);
        }
    }

    fn replied(&mut self, at: usize, node: NodeId, sequence: u64, reply: Reply) {
        let client = &mut self.clients[at];
        if client.sequence != sequence || client.outstanding.is_none() {
            return; // an answer to an earlier try
        }
        let (delay, event) = match &reply {
            Reply::Done(_) => {
                client.outstanding = None;
                client.leader = Some(node);
                (client.think_us(&self.plan.workload), ClientEvent::Invoke)
            }
            Reply::NotLeader { leader } => {
                client.leader = *leader;
                (20_000, ClientEvent::Try)
            }
            Reply::Unknown => (10_000, ClientEvent::Try),
        };
        if let Reply::Done(_) = reply {
            let done = What::Reply {
                client: client.id,
                sequence,
                reply,
            };
            self.record(None, done);
        }
        let happening = Happening::Client { at, event };
        self.queue.push(self.now_us + delay, happening);
    }
}
