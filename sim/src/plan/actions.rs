//! What a step does, as text: its name and its fields.

use afterimage_engine::{Index, NodeId, Term};

use super::fields::{Line, Visit};
use super::text::Problem;
use super::words::{DATA_BYTES_MAX, POSITION_MAX, Word, quote};
use super::{Action, Ask, Cluster, Deed, MessageKind, Side, StoreEntry, StoreOp, Target};
use crate::disk::{
    CrashPoint, CrashTrigger, Damage, DamageKind, FailTrigger, FaultKind, OpKind, Pattern,
};

const HOUR_MS: u64 = 3_600_000;
const NTH_MAX: u64 = 1_000_000;
const SPACE_BYTES_MAX: u64 = 1 << 30;

impl Action {
    /// The step's name in text. Some stand for two actions: the plan's scenario
    /// tells which.
    pub fn name(&self) -> &'static str {
        match self {
            Action::Partition { .. } => "partition",
            Action::Crash { .. } => "crash",
            Action::Kill { .. } => "kill",
            Action::Fail { .. } => "fail",
            Action::Full { .. } => "full",
            Action::Evict { .. } => "evict",
            Action::Slow { .. } => "slow",
            Action::Lose { .. } => "lose",
            Action::Mend { .. } => "mend",
            Action::Await { .. } => "await",
            Action::Heal => "heal",
            Action::Damage { damage, .. } => damage_name(damage),
            Action::Ask { ask, .. } => match ask {
                Ask::AddLearner => "add_learner",
                Ask::Promote => "promote",
                Ask::Remove => "remove",
                Ask::Transfer => "transfer",
            },
            Action::LoseDisk { .. } => "lose_disk",
            Action::Pause { .. } => "pause",
            Action::Jump { .. } => "jump",
            Action::Store(op) => match op {
                StoreOp::Append { .. } => "append",
                StoreOp::Sync => "sync",
                StoreOp::Truncate { .. } => "truncate",
                StoreOp::HardState { .. } => "hard_state",
                StoreOp::Save { .. } => "save",
                StoreOp::Install { .. } => "install",
                StoreOp::Commit { .. } => "commit",
                StoreOp::Read { .. } => "read",
                StoreOp::Clean { .. } => "clean",
                StoreOp::Prepare { .. } => "prepare",
                StoreOp::Wait => "wait",
                StoreOp::Crash { .. } => "crash",
                StoreOp::Cut { .. } => "cut",
                StoreOp::Kill => "kill",
                StoreOp::KillAt { .. } => "kill_at",
                StoreOp::Restart => "restart",
                StoreOp::Fail(_) => "fail",
                StoreOp::Full { .. } => "full",
                StoreOp::Space => "space",
                StoreOp::Heal => "heal",
                StoreOp::Evict => "evict",
                StoreOp::Damage(damage) => damage_name(damage),
                StoreOp::Check => "check",
            },
        }
    }

    /// Whom the step aims at, if it aims at one node.
    pub fn target(&self) -> Option<Target> {
        self.clone().target_mut().copied()
    }

    /// As [`Action::target`].
    pub fn target_mut(&mut self) -> Option<&mut Target> {
        match self {
            Action::Crash { target, .. }
            | Action::Kill { target, .. }
            | Action::Fail { target, .. }
            | Action::Full { target, .. }
            | Action::Evict { target }
            | Action::Damage { target, .. }
            | Action::Slow { target, .. }
            | Action::Pause { target, .. }
            | Action::Jump { target, .. }
            | Action::Ask { target, .. }
            | Action::Await { target, .. }
            | Action::LoseDisk { target } => Some(target),
            Action::Partition { .. }
            | Action::Lose { .. }
            | Action::Mend { .. }
            | Action::Heal
            | Action::Store(_) => None,
        }
    }

    /// Rules over more than one field.
    pub(super) fn check(&self, cluster: &Cluster) -> Result<(), Problem> {
        let beyond = |what: &str, found: String, allowed: String| {
            Err(Problem::Invalid {
                what: what.to_string(),
                found: quote(&found),
                allowed,
            })
        };
        let nodes = cluster.nodes + cluster.spares;
        let member = |id: &NodeId| id.0 <= u64::from(nodes);
        let members = || format!("members n1 to n{nodes}, as many as `cluster` says");
        match self {
            Action::Partition { side, .. } => match side {
                Side::Nodes(ids) if !ids.iter().all(member) => {
                    beyond("side", side.print(), members())
                }
                Side::Bridge(id) if !member(id) => beyond("side", side.print(), members()),
                _ => Ok(()),
            },
            Action::Lose { from, to, .. } => {
                for side in std::iter::once(from).chain(to) {
                    match side {
                        Side::Nodes(ids) if !ids.iter().all(member) => {
                            return beyond("side", side.print(), members());
                        }
                        Side::Ring | Side::Bridge(_) => {
                            return beyond("side", side.print(), "a set of members".to_owned());
                        }
                        _ => {}
                    }
                }
                Ok(())
            }
            Action::Store(StoreOp::Append { entries, .. }) => {
                let follows =
                    |a: &StoreEntry, b: &StoreEntry| b.index == a.index.next() && b.term >= a.term;
                if let Some(pair) = entries.windows(2).find(|pair| !follows(&pair[0], &pair[1])) {
                    let allowed = format!(
                        "index {} in term {} or later, after {}",
                        pair[0].index.next(),
                        pair[0].term,
                        pair[0].print()
                    );
                    return beyond("entry", pair[1].print(), allowed);
                }
                let bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
                if bytes > DATA_BYTES_MAX {
                    let allowed = format!("up to {DATA_BYTES_MAX} bytes in one step");
                    return beyond("entries", format!("{bytes} bytes"), allowed);
                }
                Ok(())
            }
            _ => match self.target() {
                Some(Target::Node(id)) if !member(&id) => beyond("target", id.print(), members()),
                _ => Ok(()),
            },
        }
    }
}

