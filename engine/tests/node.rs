//! A small cluster on real disks, one thread, messages delivered in order.
//! What a network or a power cut may do to it is the simulator's business.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use afterimage_engine::fs::OsFs;
use afterimage_engine::mutant::Mutants;
use afterimage_engine::node::{
    Input, Node, NodeConfig, Output, Reply, Request, RequestKind, StateMachine, Task,
};
use afterimage_engine::raft::{Change, LogView, Message, Refused};
use afterimage_engine::store::{Options, SnapshotSource};
use afterimage_engine::{Env, Event, Host, Index, Membership, NodeId, Step};

/// Its state tells the order of the commands, and whether one applied twice.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
struct Chain {
    links: Vec<u8>,
}

impl Chain {
    fn hash(&self) -> Vec<u8> {
        let hash = self.links.iter().fold(17u64, |hash, &link| {
            hash.wrapping_mul(31).wrapping_add(u64::from(link))
        });
        [hash, self.links.len() as u64]
            .map(u64::to_le_bytes)
            .concat()
    }
}

impl StateMachine for Chain {
    fn apply(&mut self, _: Index, command: &[u8]) -> Vec<u8> {
        self.links.extend_from_slice(command);
        self.hash()
    }
    fn query(&self, _: &[u8]) -> Vec<u8> {
        self.hash()
    }
    fn snapshot(&self) -> Box<dyn SnapshotSource> {
        Box::new(Frozen(self.links.clone().into()))
    }
    fn reset(&mut self) {
        self.links.clear();
    }
    fn restore(&mut self, piece: &[u8]) {
        self.links.extend_from_slice(piece);
    }
    fn restored(&mut self) -> Result<(), String> {
        Ok(())
    }
}

struct Frozen(VecDeque<u8>);

impl SnapshotSource for Frozen {
    fn read(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        let len = max.min(self.0.len());
        out.extend(self.0.drain(..len));
        !self.0.is_empty()
    }
}

#[derive(Debug)]
struct TestEnv {
    random: AtomicU64,
    events: Mutex<Vec<Event>>,
}

impl Env for TestEnv {
    fn now_ms(&self) -> i64 {
        0
    }
    fn random(&self) -> u64 {
        let z = self
            .random
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn observe(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }
}

struct Cluster {
    dir: tempfile::TempDir,
    members: Vec<NodeId>,
    /// The voters at the very beginning.
    founders: Vec<NodeId>,
    nodes: BTreeMap<NodeId, Node<Chain>>,
    envs: BTreeMap<NodeId, Arc<TestEnv>>,
    network: VecDeque<Message>,
    cut_off: BTreeSet<NodeId>,
    replies: BTreeMap<(u64, u64), Vec<Reply>>,
}

impl Cluster {
    fn new(members: u64) -> Self {
        Cluster::with_spares(members, 0)
    }

    /// With `spares` more nodes that may join.
    fn with_spares(founders: u64, spares: u64) -> Self {
        let mut cluster = Cluster {
            dir: tempfile::tempdir().unwrap(),
            members: (1..=founders + spares).map(NodeId).collect(),
            founders: (1..=founders).map(NodeId).collect(),
            nodes: BTreeMap::new(),
            envs: BTreeMap::new(),
            network: VecDeque::new(),
            cut_off: BTreeSet::new(),
            replies: BTreeMap::new(),
        };
        cluster.open_all();
        cluster
    }

    fn open_all(&mut self) {
        for id in self.members.clone() {
            let env = Arc::new(TestEnv {
                random: AtomicU64::new(id.0),
                events: Mutex::default(),
            });
            let host = Host {
                fs: Arc::new(OsFs),
                env: env.clone(),
            };
            let config = NodeConfig {
                id,
                membership: if self.founders.contains(&id) {
                    Membership {
                        voters: self.founders.clone(),
                        learners: Vec::new(),
                    }
                } else {
                    Membership::default()
                },
                store: Options {
                    segment_bytes: 4096,
                    cache_bytes: 1024,
                    chunk_bytes: 256,
                    ..Options::default()
                },
                election_ticks: 10,
                heartbeat_ticks: 2,
                append_bytes_max: 4096,
                inflight_max: 4,
                snapshot_every: 50,
                mutants: Mutants::NONE,
            };
            let dir: PathBuf = self.dir.path().join(format!("n{id}"));
            let (node, _) = Node::open(host, &dir, config, Chain::default())
                .run()
                .unwrap();
            self.nodes.insert(id, node);
            self.envs.insert(id, env);
        }
    }

