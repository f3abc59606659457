//! Members that are both, a network, and what a seed makes of them.

use afterimage_engine::mutant::Mutants;
use afterimage_engine::raft::{Body, Message};

use crate::ours::Ours;
use crate::rng::Rng;
use crate::theirs::{self, Theirs};
use crate::translate::{self, translate};
use crate::{Answer, Role, Standing};

/// Messages on the wire at the most: older ones are lost.
const WIRE_MAX: usize = 60;

/// What happened in runs, so that a test can tell that they were worth it.
#[derive(Debug, Default, Clone, Copy)]
pub struct Seen {
    pub inputs: u64,
    pub elections_won: u64,
    pub step_downs: u64,
    pub votes_granted: u64,
    pub votes_refused: u64,
    pub accepted: u64,
    pub rejected: u64,
    pub truncations: u64,
    pub commits: u64,
}

struct Member {
    ours: Ours,
    theirs: Theirs,
}

pub struct Cluster {
    members: Vec<Member>,
    wire: Vec<Message>,
    pub seen: Seen,
}

/// Runs so many inputs; the first thing on which the two disagree.
pub fn run(seed: u64, inputs: u64, mutants: Mutants) -> Result<Seen, String> {
    let mut rng = Rng::new(seed);
    let members = 3 + 2 * rng.below(2);
    let mut cluster = Cluster::new(members, mutants);
    // In some seeds messages arrive as sent, in others anything may happen.
    let (mess, loss) = (rng.below(40), rng.below(30));
    let mut lonely = None;
    for _ in 0..inputs {
        if rng.chance(1, 150) {
            lonely = rng.chance(2, 3).then(|| 1 + rng.below(members));
        }
        let id = 1 + rng.below(members);
        match rng.below(20) {
            0..=2 => cluster.tick(id)?,
            3 => cluster.propose(id, &vec![7; 1 + rng.below(10) as usize])?,
            4 if rng.chance(1, 40) => cluster.restart(id)?,
            _ => {
                let disorder = rng.chance(mess, 100);
                cluster.deliver(&mut rng, disorder, loss, lonely)?;
            }
        }
    }
    Ok(cluster.seen)
}

impl Cluster {
    pub fn new(members: u64, mutants: Mutants) -> Self {
        let member = |id| Member {
            ours: Ours::new(id, members, mutants),
            theirs: Theirs::new(id, members),
        };
        Cluster {
            members: (1..=members).map(member).collect(),
            wire: Vec::new(),
            seen: Seen::default(),
        }
    }

    pub fn standing(&self, id: u64) -> Standing {
        self.members[id as usize - 1].ours.standing()
    }

    pub fn tick(&mut self, id: u64) -> Result<(), String> {
        self.both(id, "tick", |member| {
            member.theirs.tick();
            member.ours.tick()
        })
    }

    pub fn propose(&mut self, id: u64, data: &[u8]) -> Result<(), String> {
        let mut taken = (false, false);
        self.both(id, "proposal", |member| {
            let (theirs, _) = member.theirs.propose(data);
            let (ours, sent) = member.ours.propose(data);
            taken = (ours, theirs);
            sent
        })?;
        match taken.0 == taken.1 {
            true => Ok(()),
            false => Err(format!("n{id}: a proposal is taken: {taken:?}")),
        }
    }

    pub fn restart(&mut self, id: u64) -> Result<(), String> {
        self.both(id, "restart", |member| {
            member.theirs.restart();
            member.ours.restart();
            Vec::new()
        })
    }

    /// The oldest message arrives, or any; what is to or from the lonely one is lost.
    fn deliver(
        &mut self,
        rng: &mut Rng,
        disorder: bool,
        loss: u64,
        lonely: Option<u64>,
    ) -> Result<(), String> {
        if self.wire.is_empty() {
            return Ok(());
        }
        let at = if disorder {
            rng.below(self.wire.len() as u64) as usize
        } else {
            0
        };
        let stays = disorder && rng.chance(1, 3);
        let message = match stays {
            true => self.wire[at].clone(),
            false => self.wire.remove(at),
        };
        let cut = lonely.is_some_and(|id| message.from.0 == id || message.to.0 == id);
        if cut || rng.chance(loss, 100) {
            return Ok(());
        }
        self.step(message)
    }

