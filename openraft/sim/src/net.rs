//! The network: requests and answers that take their time, come twice, come
//! too late or not at all.
//!
//! What is on its way belongs to nobody: it arrives also when its sender has died
//! or waits no longer.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use afterimage_engine::raft::{Body, Message};
use afterimage_engine::{Entry, EntryKind, Index, Membership, NodeId, SnapshotMeta, Term};
use afterimage_openraft::{LogId, SnapshotData, SnapshotStore, StateMachine};
use afterimage_sim::rng::SimRng;
use afterimage_sim::trace::What;
use madsim::runtime::NodeHandle;
use openraft::alias::{EntryOf, SnapshotOf, VoteOf};
use openraft::async_runtime::OneshotSender;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::TypeConfigExt;
use openraft::{AnyError, BasicNode, OptionalSend, Raft};

use crate::books::{Books, Witness};
use crate::machine::{Kv, Types, position};

pub type Node = Raft<Types, StateMachine<Types, Kv>>;

/// A member that is up, as others reach it.
#[derive(Clone)]
pub struct Peer {
    pub raft: Node,
    pub snapshots: SnapshotStore<Types>,
    pub kv: Kv,
    pub witness: Witness,
    /// OpenRaft said that it has applied what it had applied in an earlier life.
    pub recovered: Arc<AtomicBool>,
}

/// What this run's network does, besides partitions.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Of a thousand messages.
    pub lost: u64,
    pub doubled: u64,
    pub late: u64,
}

impl Weather {
    pub const FAIR: Weather = Weather {
        lost: 0,
        doubled: 0,
        late: 0,
    };
}

/// Shared by all.
#[derive(Clone)]
pub struct Net {
    state: Arc<Mutex<State>>,
    books: Books,
    /// Where messages travel.
    air: NodeHandle,
}

struct State {
    rng: SimRng,
    up: BTreeMap<NodeId, Peer>,
    /// Nothing gets through from the one to the other.
    cut: BTreeSet<(NodeId, NodeId)>,
    weather: Weather,
}

impl Net {
    pub fn new(seed: u64, books: Books, air: NodeHandle) -> Self {
        let state = State {
            rng: SimRng::new(seed, "openraft/net"),
            up: BTreeMap::new(),
            cut: BTreeSet::new(),
            weather: Weather::FAIR,
        };
        Net {
            state: Arc::new(Mutex::new(state)),
            books,
            air,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn register(&self, id: NodeId, peer: Peer) {
        self.state().up.insert(id, peer);
    }

    pub fn forget(&self, id: NodeId) {
        // Dropped outside of the lock.
        let gone = self.state().up.remove(&id);
        drop(gone);
    }

    pub fn peer(&self, id: NodeId) -> Option<Peer> {
        self.state().up.get(&id).cloned()
    }

    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.state().cut.insert((from, to));
    }

    pub fn mend(&self) {
        self.state().cut.clear();
    }

    pub fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// One way; whether it arrives.
    async fn travel(&self, from: NodeId, to: NodeId, kind: &'static str) -> bool {
        let (delay, lost, late) = {
            let mut state = self.state();
            let Weather { lost, late, .. } = state.weather;
            let lost = state.rng.below(1000) < lost;
            let late = state.rng.below(1000) < late;
            let delay_us = match late {
                true => state.rng.between(20_000, 1_500_000),
                false => state.rng.between(300, 4000),
            };
            (Duration::from_micros(delay_us), lost, late)
        };
        madsim::time::sleep(delay).await;
        let cut = self.state().cut.contains(&(from, to));
        let why = match (lost, cut) {
            (true, _) => "loss",
            (_, true) => "partition",
            _ => {
                if late {
                    self.books.fault("net-late");
                }
                return true;
            }
        };
        self.dropped(from, to, kind, why);
        false
    }

    fn dropped(&self, from: NodeId, to: NodeId, kind: &'static str, why: &'static str) {
        match why {
            "loss" => self.books.fault("net-loss"),
            "partition" => self.books.fault("partition"),
            _ => {}
        }
        self.books.record(
            Some(from),
            What::Dropped {
                from,
                to,
                kind,
                why,
            },
        );
    }

    /// How often the next message arrives.
    fn copies(&self) -> usize {
        let mut state = self.state();
        let doubled = state.weather.doubled;
        let twice = state.rng.below(1000) < doubled;
        drop(state);
        if twice {
            self.books.fault("net-doubled");
        }
        1 + usize::from(twice)
    }
}

/// From one member to another.
#[derive(Clone)]
pub struct Link {
    pub net: Net,
    pub witness: Witness,
    pub from: NodeId,
    pub to: NodeId,
}

impl RaftNetworkFactory<Types> for Link {
    type Network = Link;