    /// Everybody's process ends; the disks stay.
    fn restart_all(&mut self) {
        self.nodes.clear();
        self.network.clear();
        self.open_all();
    }

    fn is_cut(&self, message: &Message) -> bool {
        self.cut_off.contains(&message.from) || self.cut_off.contains(&message.to)
    }

    /// One tick for everybody, and all that follows from it.
    fn round(&mut self) {
        for id in self.members.clone() {
            self.node(id).handle(Input::Tick).unwrap();
        }
        for _ in 0..100_000 {
            let mut quiet = true;
            for id in self.members.clone() {
                for task in Task::ALL {
                    if self.node(id).has_work(task) {
                        quiet &= self.node(id).step(task).unwrap() != Step::Ran;
                    }
                }
                self.take_outputs(id);
            }
            if let Some(message) = self.network.pop_front() {
                quiet = false;
                if !self.is_cut(&message) {
                    let to = message.to;
                    self.node(to).handle(Input::Message(message)).unwrap();
                    self.take_outputs(to);
                }
            }
            if quiet {
                return;
            }
        }
        panic!("the cluster never comes to rest");
    }

    fn node(&mut self, id: NodeId) -> &mut Node<Chain> {
        self.nodes.get_mut(&id).unwrap()
    }

    fn take_outputs(&mut self, id: NodeId) {
        for output in self.node(id).outputs() {
            match output {
                Output::Send(message) => self.network.push_back(message),
                Output::Reply {
                    client,
                    sequence,
                    reply,
                } => self
                    .replies
                    .entry((client, sequence))
                    .or_default()
                    .push(reply),
            }
        }
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&Cluster) -> bool) {
        for _ in 0..1000 {
            if done(self) {
                return;
            }
            self.round();
        }
        panic!("never: {what}");
    }

    fn leader(&self) -> Option<NodeId> {
        let reachable = self
            .nodes
            .iter()
            .filter(|(id, _)| !self.cut_off.contains(id));
        let leaders = reachable.filter(|(_, node)| node.is_leader());
        leaders
            .max_by_key(|(_, node)| node.term())
            .map(|(&id, _)| id)
    }

    /// Makes the change at the leader, and waits until it is committed there.
    fn change(&mut self, change: Change) {
        self.until("a leader", |cluster| cluster.leader().is_some());
        let leader = self.leader().unwrap();
        for _ in 0..100 {
            let answer = self.node(leader).change_membership(change).unwrap();
            if let Ok((index, _)) = answer {
                self.until("the change is committed", |cluster| {
                    cluster.nodes[&leader].commit_index() >= index
                });
                return;
            }
            assert!(
                matches!(
                    answer,
                    Err(Refused::NotCaughtUp(_) | Refused::CommitUnknown)
                ),
                "{answer:?}"
            );
            self.round();
        }
        panic!("never made: {change:?}");
    }

    /// Sends the request to the leader, again and again, until it is done.
    fn call(&mut self, client: u64, sequence: u64, kind: RequestKind, body: &[u8]) -> Vec<u8> {
        for _ in 0..100 {
            self.until("a leader", |cluster| cluster.leader().is_some());
            let leader = self.leader().unwrap();
            self.replies.remove(&(client, sequence));
            let request = Request {
                client,
                sequence,
                kind,
                body: body.to_vec(),
            };
            self.node(leader).handle(Input::Request(request)).unwrap();
            self.take_outputs(leader);
            self.until("an answer", |cluster| {
                cluster.replies.contains_key(&(client, sequence))
            });
            let mut replies = self.replies.remove(&(client, sequence)).unwrap();
            assert_eq!(replies.len(), 1, "one request, one answer");
            if let Some(Reply::Done(answer)) = replies.pop() {
                return answer;
            }
        }
        panic!("the request is never done");
    }

    fn command(&mut self, client: u64, sequence: u64, body: &[u8]) -> Vec<u8> {
        self.call(client, sequence, RequestKind::Command, body)
    }

    fn query(&mut self) -> Vec<u8> {
        self.call(u64::MAX, 1, RequestKind::Query, b"")
    }

