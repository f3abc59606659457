//! Three members, clients, and what befalls them, all from one seed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use afterimage_engine::store::Options;
use afterimage_engine::{Host, NodeId, Term};
use afterimage_openraft::{LogStore, StateMachine};
use afterimage_sim::disk::{Fates, Profile, SimFs};
use afterimage_sim::mutants::{self, MutantInfo};
use afterimage_sim::rng::{SimRng, hash};
use afterimage_sim::trace::What;
use madsim::runtime::{Handle, Runtime};
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;

use crate::books::{Books, Report, SimEnv, Witness};
use crate::client::{Client, Reads};
use crate::log::{Bug, Log};
use crate::machine::{Kv, Types};
use crate::nemesis::Nemesis;
use crate::net::{Link, Net, Peer, Weather};

pub const MEMBERS: u64 = 3;
pub const KEYS: u64 = 8;
const CLIENTS: u64 = 4;
/// With faults.
const STORM: Duration = Duration::from_secs(20);
/// After them: how long the members may take to agree.
const CALM: Duration = Duration::from_secs(30);

/// What is run.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub seed: u64,
    pub trace: bool,
    pub reads: Reads,
    /// OpenRaft's `enable_leader_restore`: who led before a restart leads on.
    pub restore: bool,
    /// Judged by what clients saw alone.
    pub from_outside: bool,
    pub plant: Plant,
}

/// A bug, on purpose.
#[derive(Debug, Clone, Copy)]
pub enum Plant {
    Nothing,
    /// One of the simulator's catalogue.
    Engine(&'static MutantInfo),
    /// Between OpenRaft and the engine.
    Adapter(Bug),
}

impl Plant {
    pub fn by_name(name: &str) -> Option<Self> {
        let adapter = Bug::ALL.iter().find(|(known, _)| *known == name);
        match adapter {
            Some((_, bug)) => Some(Plant::Adapter(*bug)),
            None => mutants::find(name).map(Plant::Engine),
        }
    }
}

pub fn run(setup: Setup) -> Report {
    let seed = hash(&[setup.seed, 1]);
    let runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
    runtime.block_on(async move { World::new(setup).run().await })
}

pub struct Member {
    pub id: NodeId,
    pub disk: SimFs,
    process: madsim::task::NodeId,
    witness: Witness,
    /// It could not open its stores.
    failed: Arc<AtomicBool>,
    lives: u64,
}

pub struct World {
    setup: Setup,
    pub members: Vec<Member>,
    pub net: Net,
    pub books: Books,
    options: Options,
}

pub fn now() -> Duration {
    madsim::time::TimeHandle::current().elapsed()
}

impl World {
    fn new(setup: Setup) -> Self {
        let seed = setup.seed;
        let books = Books::new(setup.trace, setup.from_outside);
        let handle = Handle::current();
        let mut rng = SimRng::new(seed, "openraft/configuration");
        let profile = *rng.pick(&Profile::ALL);
        let direct = rng.below(4) == 0;
        let member = |n: u64| {
            let id = NodeId(n);
            let disk = SimFs::with_profile(hash(&[seed, n]), profile);
            disk.record_ops(true);
            disk.direct_io(direct);
            Member {
                id,
                process: handle.create_node().name(format!("n{n}")).build().id(),
                witness: Witness::new(books.clone(), id, disk.clone()),
                failed: Arc::default(),
                lives: 0,
                disk,
            }
        };
        let options = Options {
            segment_bytes: rng.between(2048, 16384),
            cache_bytes: *rng.pick(&[512, 4096, 1 << 20]),
            chunk_bytes: 512,
            commit_hint_every: *rng.pick(&[0, 1, 16]),
            mutants: match setup.plant {
                Plant::Engine(mutant) => mutant.engine(),
                _ => Options::default().mutants,
            },
            ..Options::default()
        };
        World {
            members: (1..=MEMBERS).map(member).collect(),
            net: Net::new(
                seed,
                books.clone(),
                handle.create_node().name("air").build(),
            ),
            books: books.clone(),
            setup,
            options,
        }
    }

    async fn run(mut self) -> Report {
        self.books
            .founded(self.members.iter().map(|member| member.id).collect());
        for at in 0..self.members.len() {
            self.boot(at);
        }
        let client = |n| {
            let Setup { seed, reads, .. } = self.setup;
            Client::new(seed, n, self.net.clone(), self.books.clone(), reads)
        };
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| madsim::task::spawn(client(n).run()))
            .collect();
        let mut last = client(CLIENTS);
        self.storm().await;
        for client in &clients {
            client.abort();
        }
        if !self.books.is_broken() {
            self.calm(&mut last).await;
        }
        for at in 0..self.members.len() {
            self.stop(at);
        }
        let report = self.books.clone().finish();
        // A runtime that is dropped while something runs leaks it.
        madsim::time::sleep(Duration::from_secs(60)).await;
        report
    }

