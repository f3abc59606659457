//! The search for a linearization of one key.
//!
//! Round by round: the operation that returns must have its place by then. It
//! takes one now, after whichever of the open ones have to go before it; what
//! need not be placed now is not (Lowe's just-in-time linearization). Beyond
//! the memory of configurations four things keep the search short:
//!
//! - **Nobody notices.** An operation that would change nothing in a state that
//!   came up while it was open has a place there; so has a write or an append
//!   directly before a write. It costs nothing, and does not keep the operation
//!   from taking effect later after all ([`Config::used`]).
//! - **Nobody looks.** A state that no operation to come can tell from others is
//!   [`OTHER`], and an operation goes before the returning one only if somebody
//!   sees what it did before it is written over.
//! - **Nobody can.** A state that is still to be seen, and that no operation can
//!   bring about any more, is not left. With unique values this alone decides
//!   most choices, as it does for Gibbons and Korach (1997).
//! - **All at once.** If all that still see a value are open reads, its write
//!   and they go together directly before any other write: nobody notices.

use std::collections::BTreeSet;

use super::GaveUp;
use super::config::{Bits, Config, Seen};
use super::problem::{Action, Need, Needs, Prefixes, Problem};
use super::space::{OTHER, State};

pub(super) struct Search<'a> {
    problem: &'a Problem,
    seen: Seen,
    stack: Vec<Node>,
    looked_at: u64,
    limit: u64,
}

struct Node {
    round: usize,
    config: Config,
    /// Nothing was placed in this round yet.
    begin: bool,
    /// Nobody has seen yet what was placed last, and it need not be placed: a
    /// write now would make it pointless.
    idle: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    /// An operation that returns.
    Must(usize),
    /// One of the unknown operations of this sort.
    Unknown(usize),
    /// An unknown write of what nobody can tell from others.
    Spare,
}

impl<'a> Search<'a> {
    /// Gives up after this many configurations.
    pub fn new(problem: &'a Problem, limit: u64) -> Self {
        Search {
            problem,
            seen: Seen::default(),
            stack: Vec::new(),
            looked_at: 0,
            limit,
        }
    }

    /// Is there a linearization?
    pub fn run(mut self) -> Result<bool, GaveUp> {
        let problem = self.problem;
        if problem.rounds() == 0 {
            return Ok(true);
        }
        let first = Config {
            state: problem.space.initial,
            done: Bits::new(problem.slots),
            used: Bits::new(problem.slots),
            spent: Default::default(),
            spare: 0,
        };
        self.enter(0, first);
        while let Some(node) = self.stack.pop() {
            if node.round == problem.rounds() {
                return Ok(true);
            }
            self.looked_at += 1;
            if self.looked_at > self.limit {
                return Err(GaveUp {
                    configurations: self.limit,
                });
            }
            self.look_at(node);
        }
        Ok(false)
    }

    /// What may happen next is pushed in the reverse order of preference.
    fn look_at(&mut self, node: Node) {
        let Node { round, config, .. } = &node;
        let returning = &self.problem.operations[*round];
        let placed = config.done.has(returning.slot);
        let settled = match returning.action.changes() {
            false => placed,
            true => config.used.has(returning.slot),
        };
        if settled {
            self.leave(*round, config.clone());
            return;
        }
        let unnoticed = node.begin && placed;
        if !unnoticed || self.may_matter(&returning.action, config, *round) {
            self.place_others(&node);
            if returning.action.changes() {
                self.place_returning(&node);
            }
        }
        if unnoticed {
            self.leave_unnoticed(*round, config);
        }
    }

    /// Could it be of use to anybody if it took effect now?
    fn may_matter(&self, action: &Action, config: &Config, round: usize) -> bool {
        let Needs::Values(needs) = &self.problem.needs else {
            return match action {
                Action::Write(to) => self.problem.space.as_of(*to, round) != OTHER,
                _ => true,
            };
        };
        let wanted = |state: State| {
            needs
                .get(state as usize)
                .is_some_and(|need| need.wanted > round)
        };
        action.makes().is_some_and(wanted) || self.is_way_out(needs, config, round)
    }