/// Each action of a cluster's plan, with the defaults of its keys.
pub(super) fn cluster_actions() -> Vec<Action> {
    let target = Target::Leader;
    vec![
        Action::Partition {
            side: Side::Leader,
            one_way: false,
            for_ms: 1000,
            flap_ms: 0,
        },
        Action::Crash {
            target,
            pattern: any_operation(),
            nth: 0,
            point: CrashPoint::Before,
            during: None,
            down_ms: 500,
            keep: None,
        },
        Action::Kill {
            target,
            down_ms: 200,
        },
        Action::Fail {
            target,
            trigger: fail_trigger(),
        },
        Action::Full {
            target,
            bytes: 0,
            for_ms: 1000,
        },
        Action::Evict { target },
        Action::Slow {
            target,
            factor: 10,
            for_ms: 1000,
        },
        Action::Damage {
            target,
            damage: damage(DamageKind::Rot),
        },
        Action::Damage {
            target,
            damage: damage(DamageKind::Unreadable),
        },
        Action::Lose {
            from: Side::Leader,
            to: None,
            kind: MessageKind::APPEND,
            for_ms: HOUR_MS,
        },
        Action::Mend { step: 0 },
        Action::Await {
            target,
            until: Deed::Leads,
            nth: 1,
            within_ms: 5000,
        },
        Action::Heal,
        Action::Pause {
            target,
            for_ms: 500,
        },
        Action::Jump {
            target,
            by_ms: 1000,
            back: false,
        },
        ask(Ask::AddLearner),
        ask(Ask::Promote),
        ask(Ask::Remove),
        ask(Ask::Transfer),
        Action::LoseDisk { target },
    ]
}

fn ask(ask: Ask) -> Action {
    Action::Ask {
        ask,
        target: Target::Leader,
        stop: false,
        for_ms: 3000,
    }
}

