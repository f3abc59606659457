//! Members, a network that loses, repeats, delays and reorders, disks that take
//! their time, crashes and partitions: all drawn from one seed.

mod nemesis;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use afterimage_engine::mutant::Mutants;
use afterimage_engine::raft::{Body, Config, LogView, Message, Refused, SnapshotPiece};
use afterimage_engine::{EntryKind, Index, Membership, NodeId, Term};

use crate::member::{Member, Out};
use crate::oracle::{Oracle, Stats, Violation, violated};
use crate::rng::Rng;
use crate::weather::{TICK, Weather, rarely};

/// How long faults go on, in ticks.
const CHAOS_TICKS: u64 = 1500;
/// How long the members then have to agree: for an election (after a pre-vote
/// that only taught somebody the term), and for each entry of the longest log,
/// since it may have to travel alone (a round trip with its write takes two).
const CALM_TICKS: u64 = 300;
const CALM_TICKS_PER_ENTRY: u64 = 3;

enum Happens {
    Tick(NodeId),
    Deliver(Message),
    Persist(NodeId, u64),
    Stored(NodeId, u64, SnapshotPiece),
    Install(NodeId, u64),
    Propose,
    Read,
    Save,
    Change,
    Fault,
}

struct Cluster {
    rng: Rng,
    weather: Weather,
    members: BTreeMap<NodeId, Member>,
    /// The length of each one's tick: clocks differ.
    periods: BTreeMap<NodeId, u64>,
    /// What happens next, by time and then by order of scheduling.
    agenda: BTreeMap<(u64, u64), Happens>,
    scheduled: u64,
    now: u64,
    calm: bool,
    /// Links that carry nothing, each in one direction.
    cut: BTreeSet<(NodeId, NodeId)>,
    proposed: u64,
    reads: u64,
    oracle: Oracle,
}

/// One run; the statistics and a digest of all events.
pub fn run(seed: u64, mutants: Mutants) -> Result<(Stats, u64), Violation> {
    let mut cluster = Cluster::new(seed, mutants);
    while cluster.now < CHAOS_TICKS * TICK {
        cluster.next()?;
    }
    cluster.calm()?;
    Ok((cluster.oracle.stats, cluster.oracle.digest))
}

impl Cluster {
    fn new(seed: u64, mutants: Mutants) -> Self {
        let mut rng = Rng::new(seed);
        let weather = Weather::draw(&mut rng);
        let voters = *[1, 2, 3, 3, 3, 4, 5, 5].get(rng.below(8) as usize).unwrap();
        let learners = rng.below(2);
        let membership = Membership {
            voters: (1..=voters).map(NodeId).collect(),
            learners: (voters + 1..=voters + learners).map(NodeId).collect(),
        };
        // Servers that may join.
        let spares = if weather.change_every > 0 {
            rng.below(3)
        } else {
            0
        };
        let servers = voters + learners + spares;
        let inflight_max = rng.between(1, 4) as usize;
        // Often one entry at a time: then a message shows the least.
        let append_bytes_max = rarely(&mut rng, 100) as usize;
        let config = |id| Config {
            id,
            membership: if id.0 <= voters + learners {
                membership.clone()
            } else {
                Membership::default()
            },
            election_ticks: 10,
            heartbeat_ticks: 2,
            append_bytes_max,
            inflight_max,
            mutants,
        };
        let mut periods = BTreeMap::new();
        for id in (1..=servers).map(NodeId) {
            periods.insert(id, rng.between(TICK - 4, TICK + 4));
        }
        let members = (1..=servers).map(|id| (NodeId(id), Member::new(config(NodeId(id)))));
        let mut cluster = Cluster {
            members: members.collect(),
            periods,
            rng,
            weather,
            agenda: BTreeMap::new(),
            scheduled: 0,
            now: 0,
            calm: false,
            cut: BTreeSet::new(),
            proposed: 0,
            reads: 0,
            oracle: Oracle::default(),
        };
        for id in cluster.ids() {
            let entropy = cluster.rng.next();
            cluster.member(id).start(entropy);
            let first = cluster.rng.below(TICK);
            cluster.schedule(first, Happens::Tick(id));
        }
        for happens in [
            Happens::Propose,
            Happens::Read,
            Happens::Save,
            Happens::Fault,
        ] {
            cluster.schedule(TICK, happens);
        }
        if cluster.weather.change_every > 0 {
            cluster.schedule(TICK, Happens::Change);
        }
        cluster
    }

    fn ids(&self) -> Vec<NodeId> {
        self.members.keys().copied().collect()
    }

    fn member(&mut self, id: NodeId) -> &mut Member {
        self.members.get_mut(&id).unwrap()
    }

    fn is_up(&self, id: NodeId) -> bool {
        self.members[&id].raft.is_some()
    }

    /// Whether it lives the life that this was scheduled in.
    fn lives(&self, id: NodeId, life: u64) -> bool {
        self.is_up(id) && self.members[&id].life == life
    }

