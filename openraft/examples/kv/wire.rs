//! What goes over a connection: one line of JSON there, one back.

use std::io;
use std::time::Duration;

use openraft::alias::{SnapshotMetaOf, VoteOf};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::Types;
use crate::machine::{Map, Put};

#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub enum Request {
    // --- between nodes
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    PreVote(VoteRequest<Types>),
    /// A snapshot begins; its pieces follow, then its end, on this connection.
    Snapshot(SnapshotMetaOf<Types>),
    Piece(Vec<u8>),
    Install(VoteOf<Types>),
    // --- from clients
    /// Make these addresses a cluster.
    Initialize,
    Put(Put),
    /// All there is, as new as any write that was acknowledged before.
    Read,
    /// All that this node has applied, however old, and up to where.
    Peek,
    Status,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum Reply {
    Append(AppendEntriesResponse<Types>),
    Vote(VoteResponse<Types>),
    Install(SnapshotResponse<Types>),
    Done,
    Map {
        map: Map,
        applied: u64,
    },
    Status {
        leader: Option<u64>,
    },
    /// It was not done, or nobody knows.
    Failed(String),
}

/// A connection, made when it is needed and made again after a failure.
pub struct Line {
    address: String,
    stream: Option<BufReader<TcpStream>>,
}

impl Line {
    pub fn to(address: &str) -> Self {
        Line {
            address: address.to_owned(),
            stream: None,
        }
    }

    /// One request and its reply. After an error it may have been done or not.
    pub async fn call(&mut self, request: &Request, within: Duration) -> io::Result<Reply> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(&self.address).await?;
                stream.set_nodelay(true)?;
                BufReader::new(stream)
            }
        };
        let called = tokio::time::timeout(within, async {
            send(&mut stream, request).await?;
            let reply = receive(&mut stream).await?;
            reply.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
        });
        let reply = called
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        // Only now: a reply that comes late must not answer another request.
        self.stream = Some(stream);
        Ok(reply)
    }
}

pub async fn send<T: Serialize>(stream: &mut BufReader<TcpStream>, value: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.get_mut().write_all(&line).await
}

/// `None`: the other side has hung up.
pub async fn receive<T: DeserializeOwned>(
    stream: &mut BufReader<TcpStream>,
) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    match stream.read_until(b'\n', &mut line).await? {
        0 => Ok(None),
        _ => Ok(Some(serde_json::from_slice(&line)?)),
    }
}