    /// A compare-and-set that fails later must not see what there is now, or
    /// could be before this round is over.
    fn is_way_out(&self, needs: &[Need], config: &Config, round: usize) -> bool {
        let problem = self.problem;
        let avoided = |state: State| {
            needs
                .get(state as usize)
                .is_some_and(|need| not_before(&need.avoided, round) > 0)
        };
        let open = problem.open[round]
            .iter()
            .map(|open| &problem.operations[*open].action);
        let unknown = problem.live[round]
            .iter()
            .map(|class| &problem.unknown[*class].action);
        avoided(config.state) || open.chain(unknown).filter_map(Action::makes).any(avoided)
    }

    /// Lets one more operation go before the returning one.
    fn place_others(&mut self, node: &Node) {
        let (problem, round) = (self.problem, node.round);
        for &class in problem.live[round].iter().rev() {
            if self.available(class, &node.config, round) {
                self.place_before(node, Who::Unknown(class));
            }
        }
        if problem.spare[round] > node.config.spare {
            self.place_before(node, Who::Spare);
        }
        for &open in problem.open[round].iter().rev() {
            let operation = &problem.operations[open];
            if open != round && operation.action.changes() && !node.config.used.has(operation.slot)
            {
                self.place_before(node, Who::Must(open));
            }
        }
    }

    fn place_before(&mut self, node: &Node, who: Who) {
        let (problem, round, config) = (self.problem, node.round, &node.config);
        let action = self.action(who);
        if node.idle && action.is_write() {
            return;
        }
        let Some(state) = problem.apply(action, config.state, round) else {
            return;
        };
        let same = state == config.state;
        if same && !action.is_write() {
            return;
        }
        if let Action::Write(to) = *action
            && problem.operations[round].action != Action::Read(to)
            && self.goes_unnoticed(to, config, round)
        {
            return;
        }
        let Some((next, seen)) = self.place(config, who, state, round) else {
            return;
        };
        // A write of what is there already: others may go directly before it.
        if same && !self.makes_room(config, &next, who) {
            return;
        }
        // A compare-and-set that returns can't be placed just anywhere.
        let needed = matches!((who, action), (Who::Must(_), Action::Cas(..)));
        let idle = !seen && !needed && !same;
        if idle && !self.leads_on(&next, round) {
            return;
        }
        self.push(Node {
            round,
            config: next,
            begin: false,
            idle,
        });
    }

    /// Others than `who` got a place.
    fn makes_room(&self, before: &Config, after: &Config, who: Who) -> bool {
        let mut placed = before.done.clone();
        if let Who::Must(at) = who {
            placed.set(self.problem.operations[at].slot);
        }
        after.done != placed
    }

    fn place_returning(&mut self, node: &Node) {
        let (problem, round, config) = (self.problem, node.round, &node.config);
        let returning = &problem.operations[round];
        let Some(state) = problem.apply(&returning.action, config.state, round) else {
            return;
        };
        if state == config.state && !returning.action.is_write() {
            // At the beginning of a round that is a place like any other.
            if !node.begin {
                self.leave(round, config.clone());
            }
            return;
        }
        if node.idle && returning.action.is_write() {
            return;
        }
        if let Some((next, _)) = self.place(config, Who::Must(round), state, round) {
            self.leave(round, next);
        }
    }

    /// The returning operation has a place where nobody noticed it, and will
    /// not take effect any more.
    fn leave_unnoticed(&mut self, round: usize, config: &Config) {
        let returning = &self.problem.operations[round];
        let mut next = config.clone();
        next.used.set(returning.slot);
        let lost = match returning.action.makes() {
            Some(state) => self.is_lost(state, &next, round),
            None => false,
        };
        if !lost && !self.is_dead_end(&next, round) {
            self.leave(round, next);
        }
    }

    /// The configuration after `who` brought about `state`, and whether it let
    /// somebody else have a place. `None` if nothing can come of it.
    fn place(
        &self,
        config: &Config,
        who: Who,
        state: State,
        round: usize,
    ) -> Option<(Config, bool)> {
        let problem = self.problem;
        let mut next = config.clone();
        match who {
            Who::Must(at) => {
                next.done.set(problem.operations[at].slot);
                next.used.set(problem.operations[at].slot);
            }
            Who::Unknown(class) => *next.spent.entry(class).or_default() += 1,
            Who::Spare => next.spare += 1,
        }
        if self.action(who).is_write() {
            for &open in &problem.open[round] {
                if problem.operations[open].action.is_total() {
                    next.done.set(problem.operations[open].slot);
                }
            }
            self.place_unnoticed(&mut next, state, round);
        }
        let before = std::mem::replace(&mut next.state, state);
        let seen = self.satisfy(&mut next, round);
        let lost = self.is_lost(before, &next, round) || self.is_dead_end(&next, round);
        (!lost).then_some((next, seen))
    }