    fn any_id(&mut self) -> NodeId {
        let position = self.rng.below(self.members.len() as u64);
        *self.members.keys().nth(position as usize).unwrap()
    }

    fn schedule(&mut self, after: u64, happens: Happens) {
        self.scheduled += 1;
        self.agenda
            .insert((self.now + after, self.scheduled), happens);
    }

    fn next(&mut self) -> Result<(), Violation> {
        let ((now, _), happens) = self.agenda.pop_first().expect("ticks never end");
        self.now = now;
        match happens {
            Happens::Tick(id) => {
                let next = if self.calm { TICK } else { self.periods[&id] };
                self.schedule(next, Happens::Tick(id));
                if self.is_up(id) {
                    let entropy = self.rng.next();
                    self.call(id, |raft, log| raft.tick(log, entropy))?;
                }
            }
            Happens::Deliver(message) => {
                let (id, entropy) = (message.to, self.rng.next());
                if self.is_up(id) {
                    let (shown, term) = (self.shown_by(&message), answered_term(&message));
                    self.call(id, |raft, log| raft.step(message, log, entropy))?;
                    self.check_commit(id, shown)?;
                    self.check_term(id, term)?;
                }
            }
            Happens::Persist(id, life) => {
                if self.lives(id, life) {
                    let count = self.rng.between(1, 3) as usize;
                    self.with(id, |member, oracle| member.persist(count, oracle))?;
                    if self.members[&id].has_unwritten() {
                        self.schedule_persist(id);
                    }
                }
            }
            Happens::Stored(id, life, piece) => {
                if self.lives(id, life) {
                    self.with(id, |member, oracle| member.stored(oracle, &piece))?;
                }
            }
            Happens::Install(id, life) => {
                if self.lives(id, life) {
                    let fails = !self.calm && self.rng.chance(1, 5);
                    self.with(id, |member, oracle| member.finish_install(fails, oracle))?;
                }
            }
            Happens::Propose => {
                // In the end, slowly enough for the slowest link to keep up.
                let pause = if self.calm {
                    20 * TICK
                } else {
                    self.weather.propose_every
                };
                self.schedule(pause, Happens::Propose);
                // A deposed one among them believes it, too: its tail must go.
                for id in self.leaders() {
                    self.propose(id)?;
                }
            }
            Happens::Read => {
                self.schedule(self.weather.read_every, Happens::Read);
                for id in self.leaders() {
                    self.read(id)?;
                }
            }
            Happens::Save => {
                self.schedule(self.weather.snapshot_every, Happens::Save);
                let id = self.any_id();
                let keep = self.rng.below(12);
                if self.is_up(id) {
                    let keep = |last: Index| Index(last.0.saturating_sub(keep).max(1));
                    self.member(id).save_snapshot(keep)?;
                }
            }
            Happens::Change => {
                self.schedule(self.weather.change_every, Happens::Change);
                if !self.calm {
                    for id in self.leaders() {
                        self.change(id)?;
                    }
                }
            }
            Happens::Fault => {
                self.schedule(self.weather.fault_every, Happens::Fault);
                if !self.calm {
                    self.fault()?;
                }
            }
        }
        Ok(())
    }

    /// How far the receiver of an `Append` may have committed afterwards.
    fn shown_by(&self, message: &Message) -> Option<Index> {
        match &message.body {
            Body::Append {
                prev_index,
                entries,
                ..
            } => {
                let before = self.members[&message.to].core().commit_index();
                Some(before.max(*prev_index + entries.len() as u64))
            }
            _ => None,
        }
    }

    /// It takes much luck until a commit past the message meets an entry that
    /// the leader doesn't have; the wrong decision is plain to see before.
    fn check_commit(&self, id: NodeId, shown: Option<Index>) -> Result<(), Violation> {
        let commit = self.members[&id].core().commit_index();
        match shown {
            Some(shown) if commit > shown => violated(
                "commits-what-is-shown",
                format!("{id} commits {commit}, the leader showed {shown}"),
            ),
            _ => Ok(()),
        }
    }

    /// Whoever hears of a newer term in an answer is in it, or beyond.
    fn check_term(&self, id: NodeId, answered: Option<Term>) -> Result<(), Violation> {
        let term = self.members[&id].core().term();
        match answered {
            Some(answered) if term < answered => violated(
                "follows-newer-term",
                format!("{id} stays in {term} after an answer of {answered}"),
            ),
            _ => Ok(()),
        }
    }

    fn call<T>(
        &mut self,
        id: NodeId,
        call: impl FnOnce(
            &mut afterimage_engine::raft::Raft,
            &crate::image::Image,
        ) -> afterimage_engine::Result<T>,
    ) -> Result<T, Violation> {
        let member = self.members.get_mut(&id).unwrap();
        let (answer, out) = member.call(&mut self.oracle, call)?;
        self.carry_out(id, out)?;
        Ok(answer)
    }

    fn with(
        &mut self,
        id: NodeId,
        act: impl FnOnce(&mut Member, &mut Oracle) -> Result<Out, Violation>,
    ) -> Result<(), Violation> {
        let out = act(self.members.get_mut(&id).unwrap(), &mut self.oracle)?;
        self.carry_out(id, out)
    }