    async fn new_client(&mut self, target: u64, _node: &BasicNode) -> Link {
        Link {
            to: NodeId(target),
            ..self.clone()
        }
    }
}

fn no_answer() -> Unreachable<Types> {
    Unreachable::new(&AnyError::error("no answer"))
}

/// What a message does where it arrives: its answer, and how the trace says it.
type Handled<T> = Pin<Box<dyn Future<Output = Option<(T, Message)>> + Send>>;
type Handler<T> = Box<dyn FnOnce(Peer) -> Handled<T> + Send>;

impl Link {
    /// There and back. Whoever gets no answer waits until its patience ends.
    async fn call<T: Send + 'static>(
        &self,
        option: &RPCOption,
        message: Message,
        copies: Vec<Handler<T>>,
    ) -> Result<T, Unreachable<Types>> {
        let kind = message.body.name();
        self.witness.say(What::Sent(message));
        let (sender, answer) = Types::oneshot();
        let first = Arc::new(Mutex::new(Some(sender)));
        for handle in copies {
            let (link, first) = (self.clone(), first.clone());
            self.net.air.spawn(async move {
                let Some(answer) = link.there_and_back(kind, handle).await else {
                    return;
                };
                let sender = first.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(sender) = sender {
                    // Whoever asked may have died.
                    sender.send(answer).ok();
                }
            });
        }
        drop(first);
        // Nobody tells the sender that a message was lost.
        let patience = madsim::time::timeout(option.hard_ttl(), async {
            match answer.await {
                Ok(answer) => answer,
                Err(_) => std::future::pending().await,
            }
        });
        patience.await.map_err(|_| no_answer())
    }

    async fn there_and_back<T>(&self, kind: &'static str, handle: Handler<T>) -> Option<T> {
        let Link { net, from, to, .. } = self;
        if !net.travel(*from, *to, kind).await {
            return None;
        }
        let Some(peer) = net.peer(*to) else {
            net.dropped(*from, *to, kind, "down");
            return None;
        };
        let witness = peer.witness.clone();
        let (answer, message) = handle(peer).await?;
        if !witness.is_alive() {
            return None;
        }
        let kind = message.body.name();
        witness.say(What::Sent(message));
        net.travel(*to, *from, kind).await.then_some(answer)
    }

    fn message(&self, term: u64, body: Body) -> Message {
        Message {
            from: self.from,
            to: self.to,
            term: Term(term),
            body,
        }
    }

    fn answer(&self, term: u64, body: Body) -> Message {
        Message {
            from: self.to,
            to: self.from,
            term: Term(term),
            body,
        }
    }
}

/// Where a log ends that may be empty.
fn end(id: Option<&LogId>) -> (Index, Term) {
    id.map(position).unwrap_or_default()
}

/// As the trace shows it: without its data.
fn bare(entry: &EntryOf<Types>) -> Entry {
    let (index, term) = position(&entry.log_id);
    Entry {
        index,
        term,
        kind: EntryKind::Command,
        timestamp_ms: 0,
        data: (*b"").into(),
    }
}

