//! A cluster in one thread: members on simulated disks, a simulated network,
//! clients, and the faults of a plan.
//!
//! One dispatcher takes what happens next from one queue ordered by time:
//! messages, steps of disk jobs, ticks, clients and faults. A member's process is a
//! value that the dispatcher calls, and a kill drops it with all that it holds.
//! madsim catches whatever a state machine asks of libc's clock and randomness.

mod clients;
mod converge;
mod life;
mod mail;
mod member;
mod nemesis;
mod net;
mod operator;
mod queue;
mod replica;
mod story;

use std::mem;
use std::time::Duration;

use afterimage_engine::node::{Input, NodeConfig, Output, RequestKind, StateMachine, Task};
use afterimage_engine::raft::Message;
use afterimage_engine::store::Options;
use afterimage_engine::{Event, Membership, NodeId};
use madsim::runtime::Runtime;

use self::clients::{CLIENT_LATENCY_US, Client, ClientEvent};
use self::member::{Life, Member};
use self::nemesis::End;
use self::net::SimNet;
use self::operator::Wish;
use self::queue::Queue;
use self::replica::{Command, Outcome};
use self::story::Story;
use crate::check::Judges;
use crate::disk::{self, OpRecord};
use crate::kv::{self, Kv};
use crate::plan::{Heal, Plan};
use crate::recorder::Recorder;
use crate::report::RunReport;
use crate::rng::hash;
use crate::run::RunOptions;
use crate::trace::{Operation, Record, Style, What};

/// A state machine that a world can run, and clients can use.
pub trait Subject: StateMachine {
    /// Empty.
    fn fresh() -> Self;
    /// Equal exactly if two replicas hold the same.
    fn digest(&self) -> u64;
    /// How a client asks for `operation`; a put carries `padding` more bytes.
    fn request(operation: &Operation, padding: usize) -> (RequestKind, Vec<u8>);
}

impl Subject for Kv {
    fn fresh() -> Self {
        Kv::new()
    }
    fn digest(&self) -> u64 {
        Kv::digest(self)
    }
    fn request(operation: &Operation, padding: usize) -> (RequestKind, Vec<u8>) {
        kv::encode(operation, padding)
    }
}

/// How far madsim's clock may be behind ours: a state machine that asks libc for the
/// time gets that one.
const MADSIM_STEP_US: u64 = 10_000;
/// A run is stopped after this many happenings: something goes in circles.
const HAPPENINGS_MAX: u64 = 20_000_000;
/// Between a task's becoming due and its first step.
const WAKE_US: u64 = 2;
/// Before a task that found the disk full tries again.
const STALLED_US: u64 = 20_000;

#[derive(Debug)]
enum Happening {
    Deliver(Box<Message>),
    Tick {
        node: NodeId,
        incarnation: u64,
    },
    Boot {
        node: NodeId,
    },
    BootStep {
        node: NodeId,
        incarnation: u64,
    },
    TaskStep {
        node: NodeId,
        incarnation: u64,
        task: Task,
    },
    Client {
        at: usize,
        event: ClientEvent,
    },
    Step(usize),
    End(End),
    Ask(Wish),
    Heal,
    Look,
}

impl Happening {
    /// The machine that must be awake for it.
    fn at_machine(&self) -> Option<NodeId> {
        match self {
            Happening::Deliver(message) => Some(message.to),
            Happening::Tick { node, .. }
            | Happening::BootStep { node, .. }
            | Happening::TaskStep { node, .. }
            | Happening::Client {
                event: ClientEvent::Arrive { node, .. },
                ..
            } => Some(*node),
            _ => None,
        }
    }
}

/// Carries out `plan` with state machine `S` on this thread.
pub fn run<S: Subject>(plan: &Plan, options: &RunOptions) -> RunReport {
    let seed = hash(&[plan.seed, u64::from_le_bytes(*b"madsim\0\0")]);
    let runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
    runtime.block_on(async {
        let mut world = World::<S>::new(plan, options);
        world.run().await;
        world.report()
    })
}

