//! Clients: puts and gets, one at a time each, at whoever they believe to lead.

use std::sync::atomic::Ordering;
use std::time::Duration;

use afterimage_engine::NodeId;
use afterimage_engine::node::Reply;
use afterimage_sim::kv::encode;
use afterimage_sim::rng::{SimRng, hash};
use afterimage_sim::trace::{Operation, What};
use openraft::ReadPolicy;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};

use crate::books::Books;
use crate::machine::Put;
use crate::net::{Net, Peer};
use crate::world::{KEYS, MEMBERS};

/// When a leader is asked for reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Reads {
    /// When `wait_for_recovery` has returned since it started
    Recovered,
    /// At once, as `ensure_linearizable` alone seems to allow
    AtOnce,
}

const PATIENCE: Duration = Duration::from_secs(1);

pub struct Client {
    net: Net,
    books: Books,
    reads: Reads,
    rng: SimRng,
    number: u64,
    sequence: u64,
    target: NodeId,
}

impl Client {
    pub fn new(seed: u64, number: u64, net: Net, books: Books, reads: Reads) -> Self {
        Client {
            net,
            books,
            reads,
            rng: SimRng::new(hash(&[seed, number]), "openraft/client"),
            number,
            sequence: 0,
            target: NodeId(1),
        }
    }

    pub async fn run(mut self) {
        loop {
            let pause = Duration::from_millis(self.rng.between(5, 80));
            madsim::time::sleep(pause).await;
            let key = self.rng.below(KEYS) as u32;
            match self.rng.below(2) {
                0 => self.get(key).await,
                _ => self.put(key).await,
            };
        }
    }

    /// A get that is asked until it is answered, at most so often.
    pub async fn get(&mut self, key: u32) -> bool {
        let operation = Operation::Get { key };
        let (kind, request) = encode(&operation, 0);
        self.invoke(kind, operation);
        for _ in 0..3 {
            if let Some(peer) = self.peer().await
                && let Some(answer) = self.read(&peer, &request).await
            {
                self.done(answer);
                return true;
            }
            self.elsewhere();
        }
        false
    }

    /// A put that is asked for again only where it surely had no effect.
    pub async fn put(&mut self, key: u32) -> bool {
        let value = (self.number + 1) * 1_000_000 + self.sequence;
        let operation = Operation::Put { key, value };
        let padding = self.rng.below(300) as usize;
        let (kind, command) = encode(&operation, padding);
        let mut asked = false;
        for _ in 0..3 {
            let Some(peer) = self.peer().await else {
                self.elsewhere();
                continue;
            };
            if !asked {
                self.invoke(kind, operation.clone());
                asked = true;
            }
            let write = peer.raft.client_write(Put(command.clone()));
            match madsim::time::timeout(PATIENCE, write).await {
                Ok(Ok(written)) => {
                    self.done(written.data);
                    return true;
                }
                // Refused before it was appended.
                Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to)))) => {
                    self.elsewhere();
                    if let Some(leader) = to.leader_id {
                        self.target = NodeId(leader);
                    }
                }
                // Whether it takes effect nobody knows.
                _ => {
                    self.elsewhere();
                    return false;
                }
            }
        }
        false
    }

    /// Who is asked next; after the way there.
    async fn peer(&mut self) -> Option<Peer> {
        let way = Duration::from_micros(self.rng.between(300, 3000));
        madsim::time::sleep(way).await;
        self.net.peer(self.target)
    }

    fn elsewhere(&mut self) {
        let known = self.net.peer(self.target).and_then(|peer| {
            let metrics = peer.raft.metrics();
            let leader = metrics.borrow_watched().current_leader;
            leader.map(NodeId)
        });
        self.target = match known {
            Some(leader) if leader != self.target => leader,
            _ => NodeId(1 + self.rng.below(MEMBERS)),
        };
    }

    async fn read(&self, peer: &Peer, request: &[u8]) -> Option<Vec<u8>> {
        if self.reads == Reads::Recovered && !peer.recovered.load(Ordering::Relaxed) {
            return None;
        }
        let confirmed = peer.raft.ensure_linearizable(ReadPolicy::ReadIndex);
        match madsim::time::timeout(PATIENCE, confirmed).await {
            Ok(Ok(_)) => Some(peer.kv.query(request)),
            _ => None,
        }
    }

    fn invoke(&mut self, kind: afterimage_engine::node::RequestKind, operation: Operation) {
        self.sequence += 1;
        let what = What::Invoke {
            client: self.number,
            sequence: self.sequence,
            kind,
            operation,
        };
        self.books.record(None, what);
    }

    fn done(&self, answer: Vec<u8>) {
        let what = What::Reply {
            client: self.number,
            sequence: self.sequence,
            reply: Reply::Done(answer),
        };
        self.books.record(None, what);
    }
}