    /// This message arrives.
    pub fn step(&mut self, message: Message) -> Result<(), String> {
        let (from, to) = (message.from.0, message.to.0);
        let before = self.standing(to);
        let mut answers = (None, None);
        self.both(to, &format!("{message:?}"), |member| {
            let commit = before.commit;
            let shadow = translate(&message, (commit, member.ours.term_at(commit)));
            let theirs = member.theirs.step(shadow);
            let ours = member.ours.step(message.clone());
            let to_asker = ours.iter().filter(|answer| answer.to.0 == from);
            answers.0 = to_asker.filter_map(translate::answer).next_back();
            let to_asker = theirs.iter().filter(|answer| answer.to == from);
            answers.1 = to_asker.filter_map(theirs::answer).next_back();
            ours
        })?;
        let after = self.standing(to);
        self.count_answer(answers.0);
        match may_answer(&message, &before, &after, answers) {
            true => Ok(()),
            false => Err(format!(
                "n{to}: {message:?} is answered {:?} by the engine, {:?} by raft-rs; before: {before:?}",
                answers.0, answers.1
            )),
        }
    }

    /// Both do the same, and come to the same.
    fn both(
        &mut self,
        id: u64,
        what: &str,
        input: impl FnOnce(&mut Member) -> Vec<Message>,
    ) -> Result<(), String> {
        let before = self.standing(id);
        let member = &mut self.members[id as usize - 1];
        let sent = input(member);
        let (ours, theirs) = (member.ours.standing(), member.theirs.standing());
        self.wire.extend(sent);
        let old = self.wire.len().saturating_sub(WIRE_MAX);
        self.wire.drain(..old);
        self.count(&before, &ours);
        match ours == theirs {
            true => Ok(()),
            false => Err(format!(
                "n{id} after {what}:\n  before  {before:?}\n  engine  {ours:?}\n  raft-rs {theirs:?}"
            )),
        }
    }

    fn count(&mut self, before: &Standing, after: &Standing) {
        let seen = &mut self.seen;
        let (led, leads) = (before.role == Role::Leader, after.role == Role::Leader);
        let common = before.log.iter().zip(&after.log);
        let common = common.take_while(|(a, b)| a == b).count();
        seen.inputs += 1;
        seen.elections_won += u64::from(!led && leads);
        seen.step_downs += u64::from(led && !leads);
        seen.truncations += u64::from(common < before.log.len());
        seen.commits += u64::from(after.commit > before.commit);
    }

    fn count_answer(&mut self, answer: Option<Answer>) {
        let seen = &mut self.seen;
        match answer {
            Some(Answer::Vote { granted: true }) => seen.votes_granted += 1,
            Some(Answer::Vote { granted: false }) => seen.votes_refused += 1,
            Some(Answer::Accepted { .. }) => seen.accepted += 1,
            Some(Answer::Rejected { .. }) => seen.rejected += 1,
            _ => {}
        }
    }

    /// What is on its way, in order.
    pub fn take_wire(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.wire)
    }
}

/// Whether these answers, of the engine and of raft-rs, say the same, but for
/// what the crate's documentation lists.
fn may_answer(
    message: &Message,
    before: &Standing,
    after: &Standing,
    answers: (Option<Answer>, Option<Answer>),
) -> bool {
    if message.term.0 < before.term {
        // Each has its own way to tell an outdated one of the newer term.
        return true;
    }
    match (&message.body, answers) {
        (_, (ours, theirs)) if ours == theirs => true,
        (Body::PreVote { .. }, (ours, _)) if message.term.0 == before.term => {
            ours != Some(Answer::PreVote { granted: true })
        }
        (
            Body::Append { .. },
            (Some(Answer::Accepted { upto: ours }), Some(Answer::Accepted { upto: theirs })),
        ) => theirs <= ours && ours as usize <= after.log.len(),
        (
            Body::Append { .. },
            (
                Some(Answer::Rejected { hint: ours, .. }),
                Some(Answer::Rejected { hint: theirs, .. }),
            ),
        ) => theirs < ours && ours == before.commit,
        _ => false,
    }
}
