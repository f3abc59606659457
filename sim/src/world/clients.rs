//! The clients: each has one operation outstanding, retries it at another
//! member until it is answered, and never gives up on it, so that a command is
//! applied once, if ever (its session's sequence number sees to that).

use afterimage_engine::NodeId;
use afterimage_engine::node::{Request, RequestKind};

use crate::plan::Workload;
use crate::rng::{SimRng, hash};
use crate::trace::Operation;

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