    /// Starts a member that is down.
    pub fn boot(&mut self, at: usize) {
        let Setup {
            seed,
            plant,
            restore,
            ..
        } = self.setup;
        let member = &mut self.members[at];
        member.lives += 1;
        let handle = Handle::current();
        handle.restart(member.process);
        let process = handle
            .get_node(member.process)
            .expect("made with the world");
        let host_fs = member.disk.boot();
        let bug = match plant {
            Plant::Engine(mutant) => mutant.fs_bug(),
            _ => None,
        };
        member.witness = Witness::new(self.books.clone(), member.id, member.disk.clone());
        member.failed = Arc::default();
        let life = Life {
            id: member.id,
            witness: member.witness.clone(),
            seed: hash(&[seed, member.id.0, member.lives]),
            fs: mutants::wrap(host_fs, bug),
            options: self.options.clone(),
            bug: match plant {
                Plant::Adapter(bug) => Some(bug),
                _ => None,
            },
            restore,
            net: self.net.clone(),
        };
        member.witness.boot(member.lives);
        member.witness.of_snapshots().boot(member.lives);
        let failed = member.failed.clone();
        process.spawn(async move {
            if live(life).await.is_err() {
                failed.store(true, Ordering::Relaxed);
            }
        });
    }

    /// Its process is gone. What its destructors still do reaches no disk.
    fn stop(&self, at: usize) {
        let member = &self.members[at];
        member.witness.is_over();
        self.net.forget(member.id);
        member.disk.kill();
        Handle::current().kill(member.process);
    }

    pub fn kill(&self, at: usize) {
        self.stop(at);
        let id = self.members[at].id;
        self.books.record(Some(id), What::Killed);
        let snapshots = crate::books::snapshots_of(id);
        self.books.record(Some(snapshots), What::Killed);
        self.books.fault("kill");
    }

    pub fn power_cut(&self, at: usize, fates: &Fates) {
        let id = self.members[at].id;
        self.stop(at);
        let report = self.members[at].disk.power_cut(fates);
        let snapshots = crate::books::snapshots_of(id);
        self.books.record(Some(id), What::PowerCut(report.clone()));
        self.books.record(Some(snapshots), What::PowerCut(report));
        self.books.fault("power-cut");
    }

    /// OpenRaft, or the open of a store, gave up.
    fn died(&self, at: usize) -> Option<String> {
        let member = &self.members[at];
        if member.failed.load(Ordering::Relaxed) {
            return Some("it could not start".to_owned());
        }
        let peer = self.net.peer(member.id)?;
        let metrics = peer.raft.metrics();
        let running = metrics.borrow_watched().running_state.clone();
        running.err().map(|why| why.to_string())
    }

    /// Members whose power went, or who gave up, start anew.
    pub fn look_after(&mut self, rng: &mut SimRng) {
        for at in 0..self.members.len() {
            if self.members[at].disk.crash_fired() {
                self.power_cut(at, &Fates::Random(rng.next_u64()));
            } else if let Some(error) = self.died(at) {
                let witness = &self.members[at].witness;
                if !self.members[at].failed.load(Ordering::Relaxed) {
                    let excused = witness.is_excused();
                    for witness in [witness.clone(), witness.of_snapshots()] {
                        witness.say(What::Died {
                            error: error.clone(),
                            excused,
                            corrupt: false,
                        });
                    }
                }
                self.books.count("deaths");
                self.stop(at);
            } else {
                continue;
            }
            self.boot(at);
        }
    }

    /// The member that says that it leads, in the highest term.
    pub fn leader(&self) -> Option<usize> {
        let leads = |at: usize| {
            let peer = self.net.peer(self.members[at].id)?;
            let metrics = peer.raft.metrics();
            let metrics = metrics.borrow_watched();
            let leads = metrics.state == ServerState::Leader;
            leads.then_some((metrics.current_term, at))
        };
        let leaders = (0..self.members.len()).filter_map(leads);
        leaders.max().map(|(_, at)| at)
    }

    async fn storm(&mut self) {
        let mut nemesis = Nemesis::new(self.setup.seed);
        let start = now();
        while now() - start < STORM && !self.books.is_broken() {
            madsim::time::sleep(Duration::from_millis(5)).await;
            nemesis.act(self, now() - start);
        }
    }

    /// No faults any more: one leader that serves, and one state on all members.
    async fn calm(&mut self, client: &mut Client) {
        self.net.mend();
        self.net.set_weather(Weather::FAIR);
        for member in &self.members {
            member.disk.disarm_crash();
            member.disk.disarm_fails();
            member.disk.limit_space(None);
        }
        let mut rng = SimRng::new(self.setup.seed, "openraft/calm");
        self.look_after(&mut rng);
        self.books.record(None, What::Healed { core: None });
        let start = now();
        let within = loop {
            if self.served(client).await {
                break Some(now() - start);
            }
            if now() - start > CALM {
                break None;
            }
            madsim::time::sleep(Duration::from_millis(100)).await;
            // A fault that came before may be noticed now.
            self.look_after(&mut rng);
        };
        let within_us = within.map(|within| within.as_micros() as u64);
        self.books.record(None, What::Converged { within_us });
        for member in &self.members {
            let Some(peer) = self.net.peer(member.id) else {
                continue;
            };
            let metrics = peer.raft.metrics();
            let metrics = metrics.borrow_watched().clone();
            member.witness.say(What::Final {
                leader: metrics.state == ServerState::Leader,
                term: Term(metrics.current_term),
                commit: peer.kv.applied(),
                applied: peer.kv.applied(),
                state: peer.kv.digest(),
            });
        }
    }