    /// Every member comes to this state.
    fn check(&mut self, links: &[u8]) {
        self.until("all members agree", |cluster| {
            let states = cluster.nodes.values();
            states
                .map(|node| &node.machine().links[..])
                .all(|state| state == links)
        });
    }

    fn restored(&self, id: NodeId) -> usize {
        let events = self.envs[&id].events.lock().unwrap();
        let restored = |event: &&Event| matches!(event, Event::Restored { .. });
        events.iter().filter(restored).count()
    }
}

fn state(links: &[u8]) -> Vec<u8> {
    Chain {
        links: links.to_vec(),
    }
    .hash()
}

#[test]
fn a_member_alone_serves() {
    let mut cluster = Cluster::new(1);
    assert_eq!(cluster.command(1, 1, b"a"), state(b"a"));
    assert_eq!(cluster.query(), state(b"a"));
    cluster.restart_all();
    assert_eq!(cluster.command(1, 2, b"b"), state(b"ab"));
}

#[test]
fn all_members_apply_the_same_commands() {
    let mut cluster = Cluster::new(3);
    assert_eq!(cluster.query(), state(b""));
    let mut links = Vec::new();
    for n in 0..40 {
        links.push(n);
        assert_eq!(cluster.command(1, u64::from(n), &[n]), state(&links));
        assert_eq!(cluster.query(), state(&links));
    }
    cluster.check(&links);
}

#[test]
fn a_follower_refuses_and_names_the_leader() {
    let mut cluster = Cluster::new(3);
    cluster.command(1, 1, b"a");
    cluster.check(b"a");
    let leader = cluster.leader().unwrap();
    for follower in cluster.members.clone() {
        if follower == leader {
            continue;
        }
        for kind in [RequestKind::Command, RequestKind::Query] {
            let request = Request {
                client: 2,
                sequence: 1,
                kind,
                body: b"x".to_vec(),
            };
            cluster
                .node(follower)
                .handle(Input::Request(request))
                .unwrap();
            cluster.take_outputs(follower);
            let reply = cluster.replies.remove(&(2, 1));
            let leader = Some(leader);
            assert_eq!(reply, Some(vec![Reply::NotLeader { leader }]));
        }
    }
    cluster.check(b"a");
}

#[test]
fn a_retried_command_applies_once() {
    let mut cluster = Cluster::new(3);
    let first = cluster.command(1, 1, b"a");
    cluster.command(2, 1, b"b");
    assert_eq!(cluster.command(1, 1, b"a"), first);
    cluster.restart_all();
    assert_eq!(cluster.command(1, 1, b"a"), first);
    cluster.check(b"ab");
}

#[test]
fn a_restart_brings_back_snapshot_and_log() {
    let mut cluster = Cluster::new(3);
    let first = cluster.command(7, 1, &[0]);
    let links: Vec<u8> = (0..120).collect();
    for &n in &links[1..] {
        cluster.command(1, u64::from(n), &[n]);
    }
    cluster.check(&links);
    cluster.restart_all();
    for id in cluster.members.clone() {
        assert_eq!(cluster.restored(id), 1, "{id} had a snapshot");
    }
    assert_eq!(cluster.query(), state(&links));
    // Its entry is far below the snapshot's end: only the session knows.
    assert_eq!(cluster.command(7, 1, &[0]), first);
    cluster.check(&links);
}

#[test]
fn a_member_that_fell_behind_the_log_gets_the_snapshot() {
    let mut cluster = Cluster::new(3);
    cluster.command(1, 0, &[0]);
    cluster.check(&[0]);
    let leader = cluster.leader().unwrap();
    let members = cluster.members.clone();
    let behind = members.into_iter().find(|&id| id != leader).unwrap();
    cluster.cut_off.insert(behind);
    let mut links = vec![0, 1];
    let first = cluster.command(7, 1, &[1]);
    for n in 2..=200 {
        links.push(n);
        cluster.command(1, u64::from(n), &[n]);
    }
    let leader = cluster.leader().unwrap();
    let last = cluster.node(behind).store().last_index();
    assert!(cluster.node(leader).store().first_index() > last.next());
    assert_eq!(cluster.restored(behind), 0);
    cluster.cut_off.clear();
    cluster.check(&links);
    assert!(cluster.restored(behind) > 0);
    // It goes on like the others: it would apply this retry a second time had
    // the sessions not come with the snapshot.
    assert_eq!(cluster.command(7, 1, &[1]), first);
    links.push(201);
    cluster.command(2, 1, &[201]);
    cluster.check(&links);
    cluster.restart_all();
    assert_eq!(cluster.query(), state(&links));
    cluster.check(&links);
}

