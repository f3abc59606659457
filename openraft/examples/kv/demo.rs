//! Starts three nodes, writes to them, kills them, and compares.

#![allow(clippy::disallowed_methods, reason = "it measures real time")]

use std::collections::BTreeMap;
use std::error::Error;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::machine::{Map, Put};
use crate::wire::{Line, Reply, Request};

const NODES: u64 = 3;
const WRITERS: u64 = 4;
/// A call takes no longer; nobody knows then whether it was done.
const PATIENCE: Duration = Duration::from_secs(2);
/// Nothing in this demonstration may take longer.
const DEADLINE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

pub struct Options {
    writes: u64,
    dir: Option<PathBuf>,
}

impl Options {
    pub fn parse(args: &[&str]) -> Option<Self> {
        let mut options = Options {
            writes: 5000,
            dir: None,
        };
        for pair in args.chunks(2) {
            match pair {
                ["--writes", n] => options.writes = n.parse().ok()?,
                ["--dir", dir] => options.dir = Some(dir.into()),
                _ => return None,
            }
        }
        Some(options)
    }
}

type Done<T = ()> = Result<T, Box<dyn Error>>;

pub fn run(options: &Options) -> Done {
    let temporary = std::env::temp_dir().join(format!("afterimage-kv-{}", std::process::id()));
    let dir = options.dir.as_ref().unwrap_or(&temporary);
    std::fs::create_dir_all(dir)?;
    if std::fs::read_dir(dir)?.next().is_some() {
        return Err(format!("{} is not empty", dir.display()).into());
    }
    println!("three nodes, with their data in {}", dir.display());
    let mut cluster = Cluster::start(dir)?;
    let result = demonstrate(&mut cluster, options.writes);
    cluster.kill_all();
    if options.dir.is_none() && result.is_ok() {
        std::fs::remove_dir_all(dir)?;
    }
    result
}

fn demonstrate(cluster: &mut Cluster, writes: u64) -> Done {
    cluster.call(1, &Request::Initialize)?;
    let leader = cluster.leader()?;
    println!("node {leader} leads; {WRITERS} writers begin");
    let load = Load::start(cluster.addresses.clone(), writes)?;

    load.wait_for(writes / 3)?;
    let victim = cluster.leader()?;
    let killed_at = load.acknowledged();
    cluster.kill(victim);
    println!("kill -9 of node {victim}, the leader, after {killed_at} acknowledged writes");
    let began = Instant::now();
    load.wait_for(killed_at + WRITERS)?;
    let successor = cluster.leader()?;
    println!(
        "node {successor} leads on after {} ms",
        began.elapsed().as_millis()
    );
    load.wait_for(writes * 2 / 3)?;
    cluster.spawn(victim)?;
    println!("node {victim} is started again");
    let acknowledged = load.finish()?;
    println!("{} writes were acknowledged", acknowledged.len());

    cluster.kill_all();
    println!("kill -9 of all three");
    (1..=NODES).try_for_each(|id| cluster.spawn(id))?;
    let (found, applied) = cluster.read()?;
    compare(
        "the cluster, read through its leader",
        &acknowledged,
        &found,
    )?;
    for id in 1..=NODES {
        let found = cluster.caught_up(id, applied)?;
        compare(&format!("node {id}, by itself"), &acknowledged, &found)?;
    }
    println!("nothing that was acknowledged was lost");
    Ok(())
}

/// Each writer writes each key once, so its value is known.
fn compare(who: &str, acknowledged: &Map, found: &Map) -> Done {
    let lost: Vec<_> = (acknowledged.iter())
        .filter(|(key, value)| found.get(*key) != Some(value))
        .collect();
    if !lost.is_empty() {
        let n = lost.len();
        return Err(format!(
            "{who}: {n} acknowledged writes are lost, {:?} first",
            lost[0]
        )
        .into());
    }
    // What was not acknowledged may be there: its client never heard.
    let unheard = found.len() - acknowledged.len();
    println!(
        "{who}: all {} are there, and {unheard} whose answer was lost",
        acknowledged.len()
    );
    Ok(())
}

struct Cluster {
    dir: PathBuf,
    addresses: Vec<String>,
    children: BTreeMap<u64, Child>,
    runtime: Runtime,
}

impl Cluster {
    fn start(dir: &Path) -> Done<Self> {
        // Taken and given back: nobody else is likely to get them meanwhile.
        let listeners = (1..=NODES).map(|_| TcpListener::bind("127.0.0.1:0"));
        let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
        let addresses = listeners.iter().map(|l| Ok(l.local_addr()?.to_string()));
        let mut cluster = Cluster {
            dir: dir.to_owned(),
            addresses: addresses.collect::<std::io::Result<_>>()?,
            children: BTreeMap::new(),
            runtime: runtime()?,
        };
        drop(listeners);
        (1..=NODES).try_for_each(|id| cluster.spawn(id))?;
        Ok(cluster)
    }

    fn spawn(&mut self, id: u64) -> Done {
        let child = Command::new(std::env::current_exe()?)
            .args(["node", &id.to_string()])
            .arg(self.dir.join(format!("n{id}")))
            .arg(self.addresses.join(","))
            .spawn()?;
        self.children.insert(id, child);
        Ok(())
    }

