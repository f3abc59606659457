//! converges: once the faults end, one leader serves and all members agree,
//! within a bound of simulated time.

use std::collections::BTreeMap;

use afterimage_engine::{Index, NodeId, Term};

use super::{Judge, Model, State, broken};
use crate::trace::{Record, What};
use crate::verdict::{Invariant::Converges as RULE, Violation};

/// Safety first, then liveness: this speaks about runs that healed, and about
/// those who take part in the end. A member whose disk went bad does not heal: it
/// need not be up, and need not keep up.
#[derive(Default, Clone)]
pub struct Converges {
    healed: bool,
    /// Only of these anything is asked.
    core: Option<Vec<NodeId>>,
    converged: bool,
    finals: BTreeMap<NodeId, Final>,
}

#[derive(Clone, Copy)]
struct Final {
    leader: bool,
    term: Term,
    applied: Index,
    state: u64,
}

impl Judge for Converges {
    fn record(&mut self, record: &Record, model: &Model) -> Result<(), Violation> {
        match (&record.what, record.node) {
            (What::Healed { core }, _) => {
                self.healed = true;
                if let Some(core) = core
                    && !model.is_quorum(|id| core.contains(&id) && model.is_sound(id))
                    && model.has_sound_quorum(None)
                {
                    return broken(RULE, "the core that is healed is no quorum");
                }
                self.core.clone_from(core);
            }
            (What::Converged { within_us: None }, _) => {
                if !model.has_sound_quorum(None) {
                    return Ok(());
                }
                return broken(
                    RULE,
                    format!("the cluster did not converge{}", self.down(model)),
                );
            }
            (What::Converged { within_us: Some(_) }, _) => {
                self.converged = true;
                let down = self.down(model);
                if !down.is_empty() {
                    return broken(RULE, format!("said to have converged{down}"));
                }
            }
            (
                What::Final {
                    leader,
                    term,
                    applied,
                    state,
                    ..
                },
                Some(id),
            ) => {
                let (leader, term, applied, state) = (*leader, *term, *applied, *state);
                self.finals.insert(
                    id,
                    Final {
                        leader,
                        term,
                        applied,
                        state,
                    },
                );
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, model: &Model) -> Result<(), Violation> {
        if (!self.healed && !self.converged) || !model.has_sound_quorum(None) {
            return Ok(());
        }
        self.agree(model).or_else(|what| broken(RULE, what))
    }
}

impl Converges {
    /// Whether the node must be there in the end, and agree.
    fn owes(&self, model: &Model, id: NodeId) -> bool {
        let healed = self.core.as_ref().is_none_or(|core| core.contains(&id));
        healed && model.is_member(id) && model.is_sound(id)
    }

    /// The nodes that should be up and are not, as the end of a sentence.
    fn down(&self, model: &Model) -> String {
        let down: Vec<String> = model
            .nodes
            .iter()
            .filter(|(id, node)| node.state != State::Up && self.owes(model, **id))
            .map(|(id, _)| format!("n{id}"))
            .collect();
        if down.is_empty() {
            String::new()
        } else {
            format!(": {} not up", down.join(", "))
        }
    }

    fn agree(&self, model: &Model) -> Result<(), String> {
        if !self.converged {
            return Err("the run ended before the cluster converged".to_owned());
        }
        let owes = |id: &NodeId| self.owes(model, *id);
        let mut nodes = model.nodes.keys().filter(|id| owes(id));
        if let Some(id) = nodes.find(|id| !self.finals.contains_key(id)) {
            return Err(format!("n{id} did not report its final state"));
        }
        let members = || self.finals.iter().filter(|(id, _)| model.is_member(**id));
        let Some((first_id, first)) = self.finals.iter().find(|(id, _)| owes(id)) else {
            return Err("no member reported its final state".to_owned());
        };
        let term = members().map(|(_, f)| f.term).max();
        let leads = |f: &Final| f.leader && Some(f.term) == term;
        let leaders = members().filter(|(_, f)| leads(f)).count();
        if leaders != 1 {
            return Err(format!("{leaders} leaders in the highest term"));
        }
        for (id, other) in &self.finals {
            if other.applied != first.applied {
                if !owes(id) {
                    continue;
                }
                return Err(format!(
                    "n{first_id} applied up to {}, n{id} up to {}",
                    first.applied, other.applied
                ));
            }
            if other.state != first.state {
                return Err(format!(
                    "n{first_id} and n{id} applied up to {} and differ",
                    first.applied
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::RULE;

    fn start() -> Stream {
        Stream::new().up(1, empty()).up(2, empty()).healed()
    }

    fn three() -> Stream {
        let members = Stream::new().up(1, empty()).up(2, empty());
        members.up(3, empty()).healed()
    }

    #[test]
    fn a_member_with_a_bad_disk_may_stay_behind() {
        let bad = || three().rotten(3);
        let both = |stream: Stream| {
            let one = stream.converged(true).last(1, true, 3, 9, 7);
            one.last(2, false, 3, 9, 7)
        };
        both(bad().killed(3)).passes();
        let behind = || both(bad()).last(3, false, 3, 8, 6);
        behind().passes();
        // But where it is, it agrees.
        both(bad()).last(3, false, 3, 9, 6).breaks(RULE);
        bad().killed(1).converged(true).breaks(RULE);
        bad().converged(false).breaks(RULE);
    }

    #[test]
    fn fewer_sound_members_than_a_quorum_owe_nothing() {
        let most = || three().rotten(2).rotten(3);
        most().converged(false).passes();
        most().killed(2).passes();
        start().rotten(2).converged(false).passes();
    }

    #[test]
    fn healed_clusters_converge() {
        let done = || start().converged(true).last(1, true, 3, 9, 7);
        done().last(2, false, 3, 9, 7).passes();
        done().last(2, true, 2, 9, 7).passes();
        done().last(2, true, 3, 9, 7).breaks(RULE);
        done().last(2, false, 4, 9, 7).breaks(RULE);
        done().last(2, false, 3, 8, 7).breaks(RULE);
        done().last(2, false, 3, 9, 6).breaks(RULE);
        done().breaks(RULE);
    }

    #[test]
    fn it_must_be_said() {
        start().breaks(RULE);
        start().converged(false).breaks(RULE);
        Stream::new().up(1, empty()).passes();
    }

    #[test]
    fn who_takes_part_in_the_end_agrees() {
        let start = || {
            let all = Stream::new().members(&[1, 2, 3]).boot(1).up(1, empty());
            let all = all.boot(2).up(2, empty()).boot(3).up(3, empty());
            // n3 is removed.
            all.append(1, &[e(1, 1)]).append(2, &[e(1, 1)])
        };
        let removed = || start().changed(1, 1, &[1, 2]).committed(1, 1, 1);
        let ends = |stream: Stream| {
            let stream = stream.healed().converged(true);
            stream.last(1, true, 1, 1, 7).last(2, false, 1, 1, 7)
        };
        ends(removed()).passes();
        ends(removed().killed(3)).passes();
        ends(removed()).last(3, false, 1, 0, 0).passes();
        // As long as that is not committed, it takes part.
        ends(start().changed(1, 1, &[1, 2])).breaks_at_the_end(RULE);
        // A spare that was added does.
        let added = start().changed(1, 1, &[1, 2, 3, 4]).committed(1, 1, 1);
        ends(added.boot(4).up(4, empty())).breaks_at_the_end(RULE);
    }

    #[test]
    fn only_the_core_that_is_healed_owes_anything() {
        let all = || {
            let all = Stream::new().members(&[1, 2, 3]).boot(1).up(1, empty());
            all.boot(2).up(2, empty()).boot(3).up(3, empty()).killed(3)
        };
        let ends = |stream: Stream| {
            let stream = stream.converged(true);
            stream.last(1, true, 1, 1, 7).last(2, false, 1, 1, 7)
        };
        ends(all().healed_core(&[1, 2])).passes();
        all().healed_core(&[1, 2]).converged(false).breaks(RULE);
        all().healed().converged(true).breaks(RULE);
        all().healed_core(&[1]).breaks(RULE);
    }

    /// A change that was under way counts until the log is seen to lack it.
    #[test]
    fn a_core_is_a_quorum_of_what_a_member_that_starts_may_go_by() {
        let starting = || {
            let all = Stream::new().members(&[1, 2, 3]).boot(1).up(1, empty());
            let all = all.boot(2).up(2, empty()).boot(3).up(3, empty());
            let removed = all.append(1, &[e(1, 1)]).changed(1, 1, &[1, 3]);
            removed.killed(1).boot(1).killed(1).boot(1)
        };
        let is_quorum = |stream: Stream, core: [u64; 2]| {
            let model = stream.model();
            model.is_quorum(|id| core.contains(&id.0))
        };
        assert!(!is_quorum(starting(), [1, 2]) && is_quorum(starting(), [1, 3]));
        let kept = || starting().up(1, log(&[e(1, 1)]));
        assert!(!is_quorum(kept(), [1, 2]) && is_quorum(kept(), [1, 3]));
        assert!(!is_quorum(kept().changed(1, 1, &[1, 3]), [1, 2]));
        assert!(is_quorum(starting().up(1, empty()), [1, 2]));
    }

    #[test]
    fn a_node_that_stays_down_is_a_failure() {
        start().power_cut(2).converged(true).breaks(RULE);
        start().power_cut(2).boot(2).converged(true).breaks(RULE);
    }
}