pub(super) struct World<S> {
    /// As carried out so far: targets and fates are written back.
    plan: Plan,
    options: RunOptions,
    now_us: u64,
    /// How far madsim's clock has come.
    madsim_us: u64,
    queue: Queue<Happening>,
    net: SimNet,
    members: Vec<Member<S>>,
    clients: Vec<Client>,
    recorder: Recorder,
    fs_ops: u64,
    story: Story,
    /// Since when the faults are over.
    healed_us: Option<u64>,
    /// The most that was ever due.
    deepest: u64,
    /// If only these are healed.
    core: Option<Vec<NodeId>>,
    finished: bool,
    /// For what a member recorded: empty, used again and again.
    buffers: (Vec<Event>, Vec<OpRecord>),
}

impl<S: Subject> World<S> {
    fn new(plan: &Plan, options: &RunOptions) -> Self {
        let machines = plan.cluster.nodes + plan.cluster.spares;
        let members = (1..=u64::from(machines))
            .map(|id| life::new_member(plan, NodeId(id)))
            .collect();
        let writers = u64::from(plan.workload.clients);
        let clients = (1..=writers + u64::from(plan.workload.readers))
            .map(|id| Client::new(plan.seed, id, id > writers))
            .collect();
        let mut world = World {
            plan: plan.clone(),
            options: *options,
            now_us: 0,
            madsim_us: 0,
            queue: Queue::new(),
            net: SimNet::new(plan.seed, plan.net.clone()),
            members,
            clients,
            recorder: Recorder::new(options, Style::CLUSTER, Judges::new()),
            fs_ops: 0,
            story: Story::default(),
            healed_us: None,
            deepest: 0,
            core: None,
            finished: false,
            buffers: Default::default(),
        };
        let founders = world.founders();
        world.record(None, What::Members(founders));
        // The steps come first in the queue: one at 0 is carried out before the boots.
        world.schedule(0);
        for id in 1..=world.nodes() {
            world.queue.push(0, Happening::Boot { node: NodeId(id) });
        }
        for at in 0..world.clients.len() {
            let event = ClientEvent::Invoke;
            world.queue.push(100_000, Happening::Client { at, event });
        }
        let heal = plan.cluster.duration_ms * 1000;
        world.queue.push(heal, Happening::Heal);
        world
    }

    async fn run(&mut self) {
        let mut happenings = 0;
        while !self.finished && self.recorder.violation().is_none() {
            let Some((time_us, happening)) = self.queue.pop() else {
                unreachable!("ticks never end");
            };
            happenings += 1;
            self.deepest = self.deepest.max(self.queue.len() as u64 + 1);
            if happenings > HAPPENINGS_MAX {
                let text = format!("no end after {HAPPENINGS_MAX} happenings");
                self.recorder.panicked(text);
                break;
            }
            self.advance(time_us).await;
            self.happen(happening);
        }
    }

    /// Lets simulated time pass. madsim's clock follows in steps, for each costs a
    /// timer and a wake-up; ours is exact.
    async fn advance(&mut self, time_us: u64) {
        self.now_us = time_us;
        if time_us >= self.madsim_us + MADSIM_STEP_US {
            let elapsed = madsim::time::TimeHandle::current().elapsed();
            madsim::time::sleep(Duration::from_micros(time_us).saturating_sub(elapsed)).await;
            self.madsim_us = time_us;
        }
    }