    fn carry_out(&mut self, id: NodeId, out: Out) -> Result<(), Violation> {
        if out.wrote {
            self.schedule_persist(id);
        }
        if let Some(piece) = out.piece {
            let life = self.members[&id].life;
            self.member(id).take_piece(&piece);
            // An install may outlast an election timeout.
            let most = if self.calm { TICK } else { 30 * TICK };
            let after = self.rng.between(1, if piece.done { most } else { TICK });
            let happens = if piece.done {
                Happens::Install(id, life)
            } else {
                Happens::Stored(id, life, piece)
            };
            self.schedule(after, happens);
        }
        for context in out.failed_reads {
            self.oracle.read_failed(context);
        }
        for read in out.reads {
            self.oracle.read_granted(id, read)?;
        }
        for message in out.messages {
            self.send(message);
        }
        Ok(())
    }

    fn schedule_persist(&mut self, id: NodeId) {
        let life = self.members[&id].life;
        let most = if self.calm {
            TICK
        } else {
            self.weather.persist_max
        };
        let after = self.rng.between(1, most);
        self.schedule(after, Happens::Persist(id, life));
    }

    fn send(&mut self, message: Message) {
        if self.cut.contains(&(message.from, message.to)) {
            return;
        }
        if !self.calm && self.rng.chance(self.weather.drop_in_1000, 1000) {
            return;
        }
        if !self.calm && self.rng.chance(self.weather.repeat_in_1000, 1000) {
            self.send_once(message.clone());
        }
        self.send_once(message);
    }

    fn send_once(&mut self, message: Message) {
        let late = !self.calm && self.rng.chance(self.weather.late_in_1000, 1000);
        let most = match (self.calm, late) {
            (true, _) => TICK / 2,
            (false, true) => 200 * TICK,
            (false, false) => self.weather.delay_max,
        };
        let after = self.rng.between(1, most);
        self.schedule(after, Happens::Deliver(message));
    }

    fn leaders(&self) -> Vec<NodeId> {
        let leaders = self.members.values().filter(|member| member.is_leader());
        leaders.map(|member| member.id).collect()
    }

    /// Whether the leader `id` took it; else it is handing over.
    fn propose(&mut self, id: NodeId) -> Result<bool, Violation> {
        self.proposed += 1;
        let mut data = self.proposed.to_le_bytes().to_vec();
        data.resize(8 + self.rng.below(12) as usize, 0);
        let (kind, data) = (EntryKind::Command, Arc::<[u8]>::from(data));
        let placed = self.call(id, |raft, log| raft.propose(kind, data, 0, log))?;
        assert!(matches!(placed, Ok(_) | Err(Refused::HandingOver { .. })));
        Ok(placed.is_ok())
    }

    fn read(&mut self, id: NodeId) -> Result<(), Violation> {
        self.reads += 1;
        let context = self.reads;
        // Before the call: a cluster of one answers within it.
        self.oracle.read_asked(context);
        let answer = self.call(id, |raft, log| raft.read_index(context, log))?;
        assert_eq!(answer, Ok(()));
        Ok(())
    }

    /// The faults end: one leader serves and all agree, within a bound.
    fn calm(&mut self) -> Result<(), Violation> {
        self.calm = true;
        self.cut.clear();
        self.restart_all();
        let lengths = self
            .members
            .values()
            .map(|member| member.view.last_index().0);
        let backlog = lengths.max().unwrap_or(0);
        let end = self.now + (CALM_TICKS + CALM_TICKS_PER_ENTRY * backlog) * TICK;
        let target = self.oracle.committed_index();
        while self.now < end {
            self.next()?;
            if self.agree(target) {
                return Ok(());
            }
        }
        let state =
            |member: &Member| format!("{:?}\n{:?}", member.core(), member.view.last_index());
        let states: Vec<String> = self.members.values().map(state).collect();
        violated("converges", states.join("\n"))
    }

    /// Whether one leads, and all its members have applied something newer than `target`.
    fn agree(&self, target: Index) -> bool {
        let leaders = self.members.values().filter(|member| member.is_leader());
        let Some(leader) = leaders.max_by_key(|leader| leader.core().term()) else {
            return false;
        };
        let (term, membership) = (leader.core().term(), leader.core().membership());
        // Whoever is removed may not even know.
        let ids = membership.voters.iter().chain(&membership.learners);
        ids.map(|id| &self.members[id]).all(|member| {
            member.core().leader() == Some(leader.id)
                && member.core().term() == term
                && member.applied > target
                && member.applied == member.view.last_index()
                && member.applied == leader.applied
        })
    }
}

/// The term that an answer teaches.
fn answered_term(message: &Message) -> Option<Term> {
    match message.body {
        Body::VoteReply { .. }
        | Body::AppendAccepted { .. }
        | Body::AppendRejected { .. }
        | Body::HeartbeatReply { .. }
        | Body::SnapshotWanted { .. } => Some(message.term),
        _ => None,
    }
}