async fn append(
    link: Link,
    peer: Peer,
    rpc: AppendEntriesRequest<Types>,
) -> Option<(AppendEntriesResponse<Types>, Message)> {
    let term = rpc.vote.leader_id.term;
    let (prev_index, _) = end(rpc.prev_log_id.as_ref());
    let all = rpc.entries.last().map(|entry| entry.log_id);
    let (all, _) = end(all.or(rpc.prev_log_id).as_ref());
    let answer = peer.raft.append_entries(rpc).await.ok()?;
    let accepted = |match_index| Body::AppendAccepted { match_index };
    let rejected = Body::AppendRejected {
        prev_index,
        hint_index: prev_index,
        hint_term: Term(0),
    };
    let message = match &answer {
        AppendEntriesResponse::Success => link.answer(term, accepted(all)),
        AppendEntriesResponse::PartialSuccess(upto) => {
            link.answer(term, accepted(end(upto.as_ref()).0))
        }
        AppendEntriesResponse::Conflict => link.answer(term, rejected),
        AppendEntriesResponse::HigherVote(vote) => link.answer(vote.leader_id.term, rejected),
    };
    Some((answer, message))
}

async fn vote(
    link: Link,
    peer: Peer,
    rpc: VoteRequest<Types>,
) -> Option<(VoteResponse<Types>, Message)> {
    let answer = peer.raft.vote(rpc).await.ok()?;
    let granted = answer.vote_granted;
    let message = link.answer(answer.vote.leader_id.term, Body::VoteReply { granted });
    Some((answer, message))
}

async fn install(
    link: Link,
    peer: Peer,
    vote: VoteOf<Types>,
    snapshot: SnapshotOf<Types, SnapshotData>,
) -> Option<(SnapshotResponse<Types>, Message)> {
    let mut arriving = peer.snapshots.receive(&snapshot.meta).await.ok()?;
    let mut offset = 0;
    loop {
        let piece = snapshot.snapshot.read::<Types>(offset).await.ok()?;
        if piece.is_empty() {
            break;
        }
        offset += piece.len() as u64;
        arriving.push::<Types>(piece).await.ok()?;
        madsim::time::sleep(Duration::from_millis(2)).await;
    }
    let meta = snapshot.meta;
    let (last_index, _) = end(meta.last_log_id.as_ref());
    let snapshot = openraft::Snapshot {
        meta,
        snapshot: arriving,
    };
    let answer = peer.raft.install_full_snapshot(vote, snapshot).await.ok()?;
    peer.witness.books().count("snapshots-transferred");
    let term = answer.vote.leader_id.term;
    let message = link.answer(term, Body::SnapshotWanted { last_index, offset });
    Some((answer, message))
}

impl RaftNetworkV2<Types> for Link {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let (prev_index, prev_term) = end(rpc.prev_log_id.as_ref());
        let body = Body::Append {
            prev_index,
            prev_term,
            commit: end(rpc.leader_commit.as_ref()).0,
            entries: rpc.entries.iter().map(bare).collect(),
        };
        let message = self.message(rpc.vote.leader_id.term, body);
        let copy = || -> Handler<_> {
            let (link, rpc) = (self.clone(), rpc.clone());
            Box::new(move |peer| Box::pin(append(link, peer, rpc)))
        };
        let copies = (0..self.net.copies()).map(|_| copy()).collect();
        Ok(self.call(&option, message, copies).await?)
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let (last_index, last_term) = end(rpc.last_log_id.as_ref());
        let body = Body::Vote {
            last_index,
            last_term,
            handover: rpc.leadership_transfer,
        };
        let message = self.message(rpc.vote.leader_id.term, body);
        let copy = || -> Handler<_> {
            let (link, rpc) = (self.clone(), rpc.clone());
            Box::new(move |peer| Box::pin(vote(link, peer, rpc)))
        };
        let copies = (0..self.net.copies()).map(|_| copy()).collect();
        Ok(self.call(&option, message, copies).await?)
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<Types>,
        snapshot: SnapshotOf<Types, SnapshotData>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let (last_index, last_term) = end(snapshot.meta.last_log_id.as_ref());
        let body = Body::Snapshot {
            meta: SnapshotMeta {
                last_index,
                last_term,
                membership: Membership::default(),
            },
            offset: 0,
            data: Vec::new(),
            done: true,
        };
        let message = self.message(vote.leader_id.term, body);
        let link = self.clone();
        let handler: Handler<_> =
            Box::new(move |peer| Box::pin(install(link, peer, vote, snapshot)));
        Ok(self.call(&option, message, vec![handler]).await?)
    }
}
