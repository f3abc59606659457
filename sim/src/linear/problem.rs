//! One key's operations, prepared for the search.
//!
//! Time is counted in **rounds**: in each, one operation returns. An operation
//! is open from the first return after its beginning to its own.

use std::collections::BTreeMap;

use super::Part;
use super::history::{Call, Done, Model};
use super::space::{OTHER, Space, State};

#[derive(Debug)]
pub(super) struct Problem {
    pub space: Space,
    /// Operations that returned, in the order of their returns: operation `n`
    /// returns in round `n`.
    pub operations: Vec<Must>,
    /// Operations of which nobody knows, those with the same effect together:
    /// any of them does for any other that has begun.
    pub unknown: Vec<Unknown>,
    /// In each round, which of them have begun, and can do something that one
    /// of the spare writes cannot.
    pub live: Vec<Vec<usize>>,
    /// In each round, how many unknown writes have begun whose value nobody can
    /// tell from others any more: they are all alike.
    pub spare: Vec<usize>,
    /// Who is open in each round, the returning one included.
    pub open: Vec<Vec<usize>>,
    /// Places that open operations take in a configuration.
    pub slots: usize,
    pub needs: Needs,
    /// The last round in which a compare-and-set fails.
    pub last_avoided: Option<usize>,
}

/// An operation that has a place in every linearization.
#[derive(Debug)]
pub(super) struct Must {
    pub action: Action,
    pub since: usize,
    /// Its place among the open ones.
    pub slot: usize,
}

/// Operations that may have taken effect.
#[derive(Debug)]
pub(super) struct Unknown {
    pub action: Action,
    /// In which round each became open, sorted.
    pub since: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Read(State),
    /// A compare-and-set that failed saw something else.
    Differ(State),
    Write(State),
    Cas(State, State),
    Append(String),
}

/// Who needs which state, and who can bring it about.
#[derive(Debug)]
pub(super) enum Needs {
    /// Without appends: by state.
    Values(Vec<Need>),
    /// With appends: what is read later must begin with what there is now.
    Prefixes(Prefixes),
}

#[derive(Debug, Default, Clone)]
pub(super) struct Need {
    /// The rounds in which those return that must see it.
    pub seen: Vec<usize>,
    /// The rounds in which those return that bring it about.
    pub made: Vec<usize>,
    /// The unknown ones that can.
    pub unknown: Vec<usize>,
    /// The rounds in which compare-and-sets fail that must see another one.
    pub avoided: Vec<usize>,
    /// Before this round somebody still has to see it, or what an unknown
    /// compare-and-set makes of it.
    pub wanted: usize,
    /// Before this round an unknown compare-and-set can make something of it
    /// that is wanted.
    pub watched: usize,
}

#[derive(Debug)]
pub(super) struct Prefixes {
    /// By state: see `Trie::ranges`.
    pub ranges: Vec<(u32, u32)>,
    /// The first and the last (by range) state that is read by those who begin
    /// after a round.
    pub later: Vec<Option<(u32, u32)>>,
    /// The round in which the last put begins.
    pub last_put: Option<usize>,
}

impl Unknown {
    /// How many have begun by this round.
    pub fn begun(&self, round: usize) -> usize {
        self.since.partition_point(|since| *since <= round)
    }
}

impl Action {
    pub fn changes(&self) -> bool {
        !matches!(self, Action::Read(_) | Action::Differ(_))
    }
    /// It can be done in any state, and nothing of that state remains.
    pub fn is_write(&self) -> bool {
        matches!(self, Action::Write(_))
    }
    /// It can be done in any state.
    pub fn is_total(&self) -> bool {
        matches!(self, Action::Write(_) | Action::Append(_))
    }
    /// The state it leaves, if that is the same for all.
    pub fn makes(&self) -> Option<State> {
        match self {
            Action::Write(to) | Action::Cas(_, to) if *to != OTHER => Some(*to),
            _ => None,
        }
    }
    /// The state it must find.
    pub fn sees(&self) -> Option<State> {
        match self {
            Action::Read(state) | Action::Cas(state, _) => Some(*state),
            _ => None,
        }
    }
}