#[test]
fn a_deposed_leaders_clients_learn_that_it_does_not_know() {
    let mut cluster = Cluster::new(3);
    cluster.command(1, 1, b"a");
    let deposed = cluster.leader().unwrap();
    cluster.cut_off.insert(deposed);
    let request = Request {
        client: 2,
        sequence: 1,
        kind: RequestKind::Command,
        body: b"lost".to_vec(),
    };
    cluster
        .node(deposed)
        .handle(Input::Request(request))
        .unwrap();
    cluster.take_outputs(deposed);
    cluster.command(3, 1, b"b");
    assert!(!cluster.replies.contains_key(&(2, 1)), "nobody knows yet");
    cluster.cut_off.clear();
    cluster.until("the entry is replaced", |cluster| {
        cluster.replies.contains_key(&(2, 1))
    });
    assert_eq!(cluster.replies[&(2, 1)], [Reply::Unknown]);
    cluster.check(b"ab");
    assert_eq!(cluster.command(2, 1, b"lost"), state(b"ablost"));
}

#[test]
fn a_cluster_moves_to_other_nodes_one_by_one() {
    let mut cluster = Cluster::with_spares(1, 2);
    let mut links = Vec::new();
    // Past a snapshot, so that the new nodes get one.
    for n in 0..120 {
        links.push(n);
        cluster.command(1, u64::from(n), &[n]);
    }
    for id in [2, 3].map(NodeId) {
        cluster.change(Change::AddLearner(id));
        cluster.change(Change::Promote(id));
    }
    cluster.check(&links);
    for id in [2, 3].map(NodeId) {
        assert!(cluster.restored(id) > 0, "{id} began with a snapshot");
    }
    // Commands between the changes, and restarts that must find them.
    cluster.restart_all();
    links.push(200);
    cluster.command(1, 200, &[200]);
    cluster.check(&links);
    for id in cluster.members.clone() {
        assert_eq!(cluster.node(id).membership().voters, [1, 2, 3].map(NodeId));
    }
    cluster.until("a leader", |cluster| cluster.leader().is_some());
    let first = NodeId(1);
    if cluster.leader() != Some(first) {
        let leader = cluster.leader().unwrap();
        let answer = cluster.node(leader).transfer_leadership(first).unwrap();
        assert_eq!(answer, Ok(()));
        cluster.until("1 leads", |cluster| cluster.leader() == Some(first));
    }
    // It leads, removes itself, and another takes over.
    cluster.change(Change::Remove(first));
    assert!(!cluster.node(first).is_leader());
    cluster.cut_off.insert(first);
    links.push(201);
    assert_eq!(cluster.command(1, 201, &[201]), state(&links));
    assert_ne!(cluster.leader(), Some(first));
}

#[test]
fn a_command_during_a_handover_is_sent_to_the_target() {
    let mut cluster = Cluster::new(3);
    cluster.command(1, 1, b"a");
    cluster.check(b"a");
    let leader = cluster.leader().unwrap();
    let to = cluster.members.iter().copied().find(|&id| id != leader);
    let to = to.unwrap();
    cluster.cut_off.insert(to);
    let answer = cluster.node(leader).transfer_leadership(to).unwrap();
    assert_eq!(answer, Ok(()));
    let request = Request {
        client: 1,
        sequence: 2,
        kind: RequestKind::Command,
        body: b"b".to_vec(),
    };
    let node = cluster.node(leader);
    node.handle(Input::Request(request)).unwrap();
    cluster.take_outputs(leader);
    let refused = [Reply::NotLeader { leader: Some(to) }];
    assert_eq!(cluster.replies[&(1, 2)], refused);
    // The target is deaf: after an election timeout the leader goes on.
    for _ in 0..10 {
        cluster.round();
    }
    assert_eq!(cluster.leader(), Some(leader));
    assert_eq!(cluster.command(1, 2, b"b"), state(b"ab"));
}
