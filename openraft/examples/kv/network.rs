//! OpenRaft's side of the network: each call is a request to another node.

use std::future::Future;
use std::io;
use std::time::Duration;

use afterimage_openraft::SnapshotData;
use openraft::alias::{SnapshotOf, VoteOf};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::network::v2::RaftNetworkV2;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{BasicNode, OptionalSend, RaftNetworkFactory};

use crate::Types;
use crate::wire::{Line, Reply, Request};

#[derive(Clone)]
pub struct Network;

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, _: u64, node: &BasicNode) -> Peer {
        Peer(Line::to(&node.addr))
    }
}

/// Another node.
pub struct Peer(Line);

fn unreachable(error: io::Error) -> Unreachable<Types> {
    Unreachable::new(&error)
}

fn unexpected(reply: &Reply) -> io::Error {
    io::Error::other(format!("an unexpected reply: {reply:?}"))
}

impl Peer {
    async fn call(
        &mut self,
        request: Request,
        within: Duration,
    ) -> Result<Reply, Unreachable<Types>> {
        let reply = self.0.call(&request, within).await.map_err(unreachable)?;
        match reply {
            Reply::Failed(why) => Err(unreachable(io::Error::other(why))),
            reply => Ok(reply),
        }
    }

    async fn send_snapshot(
        &mut self,
        vote: VoteOf<Types>,
        snapshot: SnapshotOf<Types, SnapshotData>,
        within: Duration,
    ) -> Result<SnapshotResponse<Types>, Unreachable<Types>> {
        self.call(Request::Snapshot(snapshot.meta), within).await?;
        let mut offset = 0;
        loop {
            let piece = snapshot.snapshot.read::<Types>(offset).await;
            let piece = piece.map_err(unreachable)?;
            if piece.is_empty() {
                break;
            }
            offset += piece.len() as u64;
            self.call(Request::Piece(piece), within).await?;
        }
        match self.call(Request::Install(vote), within).await? {
            Reply::Install(response) => Ok(response),
            other => Err(unreachable(unexpected(&other))),
        }
    }
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        match self.call(Request::Append(rpc), option.hard_ttl()).await? {
            Reply::Append(response) => Ok(response),
            other => Err(unreachable(unexpected(&other)).into()),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.call(Request::Vote(rpc), option.hard_ttl()).await? {
            Reply::Vote(response) => Ok(response),
            other => Err(unreachable(unexpected(&other)).into()),
        }
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.call(Request::PreVote(rpc), option.hard_ttl()).await? {
            Reply::Vote(response) => Ok(response),
            other => Err(unreachable(unexpected(&other)).into()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<Types>,
        snapshot: SnapshotOf<Types, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            sent = self.send_snapshot(vote, snapshot, option.hard_ttl()) => Ok(sent?),
            closed = cancel => Err(closed.into()),
        }
    }
}