    fn happen(&mut self, happening: Happening) {
        if let Some(node) = happening.at_machine()
            && let Some(until_us) = self.paused_until(node)
        {
            // In the order in which it came: the queue sees to that.
            self.queue.push(until_us, happening);
            return;
        }
        match happening {
            Happening::Deliver(message) => self.deliver(*message),
            Happening::Tick { node, incarnation } => {
                if self.is_current(node, incarnation) {
                    let tick_us = self.member(node).tick_us;
                    let next = Happening::Tick { node, incarnation };
                    self.queue.push(self.now_us + tick_us, next);
                    self.handle(node, Input::Tick);
                }
            }
            Happening::Boot { node } => self.boot(node),
            Happening::BootStep { node, incarnation } => {
                if self.is_current(node, incarnation) {
                    self.boot_step(node);
                }
            }
            Happening::TaskStep {
                node,
                incarnation,
                task,
            } => {
                if self.is_current(node, incarnation) {
                    self.member(node).due[task as usize] = false;
                    let outcome = self.call(node, Command::Step(task));
                    self.settle(node, outcome, Some(task));
                }
            }
            Happening::Client { at, event } => self.client(at, event),
            Happening::Step(at) => self.begin(at),
            Happening::End(end) => self.end(end),
            Happening::Ask(wish) => self.ask(wish),
            // A step of the plan may have done it.
            Happening::Heal if self.is_healed() => {}
            Happening::Heal if self.plan.cluster.heal == Heal::Nobody => self.finished = true,
            Happening::Heal => self.heal(),
            Happening::Look => self.look(),
        }
    }

    /// Members at the beginning.
    fn nodes(&self) -> u64 {
        u64::from(self.plan.cluster.nodes)
    }

    /// Those and the spares.
    fn machines(&self) -> u64 {
        self.members.len() as u64
    }

    fn founders(&self) -> Membership {
        Membership {
            voters: (1..=self.nodes()).map(NodeId).collect(),
            learners: Vec::new(),
        }
    }

    fn member(&mut self, id: NodeId) -> &mut Member<S> {
        &mut self.members[id.0 as usize - 1]
    }

    /// The leader of the highest term, as far as anybody leads.
    fn leader(&self) -> Option<NodeId> {
        self.members
            .iter()
            .filter(|m| m.leads())
            .max_by_key(|m| m.status.term)
            .map(|m| m.id)
    }

    fn is_current(&mut self, node: NodeId, incarnation: u64) -> bool {
        let member = self.member(node);
        member.incarnation == incarnation && member.life != Life::Down
    }

    fn is_healed(&self) -> bool {
        self.healed_us.is_some()
    }

    fn record(&mut self, node: Option<NodeId>, what: What) {
        self.record_kept(node, what);
    }

    /// As [`World::record`], and gives it back.
    fn record_kept(&mut self, node: Option<NodeId>, what: What) -> What {
        self.watch_deed(node, &what);
        let record = Record {
            time_us: self.now_us,
            node,
            what,
        };
        self.recorder.record(&record);
        record.what
    }

    fn call(&mut self, node: NodeId, command: Command<S>) -> Outcome {
        let now_us = self.now_us;
        let member = self.member(node);
        member.env.set_now(now_us, member.clock_ahead_ms);
        member.process.call(command)
    }

    fn handle(&mut self, node: NodeId, input: Input) {
        let outcome = self.call(node, Command::Handle(input));
        self.settle(node, outcome, None);
    }

    /// Everything that follows from what a process just did. `ran`: the task
    /// whose step it was, whose next one is due when this one's operation is done.
    fn settle(&mut self, node: NodeId, outcome: Outcome, ran: Option<Task>) {
        let took_us = self.take_records(node);
        if let Some(panic) = outcome.panic {
            self.recorder.panicked(format!("n{node} panicked: {panic}"));
            return;
        }
        if self.member(node).disk.crash_fired() {
            // Whatever it wanted to say after the power went is lost with it.
            let step = self.member(node).armed.take();
            self.cut_power(node, step);
            return;
        }
        if let Some(error) = outcome.error {
            self.died(node, &error);
            return;
        }
        for output in outcome.outputs {
            match output {
                Output::Send(message) => self.send(message),
                Output::Reply {
                    client,
                    sequence,
                    reply,
                } => {
                    let event = ClientEvent::Reply {
                        node,
                        sequence,
                        reply,
                    };
                    let at = client as usize - 1;
                    let time = self.now_us + CLIENT_LATENCY_US;
                    self.queue.push(time, Happening::Client { at, event });
                }
            }
        }
        let Some(status) = outcome.status else {
            return; // still opening
        };
        let now_us = self.now_us;
        let member = self.member(node);
        member.status = status;
        let incarnation = member.incarnation;
        let mut due = Vec::new();
        for task in Task::ALL {
            if !status.work[task as usize] || member.due[task as usize] {
                continue;
            }
            let delay = match ran {
                Some(ran) if ran == task && outcome.stalled => STALLED_US,
                Some(ran) if ran == task => took_us,
                _ => WAKE_US,
            };
            let next = Happening::TaskStep {
                node,
                incarnation,
                task,
            };
            due.push((now_us + delay, next));
            member.due[task as usize] = true;
        }
        for (time_us, next) in due {
            self.queue.push(time_us, next);
        }
    }