    /// A put goes through, all keys can be read, and all members have applied all.
    /// Of one key alone: where members differ in another, they shall do so yet.
    async fn served(&self, client: &mut Client) -> bool {
        if !client.put(0).await {
            return false;
        }
        for key in 0..KEYS as u32 {
            if !client.get(key).await {
                return false;
            }
        }
        madsim::time::sleep(Duration::from_millis(500)).await;
        let mut ends = Vec::new();
        for member in &self.members {
            let Some(peer) = self.net.peer(member.id) else {
                return false;
            };
            let metrics = peer.raft.metrics();
            let last = metrics.borrow_watched().last_log_index;
            ends.push(last.map(|last| last + 1));
            ends.push(Some(peer.kv.applied().0));
        }
        ends.iter().all(|end| *end == ends[0])
    }
}

/// What one life of a member needs.
struct Life {
    id: NodeId,
    witness: Witness,
    seed: u64,
    fs: Arc<dyn afterimage_engine::fs::Fs>,
    options: Options,
    bug: Option<Bug>,
    restore: bool,
    net: Net,
}

/// Opens the stores, does the log's work, and runs OpenRaft on them. An error is
/// written down before it is returned.
async fn live(life: Life) -> Result<(), ()> {
    let Life {
        id,
        witness,
        seed,
        fs,
        options,
        bug,
        restore,
        net,
    } = life;
    let host = |witness: &Witness, concern| Host {
        fs: fs.clone(),
        env: Arc::new(SimEnv {
            witness: witness.clone(),
            rng: Mutex::new(SimRng::new(seed, concern)),
        }),
    };
    let failed = |witness: &Witness, error| witness.open_failed(&error);
    let log_host = host(&witness, "openraft/log");
    let opened = LogStore::<Types>::open_stepped(log_host, Path::new("log"), options.clone());
    let (log, stepper) = opened.map_err(|error| failed(&witness, error))?;
    witness
        .up(stepper.store())
        .map_err(|error| failed(&witness, error))?;
    let beside = witness.of_snapshots();
    let kv = Kv::new(witness.clone());
    let snapshots_host = host(&beside, "openraft/snapshots");
    let machine = StateMachine::open(snapshots_host, Path::new("snapshots"), options, kv.clone());
    let machine = machine.map_err(|error| failed(&beside, error))?;
    let snapshots = machine.snapshots().clone();
    beside
        .up(snapshots.store())
        .map_err(|error| failed(&beside, error))?;
    let log = Log::new(
        log,
        witness.clone(),
        id.0,
        stepper.store().hard_state(),
        restore,
        bug,
    );
    let mut rng = SimRng::new(seed, "openraft/disk");
    madsim::task::spawn(async move {
        loop {
            let pause_us = match stepper.step() {
                Ok(true) => rng.between(50, 1500),
                Ok(false) => 1000,
                // OpenRaft hears of it from the callbacks.
                Err(_) => return,
            };
            madsim::time::sleep(Duration::from_micros(pause_us)).await;
        }
    });
    let config = openraft::Config {
        heartbeat_interval: 80,
        election_timeout_min: 300,
        election_timeout_max: 600,
        snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(60),
        max_in_snapshot_log_to_keep: 10,
        enable_leader_restore: Some(restore),
        ..Default::default()
    };
    let config = Arc::new(config.validate().expect("a configuration that works"));
    let link = Link {
        net: net.clone(),
        witness: witness.clone(),
        from: id,
        to: id,
    };
    let raft = openraft::Raft::new(id.0, config, link, log, machine).await;
    let raft = raft.map_err(|fatal| failed(&witness, std::io::Error::other(fatal.to_string())))?;
    let recovered = Arc::new(AtomicBool::new(false));
    net.register(
        id,
        Peer {
            raft: raft.clone(),
            snapshots,
            kv,
            witness,
            recovered: recovered.clone(),
        },
    );
    if id == NodeId(1) {
        let members: BTreeMap<u64, openraft::BasicNode> = (1..=MEMBERS)
            .map(|id| (id, openraft::BasicNode::default()))
            .collect();
        // It is initialized already, in all lives but the first.
        raft.initialize(members).await.ok();
    }
    if raft.wait_for_recovery(None).await.is_ok() {
        recovered.store(true, Ordering::Relaxed);
    }
    std::future::pending().await
}