    /// Places every open operation that changes nothing here. Was there one?
    fn satisfy(&self, config: &mut Config, round: usize) -> bool {
        let mut any = false;
        for &open in &self.problem.open[round] {
            let operation = &self.problem.operations[open];
            if !config.done.has(operation.slot)
                && self.problem.apply(&operation.action, config.state, round) == Some(config.state)
            {
                config.done.set(operation.slot);
                any = true;
            }
        }
        any
    }

    /// Directly before a write that leaves `state`: whole groups of a write and
    /// all its reads.
    fn place_unnoticed(&self, config: &mut Config, state: State, round: usize) {
        let problem = self.problem;
        let wanted: BTreeSet<State> = problem.open[round]
            .iter()
            .map(|open| &problem.operations[*open])
            .filter(|operation| !config.done.has(operation.slot))
            .filter_map(|operation| match operation.action {
                Action::Read(wanted) if wanted != state => Some(wanted),
                _ => None,
            })
            .collect();
        for value in wanted {
            if !self.goes_unnoticed(value, config, round) || !self.spend_write(value, config, round)
            {
                continue;
            }
            for &open in &problem.open[round] {
                if problem.operations[open].action == Action::Read(value) {
                    config.done.set(problem.operations[open].slot);
                }
            }
        }
    }

    /// Uses up a write of `value`, if there is one.
    fn spend_write(&self, value: State, config: &mut Config, round: usize) -> bool {
        let problem = self.problem;
        let write = Action::Write(value);
        let open = problem.open[round]
            .iter()
            .map(|open| &problem.operations[*open])
            .find(|operation| operation.action == write && !config.used.has(operation.slot));
        if let Some(operation) = open {
            config.done.set(operation.slot);
            config.used.set(operation.slot);
            return true;
        }
        let class = problem.live[round].iter().copied().find(|class| {
            problem.unknown[*class].action == write && self.available(*class, config, round)
        });
        if let Some(class) = class {
            *config.spent.entry(class).or_default() += 1;
        }
        class.is_some()
    }

    /// All who still see `value` are open reads, and nobody else could tell.
    fn goes_unnoticed(&self, value: State, config: &Config, round: usize) -> bool {
        let Needs::Values(needs) = &self.problem.needs else {
            return false;
        };
        let Some(need) = needs.get(value as usize) else {
            return false;
        };
        if need.watched > round || self.problem.last_avoided >= Some(round) {
            return false;
        }
        let waiting = self.count_open(round, |action, slot| {
            *action == Action::Read(value) && !config.done.has(slot)
        });
        waiting > 0 && waiting == self.left_to_see(value, need, config, round)
    }

    /// Somebody is still to see `state`, and nobody can bring it back.
    fn is_lost(&self, state: State, config: &Config, round: usize) -> bool {
        let Needs::Values(needs) = &self.problem.needs else {
            return false;
        };
        let Some(need) = needs.get(state as usize) else {
            return false;
        };
        state != config.state
            && self.left_to_see(state, need, config, round) > 0
            && !self.can_be_made(state, need, config, round)
    }

    fn left_to_see(&self, state: State, need: &Need, config: &Config, round: usize) -> usize {
        let placed = self.count_open(round, |action, slot| {
            action.sees() == Some(state) && config.done.has(slot)
        });
        not_before(&need.seen, round) - placed
    }

    fn can_be_made(&self, state: State, need: &Need, config: &Config, round: usize) -> bool {
        let used = self.count_open(round, |action, slot| {
            action.makes() == Some(state) && config.used.has(slot)
        });
        not_before(&need.made, round) > used
            || need
                .unknown
                .iter()
                .any(|class| self.problem.unknown[*class].since.len() > config.spent(*class))
    }

    fn count_open(&self, round: usize, mut which: impl FnMut(&Action, usize) -> bool) -> usize {
        self.problem.open[round]
            .iter()
            .map(|open| &self.problem.operations[*open])
            .filter(|operation| which(&operation.action, operation.slot))
            .count()
    }