/// An operation with its lines.
struct Timed<'a> {
    call: &'a Call,
    failed: bool,
    invoked: usize,
    /// `None` if nobody knows whether it took effect.
    returned: Option<usize>,
}

impl Problem {
    pub fn new(part: &Part) -> Self {
        let timed = timed(part);
        let mut returns: Vec<usize> = timed.iter().filter_map(|t| t.returned).collect();
        returns.sort_unstable();
        let round = |line: usize| returns.partition_point(|r| *r < line);

        let model = part.history.model;
        let mut space = space(model, &timed, &round);
        let mut operations: Vec<Option<Must>> = returns.iter().map(|_| None).collect();
        let mut unknown: BTreeMap<Action, Vec<usize>> = BTreeMap::new();
        for t in &timed {
            let (action, since) = (action(t, &space), round(t.invoked));
            match t.returned {
                Some(line) => {
                    operations[round(line)] = Some(Must {
                        action,
                        since,
                        slot: 0,
                    });
                }
                None => unknown.entry(action).or_default().push(since),
            }
        }
        let mut operations: Vec<Must> = operations.into_iter().flatten().collect();
        assert_eq!(operations.len(), returns.len(), "one return a line");
        let (open, slots) = seat(&mut operations);
        let unknown: Vec<Unknown> = unknown
            .into_iter()
            .map(|(action, since)| Unknown { action, since })
            .collect();
        let needs = match space.ranges() {
            Some(ranges) => Needs::Prefixes(prefixes(ranges, &operations)),
            None => Needs::Values(values(&mut space, &operations, &unknown)),
        };
        let fails = |operation: &Must| matches!(operation.action, Action::Differ(_));
        let last_avoided = operations.iter().rposition(fails);
        let (live, spare) = supply(&space, operations.len(), &unknown);
        Problem {
            space,
            operations,
            unknown,
            live,
            spare,
            open,
            slots,
            needs,
            last_avoided,
        }
    }

    pub fn rounds(&self) -> usize {
        self.operations.len()
    }

    /// The state after `action` on `state`, if it can be done there.
    pub fn apply(&self, action: &Action, state: State, round: usize) -> Option<State> {
        let to = match action {
            Action::Read(seen) => return (state == *seen).then_some(state),
            Action::Differ(from) => return (state != *from).then_some(state),
            Action::Cas(from, _) if state != *from => return None,
            Action::Cas(_, to) | Action::Write(to) => *to,
            Action::Append(value) => self.space.append(state, value),
        };
        Some(self.space.as_of(to, round))
    }
}

fn timed<'a>(part: &Part<'a>) -> Vec<Timed<'a>> {
    let mut timed = Vec::new();
    for at in part.operations {
        let operation = &part.history.operations[*at];
        if operation.invoked > part.end {
            continue;
        }
        let ended = match part.unknown.contains(at) {
            true => None,
            false => operation.ended_by(part.end),
        };
        let (failed, returned) = match (&operation.call, ended) {
            (_, Some((line, Done::Ok))) => (false, Some(line)),
            (Call::Cas { .. }, Some((line, Done::Fail))) => (true, Some(line)),
            // It took no effect, or it has none: nothing to place.
            (_, Some((_, Done::Fail))) | (Call::Read { .. }, _) => continue,
            (_, Some((_, Done::Info)) | None) => (false, None),
        };
        timed.push(Timed {
            call: &operation.call,
            failed,
            invoked: operation.invoked,
            returned,
        });
    }
    timed
}

fn space(model: Model, timed: &[Timed], round: &impl Fn(usize) -> usize) -> Space {
    let appends = timed.iter().any(|t| matches!(t.call, Call::Append { .. }));
    let seen = timed.iter().filter_map(|t| match t.call {
        Call::Read { seen: Some(value) } | Call::Cas { from: value, .. } => {
            // What an unknown one is good for is found out later: `values`.
            Some((value.as_str(), t.returned.map_or(0, round)))
        }
        _ => None,
    });
    Space::new(model, appends, seen)
}