/// Each action of a plan for one store, with the defaults of its keys.
pub(super) fn store_actions() -> Vec<Action> {
    let start = Index(0);
    [
        StoreOp::Append {
            entries: Vec::new(),
            unsynced: false,
        },
        StoreOp::Sync,
        StoreOp::Truncate { from: start },
        StoreOp::HardState {
            term: Term(0),
            vote: None,
        },
        StoreOp::Save {
            upto: start,
            bytes: 0,
            background: false,
        },
        StoreOp::Install {
            last: start,
            term: Term(0),
            bytes: 0,
            background: false,
        },
        StoreOp::Commit { upto: start },
        StoreOp::Read {
            from: start,
            background: false,
        },
        StoreOp::Clean { background: false },
        StoreOp::Prepare { background: false },
        StoreOp::Wait,
        StoreOp::Crash {
            trigger: CrashTrigger {
                pattern: any_operation(),
                nth: 1,
                point: CrashPoint::Before,
            },
            keep: None,
        },
        StoreOp::Cut { keep: None },
        StoreOp::Kill,
        StoreOp::KillAt {
            pattern: any_operation(),
            nth: 1,
        },
        StoreOp::Restart,
        StoreOp::Fail(fail_trigger()),
        StoreOp::Full { bytes: 0 },
        StoreOp::Space,
        StoreOp::Heal,
        StoreOp::Evict,
        StoreOp::Damage(damage(DamageKind::Rot)),
        StoreOp::Damage(damage(DamageKind::Unreadable)),
        StoreOp::Check,
    ]
    .map(Action::Store)
    .into()
}

/// Of any file, at any place.
fn damage(kind: DamageKind) -> Damage {
    Damage {
        kind,
        file: "*".to_string(),
        sector: None,
        bit: None,
    }
}

fn damage_name(damage: &Damage) -> &'static str {
    match damage.kind {
        DamageKind::Rot => "rot",
        DamageKind::Unreadable => "unreadable",
    }
}

fn any_operation() -> Pattern {
    Pattern {
        kind: None,
        name: "*".to_string(),
    }
}

fn fail_trigger() -> FailTrigger {
    FailTrigger {
        pattern: Pattern {
            kind: Some(OpKind::Sync),
            name: "*".to_string(),
        },
        nth: 1,
        fault: FaultKind::Eio,
    }
}

impl Line for FailTrigger {
    fn visit<V: Visit>(&mut self, v: &mut V) -> Result<(), V::Error> {
        v.key("op", &mut self.pattern)?;
        v.number("nth", &mut self.nth, 1..=NTH_MAX)?;
        v.key("fault", &mut self.fault)
    }
}

impl Line for Damage {
    fn visit<V: Visit>(&mut self, v: &mut V) -> Result<(), V::Error> {
        v.key("file", &mut self.file)?;
        v.option("sector", &mut self.sector)?;
        match self.kind {
            DamageKind::Rot => v.option("bit", &mut self.bit),
            DamageKind::Unreadable => Ok(()),
        }
    }
}

impl Line for Action {
    fn visit<V: Visit>(&mut self, v: &mut V) -> Result<(), V::Error> {
        match self {
            Action::Partition {
                side,
                one_way,
                for_ms,
                flap_ms,
            } => {
                v.word("side", side)?;
                v.flag("one_way", one_way)?;
                v.number("for", for_ms, 0..=HOUR_MS)?;
                if *flap_ms > 0 || v.given("flap") {
                    v.number("flap", flap_ms, 0..=HOUR_MS)?;
                }
                Ok(())
            }
            Action::Crash {
                target,
                pattern,
                nth,
                point,
                during,
                down_ms,
                keep,
            } => {
                v.word("target", target)?;
                v.option("during", during)?;
                if v.given("op") {
                    // Who names an operation means the first one, not "at once".
                    *nth = 1;
                }
                v.key("op", pattern)?;
                v.number("nth", nth, 0..=NTH_MAX)?;
                v.key("point", point)?;
                v.number("down", down_ms, 0..=HOUR_MS)?;
                v.option("keep", keep)
            }
            Action::Kill { target, down_ms } => {
                v.word("target", target)?;
                v.number("down", down_ms, 0..=HOUR_MS)
            }
            Action::Fail { target, trigger } => {
                v.word("target", target)?;
                trigger.visit(v)
            }
            Action::Full {
                target,
                bytes,
                for_ms,
            } => {
                v.word("target", target)?;
                v.number("bytes", bytes, 0..=SPACE_BYTES_MAX)?;
                v.number("for", for_ms, 0..=HOUR_MS)
            }
            Action::Evict { target } => v.word("target", target),
            Action::Damage { target, damage } => {
                v.word("target", target)?;
                damage.visit(v)
            }
            Action::Slow {
                target,
                factor,
                for_ms,
            } => {
                v.word("target", target)?;
                v.number("factor", factor, 1..=1_000_000)?;
                v.number("for", for_ms, 0..=HOUR_MS)
            }
            Action::Lose {
                from,
                to,
                kind,
                for_ms,
            } => {
                v.word("side", from)?;
                v.option("to", to)?;
                v.must("kind")?;
                v.key("kind", kind)?;
                v.number("for", for_ms, 0..=HOUR_MS)
            }
            Action::Mend { step } => v.word("step", step),
            Action::Await {
                target,
                until,
                nth,
                within_ms,
            } => {
                v.word("target", target)?;
                v.must("until")?;
                v.key("until", until)?;
                v.number("nth", nth, 1..=NTH_MAX)?;
                v.number("within", within_ms, 1..=HOUR_MS)
            }
            Action::Heal => Ok(()),
            Action::Ask {
                ask,
                target,
                stop,
                for_ms,
            } => {
                v.word("target", target)?;
                if *ask == Ask::Remove {
                    v.flag("stop", stop)?;
                }
                v.number("for", for_ms, 0..=HOUR_MS)
            }
            Action::LoseDisk { target } => v.word("target", target),
            Action::Pause { target, for_ms } => {
                v.word("target", target)?;
                v.number("for", for_ms, 0..=HOUR_MS)
            }
            Action::Jump {
                target,
                by_ms,
                back,
            } => {
                v.word("target", target)?;
                v.flag("back", back)?;
                v.number("by", by_ms, 0..=HOUR_MS)
            }
            Action::Store(op) => op.visit(v),
        }
    }
}