    /// With SIGKILL: it gets to do nothing more.
    fn kill(&mut self, id: u64) {
        if let Some(mut child) = self.children.remove(&id) {
            // One that has ended by itself can't be killed; its data is judged.
            child.kill().and_then(|()| child.wait().map(drop)).ok();
        }
    }

    fn kill_all(&mut self) {
        (1..=NODES).for_each(|id| self.kill(id));
    }

    /// Until the node answers.
    fn call(&self, id: u64, request: &Request) -> Done<Reply> {
        let mut line = Line::to(&self.addresses[id as usize - 1]);
        let began = Instant::now();
        loop {
            match self.runtime.block_on(line.call(request, PATIENCE)) {
                Ok(Reply::Failed(why)) if began.elapsed() > DEADLINE => return Err(why.into()),
                Err(error) if began.elapsed() > DEADLINE => return Err(error.into()),
                Ok(Reply::Failed(_)) | Err(_) => std::thread::sleep(PAUSE),
                Ok(reply) => return Ok(reply),
            }
        }
    }

    /// Who leads, in the eyes of a node that runs.
    fn leader(&self) -> Done<u64> {
        let began = Instant::now();
        while began.elapsed() < DEADLINE {
            for id in self.children.keys() {
                if let Reply::Status {
                    leader: Some(leader),
                } = self.call(*id, &Request::Status)?
                    && self.children.contains_key(&leader)
                {
                    return Ok(leader);
                }
            }
            std::thread::sleep(PAUSE);
        }
        Err("nobody leads".into())
    }

    /// Whoever is said to lead may have led before a restart only: then somebody else
    /// is asked who does.
    fn read(&self) -> Done<(Map, u64)> {
        let began = Instant::now();
        loop {
            let mut line = Line::to(&self.addresses[self.leader()? as usize - 1]);
            match self.runtime.block_on(line.call(&Request::Read, PATIENCE)) {
                Ok(Reply::Map { map, applied }) => return Ok((map, applied)),
                Ok(Reply::Failed(why)) if began.elapsed() > DEADLINE => return Err(why.into()),
                Err(error) if began.elapsed() > DEADLINE => return Err(error.into()),
                Ok(Reply::Failed(_)) | Err(_) => std::thread::sleep(PAUSE),
                Ok(other) => return Err(format!("an unexpected reply: {other:?}").into()),
            }
        }
    }

    /// What a node has once it applied as much.
    fn caught_up(&self, id: u64, wanted: u64) -> Done<Map> {
        let began = Instant::now();
        while began.elapsed() < DEADLINE {
            match self.call(id, &Request::Peek)? {
                Reply::Map { map, applied } if applied >= wanted => return Ok(map),
                _ => std::thread::sleep(PAUSE),
            }
        }
        Err(format!("node {id} does not catch up").into())
    }
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// Writers in threads of their own, and what was acknowledged to them.
struct Load {
    acknowledged: Arc<AtomicU64>,
    writes: Arc<Mutex<Map>>,
    writers: Vec<std::thread::JoinHandle<Result<(), String>>>,
}

impl Load {
    fn start(addresses: Vec<String>, writes: u64) -> Done<Self> {
        let mut load = Load {
            acknowledged: Arc::default(),
            writes: Arc::default(),
            writers: Vec::new(),
        };
        for writer in 0..WRITERS {
            let (addresses, count) = (addresses.clone(), load.acknowledged.clone());
            let (all, share) = (load.writes.clone(), writes / WRITERS);
            load.writers
                .push(std::thread::Builder::new().spawn(move || {
                    let runtime = runtime().map_err(|e| e.to_string())?;
                    let mut lines: Vec<_> = addresses.iter().map(|a| Line::to(a)).collect();
                    let mut at = writer as usize % lines.len();
                    for n in 0..share {
                        let put = Put {
                            key: format!("w{writer}-{n}"),
                            value: writer << 32 | n,
                        };
                        let request = Request::Put(put.clone());
                        let began = Instant::now();
                        // Written again until somebody says that it is done: a key
                        // has one value, so twice is as good as once.
                        while !matches!(
                            runtime.block_on(lines[at].call(&request, PATIENCE)),
                            Ok(Reply::Done)
                        ) {
                            if began.elapsed() > DEADLINE {
                                return Err(format!("{put} is never acknowledged"));
                            }
                            at = (at + 1) % lines.len();
                            std::thread::sleep(PAUSE / 4);
                        }
                        let mut all = all.lock().map_err(|e| e.to_string())?;
                        all.insert(put.key, put.value);
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                    Ok(())
                })?);
        }
        Ok(load)
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    fn wait_for(&self, writes: u64) -> Done {
        let began = Instant::now();
        while self.acknowledged() < writes {
            if began.elapsed() > DEADLINE || self.writers.iter().all(|w| w.is_finished()) {
                return Err(format!("only {} of {writes} writes", self.acknowledged()).into());
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn finish(self) -> Done<Map> {
        for writer in self.writers {
            writer.join().map_err(|_| "a writer panicked")??;
        }
        let mut writes = self.writes.lock().map_err(|e| e.to_string())?;
        Ok(std::mem::take(&mut *writes))
    }
}