    /// Without another put, all that is read later begins with what there is.
    fn is_dead_end(&self, config: &Config, round: usize) -> bool {
        let Needs::Prefixes(prefixes) = &self.problem.needs else {
            return false;
        };
        if self.put_left(prefixes, config, round) {
            return false;
        }
        let is_ahead = |at: u32| match prefixes.ranges.get(config.state as usize) {
            Some((begin, end)) => *begin <= at && at < *end,
            None => false,
        };
        let later = prefixes.later[round];
        if later.is_some_and(|(first, last)| !is_ahead(first) || !is_ahead(last)) {
            return true;
        }
        let behind = self.count_open(round, |action, slot| match action {
            Action::Read(state) => {
                !config.done.has(slot) && !is_ahead(prefixes.ranges[*state as usize].0)
            }
            _ => false,
        });
        behind > 0
    }

    fn put_left(&self, prefixes: &Prefixes, config: &Config, round: usize) -> bool {
        let open = self.count_open(round, |action, slot| {
            action.is_write() && !config.used.has(slot)
        });
        open > 0
            || prefixes.last_put > Some(round)
            || (0..self.problem.unknown.len()).any(|class| {
                let unknown = &self.problem.unknown[class];
                let live = match unknown.action {
                    Action::Write(to) => self.problem.space.as_of(to, round) != OTHER,
                    _ => false,
                };
                live && unknown.since.len() > config.spent(class)
            })
    }

    /// Some operation could go on from here, other than by writing over it.
    fn leads_on(&self, config: &Config, round: usize) -> bool {
        let problem = self.problem;
        let goes = |action: &Action| {
            let to = problem.apply(action, config.state, round);
            match action {
                Action::Cas(..) => to.is_some_and(|to| to != config.state),
                // What nobody will see needs nothing to go before it.
                Action::Append(_) => to.is_some_and(|to| to != config.state && to != OTHER),
                Action::Read(_) | Action::Differ(_) | Action::Write(_) => false,
            }
        };
        let open = |at: &usize| {
            let operation = &problem.operations[*at];
            !config.used.has(operation.slot) && goes(&operation.action)
        };
        problem.open[round].iter().any(open)
            || problem.live[round].iter().any(|class| {
                goes(&problem.unknown[*class].action) && self.available(*class, config, round)
            })
    }

    fn available(&self, class: usize, config: &Config, round: usize) -> bool {
        let begun = self.problem.unknown[class].begun(round);
        begun > config.spent(class)
    }

    fn action(&self, who: Who) -> &'a Action {
        match who {
            Who::Must(at) => &self.problem.operations[at].action,
            Who::Unknown(class) => &self.problem.unknown[class].action,
            Who::Spare => &Action::Write(OTHER),
        }
    }

    /// The round is over: its operation has returned.
    fn leave(&mut self, round: usize, mut config: Config) {
        let slot = self.problem.operations[round].slot;
        config.done.clear(slot);
        config.used.clear(slot);
        self.enter(round + 1, config);
    }

    fn enter(&mut self, round: usize, mut config: Config) {
        if round < self.problem.rounds() {
            config.state = self.problem.space.as_of(config.state, round);
            self.forget(&mut config, round);
            self.satisfy(&mut config, round);
        }
        self.push(Node {
            round,
            config,
            begin: true,
            idle: false,
        });
    }

    /// Writes whose value does not matter any more are spare ones from now on.
    fn forget(&self, config: &mut Config, round: usize) {
        let Config { spent, spare, .. } = config;
        spent.retain(|class, n| match self.problem.unknown[*class].action {
            Action::Write(to) if self.problem.space.as_of(to, round) == OTHER => {
                *spare += *n;
                false
            }
            _ => true,
        });
    }

    fn push(&mut self, node: Node) {
        let place = (node.round, node.begin, node.idle, node.config.state);
        // On the only path there is nothing to remember.
        if self.stack.is_empty() || self.seen.add(place, &node.config) {
            self.stack.push(node);
        }
    }
}

/// How many of these sorted rounds are this one or a later one.
fn not_before(rounds: &[usize], round: usize) -> usize {
    rounds.len() - rounds.partition_point(|r| *r < round)
}