impl Line for StoreOp {
    fn visit<V: Visit>(&mut self, v: &mut V) -> Result<(), V::Error> {
        let position = 1..=POSITION_MAX;
        match self {
            StoreOp::Append { entries, unsynced } => {
                v.flag("unsynced", unsynced)?;
                v.words("entry", entries)
            }
            StoreOp::Truncate { from } => {
                v.must("from")?;
                v.number("from", &mut from.0, position)
            }
            StoreOp::HardState { term, vote } => {
                v.must("term")?;
                v.number("term", &mut term.0, position)?;
                v.option("vote", vote)
            }
            StoreOp::Save {
                upto,
                bytes,
                background,
            } => {
                v.flag("background", background)?;
                v.must("upto")?;
                v.number("upto", &mut upto.0, position)?;
                v.number("bytes", bytes, 0..=DATA_BYTES_MAX)
            }
            StoreOp::Install {
                last,
                term,
                bytes,
                background,
            } => {
                v.flag("background", background)?;
                v.must("last")?;
                v.number("last", &mut last.0, position.clone())?;
                v.must("term")?;
                v.number("term", &mut term.0, position)?;
                v.number("bytes", bytes, 0..=DATA_BYTES_MAX)
            }
            StoreOp::Read { from, background } => {
                v.flag("background", background)?;
                v.must("from")?;
                v.number("from", &mut from.0, position)
            }
            StoreOp::Commit { upto } => {
                v.must("upto")?;
                v.number("upto", &mut upto.0, position)
            }
            StoreOp::Crash { trigger, keep } => {
                v.key("op", &mut trigger.pattern)?;
                v.number("nth", &mut trigger.nth, 1..=NTH_MAX)?;
                v.key("point", &mut trigger.point)?;
                v.option("keep", keep)
            }
            StoreOp::KillAt { pattern, nth } => {
                v.key("op", pattern)?;
                v.number("nth", nth, 1..=NTH_MAX)
            }
            StoreOp::Cut { keep } => v.option("keep", keep),
            StoreOp::Fail(trigger) => trigger.visit(v),
            StoreOp::Damage(damage) => damage.visit(v),
            StoreOp::Full { bytes } => v.number("bytes", bytes, 0..=SPACE_BYTES_MAX),
            StoreOp::Clean { background } | StoreOp::Prepare { background } => {
                v.flag("background", background)
            }
            StoreOp::Sync
            | StoreOp::Wait
            | StoreOp::Kill
            | StoreOp::Restart
            | StoreOp::Space
            | StoreOp::Heal
            | StoreOp::Evict
            | StoreOp::Check => Ok(()),
        }
    }
}