fn action(timed: &Timed, space: &Space) -> Action {
    match timed.call {
        Call::Read { seen } => Action::Read(space.find(seen.as_deref().unwrap_or_default())),
        Call::Write { value } => Action::Write(space.find(value)),
        Call::Append { value } => Action::Append(value.clone()),
        Call::Cas { from, .. } if timed.failed => Action::Differ(space.find(from)),
        Call::Cas { from, to } => Action::Cas(space.find(from), space.find(to)),
    }
}

/// Who is open in each round, and a slot for each, free again after its return.
fn seat(operations: &mut [Must]) -> (Vec<Vec<usize>>, usize) {
    let mut begin: Vec<Vec<usize>> = operations.iter().map(|_| Vec::new()).collect();
    for (at, operation) in operations.iter().enumerate() {
        begin[operation.since].push(at);
    }
    let (mut open, mut now) = (Vec::new(), Vec::new());
    let (mut free, mut slots) = (Vec::new(), 0);
    for (round, new) in begin.into_iter().enumerate() {
        for at in new {
            operations[at].slot = free.pop().unwrap_or_else(|| {
                slots += 1;
                slots - 1
            });
            now.push(at);
        }
        open.push(now.clone());
        now.retain(|at| *at != round);
        free.push(operations[round].slot);
    }
    (open, slots)
}

fn values(space: &mut Space, operations: &[Must], unknown: &[Unknown]) -> Vec<Need> {
    let mut needs = vec![Need::default(); space.len()];
    for (round, operation) in operations.iter().enumerate() {
        if let Action::Differ(state) = operation.action {
            needs[state as usize].avoided.push(round);
        }
        if let Some(state) = operation.action.sees() {
            needs[state as usize].seen.push(round);
            needs[state as usize].wanted = round + 1;
        }
        if let Some(state) = operation.action.makes() {
            needs[state as usize].made.push(round);
        }
    }
    let mut chain: Vec<(usize, usize)> = Vec::new();
    for (class, unknown) in unknown.iter().enumerate() {
        if let Some(state) = unknown.action.makes() {
            needs[state as usize].unknown.push(class);
        }
        if let Action::Cas(from, to) = unknown.action
            && to != OTHER
        {
            chain.push((from as usize, to as usize));
        }
    }
    // What leads to a wanted state is wanted as long as that.
    let mut changed = true;
    while changed {
        changed = false;
        for &(from, to) in &chain {
            let wanted = needs[to].wanted;
            changed |= needs[from].wanted < wanted;
            needs[from].wanted = needs[from].wanted.max(wanted);
            needs[from].watched = needs[from].watched.max(wanted);
        }
    }
    for (state, need) in (0..).zip(&needs) {
        if need.wanted > 0 {
            space.keep(state, need.wanted - 1);
        }
    }
    needs
}

/// See [`Problem::live`] and [`Problem::spare`].
fn supply(space: &Space, rounds: usize, unknown: &[Unknown]) -> (Vec<Vec<usize>>, Vec<usize>) {
    let (mut live, mut spare) = (vec![Vec::new(); rounds], vec![0; rounds]);
    for (class, unknown) in unknown.iter().enumerate() {
        let first = unknown.since[0];
        for round in first..rounds {
            let dead = |state| space.as_of(state, round) == OTHER;
            match unknown.action {
                Action::Write(to) if dead(to) => spare[round] += unknown.begun(round),
                Action::Cas(from, _) if dead(from) => {}
                _ => live[round].push(class),
            }
        }
    }
    (live, spare)
}

fn prefixes(ranges: Vec<(u32, u32)>, operations: &[Must]) -> Prefixes {
    let mut later = vec![None; operations.len()];
    let mut last_put = None;
    for operation in operations {
        match operation.action {
            Action::Read(state) if operation.since > 0 => {
                let at = ranges[state as usize].0;
                let (min, max) = later[operation.since - 1].unwrap_or((at, at));
                later[operation.since - 1] = Some((at.min(min), at.max(max)));
            }
            Action::Write(_) => last_put = last_put.max(Some(operation.since)),
            _ => {}
        }
    }
    let mut behind: Option<(u32, u32)> = None;
    for slot in later.iter_mut().rev() {
        behind = match (*slot, behind) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
        *slot = behind;
    }
    Prefixes {
        ranges,
        later,
        last_put,
    }
}
