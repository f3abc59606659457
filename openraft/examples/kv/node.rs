//! One node: OpenRaft on Afterimage's log and snapshots, and a TCP server.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use afterimage_engine::Host;
use afterimage_engine::fs::OsFs;
use afterimage_engine::store::Options;
use afterimage_engine::threads::SystemEnv;
use afterimage_openraft::{LogStore, SnapshotData, SnapshotStore, StateMachine};
use openraft::alias::SnapshotMetaOf;
use openraft::async_runtime::WatchReceiver;
use openraft::{BasicNode, Config, Raft, ReadPolicy, Snapshot, SnapshotPolicy};
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};

use crate::Types;
use crate::machine::Kv;
use crate::network::Network;
use crate::wire::{Reply, Request, receive, send};

/// How long a read waits for the state that its node had before it was killed.
const RECOVERY_MAX: Duration = Duration::from_secs(5);

type Machine = StateMachine<Types, Kv>;

/// What each connection needs.
#[derive(Clone)]
struct Node {
    raft: Raft<Types, Machine>,
    kv: Kv,
    snapshots: SnapshotStore<Types>,
    members: BTreeMap<u64, BasicNode>,
}

/// Runs until it is killed. `addresses`: of node 1, node 2 and so on.
pub fn run(id: u64, dir: &Path, addresses: &str) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let members = (1..)
        .zip(addresses.split(',').map(BasicNode::new))
        .collect();
    runtime.block_on(serve(id, dir, members))
}

async fn serve(
    id: u64,
    dir: &Path,
    members: BTreeMap<u64, BasicNode>,
) -> Result<(), Box<dyn Error>> {
    let address = &members.get(&id).ok_or("this node has no address")?.addr;
    let listener = TcpListener::bind(address).await?;
    let host = || -> io::Result<Host> {
        Ok(Host {
            fs: Arc::new(OsFs),
            env: Arc::new(SystemEnv::unobserved()?),
        })
    };
    // Small ones, so that a short demonstration rolls, saves and purges.
    let options = Options {
        segment_bytes: 256 << 10,
        commit_hint_every: 50,
        ..Options::default()
    };
    std::fs::create_dir_all(dir)?;
    let log = LogStore::<Types>::open(host()?, &dir.join("log"), options.clone())?;
    let kv = Kv::default();
    let machine = Machine::open(host()?, &dir.join("snapshot"), options, kv.clone())?;
    let snapshots = machine.snapshots().clone();
    let config = Config {
        heartbeat_interval: 100,
        election_timeout_min: 400,
        election_timeout_max: 800,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(500),
        max_in_snapshot_log_to_keep: 100,
        // See the README of the crate: a log id would name two entries.
        enable_leader_restore: Some(false),
        ..Config::default()
    };
    let config = Arc::new(config.validate()?);
    let raft = Raft::new(id, config, Network, log, machine).await?;
    let node = Node {
        raft,
        kv,
        snapshots,
        members,
    };
    loop {
        let (stream, _) = listener.accept().await?;
        let node = node.clone();
        tokio::spawn(async move {
            // Whoever was connected has gone, or will connect again.
            if let Err(error) = node.talk(BufReader::new(stream)).await {
                eprintln!("node {id}: a connection failed: {error}");
            }
        });
    }
}

/// A snapshot that comes in on a connection.
type Arriving = Option<(SnapshotMetaOf<Types>, SnapshotData)>;

impl Node {
    async fn talk(&self, mut stream: BufReader<TcpStream>) -> io::Result<()> {
        stream.get_mut().set_nodelay(true)?;
        let mut arriving = None;
        while let Some(request) = receive(&mut stream).await? {
            let reply = self.answer(request, &mut arriving).await;
            let reply = reply.unwrap_or_else(|error| Reply::Failed(error.to_string()));
            send(&mut stream, &reply).await?;
        }
        Ok(())
    }

    async fn answer(
        &self,
        request: Request,
        arriving: &mut Arriving,
    ) -> Result<Reply, Box<dyn Error + Send + Sync>> {
        Ok(match request {
            Request::Append(rpc) => Reply::Append(self.raft.append_entries(rpc).await?),
            Request::Vote(rpc) => Reply::Vote(self.raft.vote(rpc).await?),
            Request::PreVote(rpc) => Reply::Vote(self.raft.pre_vote(rpc).await?),
            Request::Snapshot(meta) => {
                let data = self.snapshots.receive(&meta).await?;
                *arriving = Some((meta, data));
                Reply::Done
            }
            Request::Piece(piece) => {
                let (_, data) = arriving.as_mut().ok_or("a piece of no snapshot")?;
                data.push::<Types>(piece).await?;
                Reply::Done
            }
            Request::Install(vote) => {
                let (meta, snapshot) = arriving.take().ok_or("the end of no snapshot")?;
                let snapshot = Snapshot { meta, snapshot };
                Reply::Install(self.raft.install_full_snapshot(vote, snapshot).await?)
            }
            Request::Initialize => {
                self.raft.initialize(self.members.clone()).await?;
                Reply::Done
            }
            // Committed and applied when it returns: durable on two of three.
            Request::Put(put) => {
                self.raft.client_write(put).await?;
                Reply::Done
            }
            Request::Read => {
                // After a restart the leader may be one again without a new term: it
                // knows at first only of what the commit hint says is committed.
                self.raft.wait_for_recovery(Some(RECOVERY_MAX)).await?;
                self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await?;
                self.peek()
            }
            Request::Peek => self.peek(),
            Request::Status => Reply::Status {
                leader: self.raft.current_leader().await,
            },
        })
    }

    fn peek(&self) -> Reply {
        let metrics = self.raft.metrics();
        let applied = metrics
            .borrow_watched()
            .last_applied
            .map_or(0, |id| id.index);
        Reply::Map {
            map: self.kv.read(),
            applied,
        }
    }
}