    /// Takes over what the process and its disk recorded; how long the file
    /// operations took, in microseconds.
    fn take_records(&mut self, node: NodeId) -> u64 {
        let (mut events, mut ops) = mem::take(&mut self.buffers);
        let member = self.member(node);
        member.env.swap_events(&mut events);
        member.disk.swap_ops(&mut ops);
        let count = member.disk.op_count();
        let slow = member.slow_factor;
        for event in events.drain(..) {
            self.watch_phase(node, &event);
            self.record(Some(node), What::Engine(event));
        }
        let timing = &self.plan.disk;
        let (mut took_us, mut stalled_us) = (0, 0);
        let n = ops.len() as u64;
        for (i, op) in ops.iter().enumerate() {
            let syncs = matches!(op.kind, disk::OpKind::Sync | disk::OpKind::SyncDir);
            let (low, high) = if syncs {
                (timing.sync_us_min, timing.sync_us_max)
            } else {
                (timing.op_us_min, timing.op_us_max)
            };
            let draw = |what| hash(&[self.plan.seed, node.0, count - n + i as u64, what]);
            took_us += low + draw(0) % (high.saturating_sub(low) + 1);
            if !timing.stall.is_never() && !self.is_healed() && timing.stall.holds(draw(1)) {
                stalled_us += draw(2) % (timing.stall_us_max + 1);
                self.recorder.fault("disk-stall");
            }
        }
        self.fs_ops += n;
        for op in ops.drain(..) {
            self.record(Some(node), What::Disk(op));
        }
        self.buffers = (events, ops);
        // A slow disk stalls no longer than others: a stall of many seconds would
        // outlast the faults.
        took_us.max(WAKE_US) * slow + stalled_us
    }

    fn config(&self, id: NodeId) -> NodeConfig {
        let cluster = &self.plan.cluster;
        let mutants = self.options.mutant.map(|m| m.engine()).unwrap_or_default();
        NodeConfig {
            id,
            // A spare learns from a leader who takes part.
            membership: match id.0 <= self.nodes() {
                true => self.founders(),
                false => Membership::default(),
            },
            store: Options {
                segment_bytes: cluster.segment_bytes,
                cache_bytes: cluster.cache_bytes as usize,
                chunk_bytes: cluster.chunk_bytes as usize,
                trail_entries: cluster.trail_entries,
                commit_hint_every: cluster.commit_hint_every,
                accept_bad_slot: false,
                unsynced_bytes: cluster.unsynced_bytes,
                mutants,
            },
            election_ticks: cluster.election_ticks,
            heartbeat_ticks: cluster.heartbeat_ticks,
            append_bytes_max: cluster.append_bytes_max as usize,
            inflight_max: cluster.inflight_max as usize,
            snapshot_every: cluster.snapshot_every,
            mutants,
        }
    }

    fn report(mut self) -> RunReport {
        self.recorder.raise("queue", self.deepest);
        self.recorder
            .into_report(self.plan, self.fs_ops, self.now_us)
    }
}
