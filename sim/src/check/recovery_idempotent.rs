//! recovery-idempotent: opening again, or crashing in the open and opening
//! again, gives the same answer.

use std::collections::BTreeMap;
use std::hash::Hash;

use afterimage_engine::NodeId;
use xxhash_rust::xxh3::Xxh3;

use super::{Harm, Judge, Model, StoreModel, acked_durable, broken, no_resurrection};
use crate::trace::{Contents, Record, What};
use crate::verdict::{Invariant::RecoveryIdempotent as RULE, Violation};

/// After a power cut nothing is pending, and all opens until the node ran again
/// agree in everything. After a kill the cache may hold what was never
/// promised: an open that is itself cut off may lose that, but must stay
/// within the rules of what a crash may leave.
#[derive(Default, Clone)]
pub struct RecoveryIdempotent {
    nodes: BTreeMap<NodeId, Boot>,
}

#[derive(Default, Clone, Hash)]
struct Boot {
    /// The node was up, or its disk harmed, since its power went the last time.
    ran: bool,
    /// This boot began with a disk on which nothing was pending.
    settled: bool,
    /// What an open of this image gave.
    seen: Option<Contents>,
    /// What was promised when the boot began.
    promised: StoreModel,
}

impl Judge for RecoveryIdempotent {
    fn record(&mut self, record: &Record, model: &Model) -> Result<(), Violation> {
        let Some((id, node)) = model.node_of(record) else {
            return Ok(());
        };
        let boot = self.nodes.entry(id).or_default();
        if Harm::of(&record.what) != Harm::None {
            // It is another image now, and its cache may not show that.
            *boot = Boot {
                ran: true,
                settled: false,
                seen: None,
                ..std::mem::take(boot)
            };
        }
        let bad_disk = node.harm != Harm::None;
        let found = match &record.what {
            What::Boot { .. } => {
                boot.settled = !boot.ran;
                boot.promised = node.store.clone();
                Ok(())
            }
            What::PowerCut(_) => {
                if boot.ran {
                    boot.seen = None;
                }
                boot.ran = false;
                Ok(())
            }
            // The copy lost its cache, and shows what the original may not see.
            What::Reopened { contents } if bad_disk && (!boot.settled || contents.is_err()) => {
                Ok(())
            }
            What::Reopened { contents } => boot.reopened(contents),
            What::Up(contents) => {
                boot.ran = true;
                if boot.settled {
                    boot.compare(contents)
                } else {
                    Ok(())
                }
            }
            _ => Ok(()),
        };
        found.or_else(|what| broken(RULE, format!("n{id}: {what}")))
    }

    fn remember(&self, memory: &mut Xxh3) {
        self.nodes.hash(memory);
    }
}

impl Boot {
    fn reopened(&mut self, contents: &Result<Contents, String>) -> Result<(), String> {
        let contents = contents
            .as_ref()
            .map_err(|why| format!("opening again failed: {why}"))?;
        if self.settled {
            return self.compare(contents);
        }
        acked_durable::check(&self.promised, contents)
            .and_then(|()| no_resurrection::check(&self.promised, contents))
            .map_err(|what| format!("opened again: {what}"))
    }

    fn compare(&mut self, contents: &Contents) -> Result<(), String> {
        match &self.seen {
            Some(seen) if seen != contents => Err(difference(seen, contents)),
            Some(_) => Ok(()),
            None => {
                self.seen = Some(contents.clone());
                Ok(())
            }
        }
    }
}

fn difference(one: &Contents, other: &Contents) -> String {
    let what = if one.hard_state != other.hard_state {
        "hard states".to_owned()
    } else if one.snapshot != other.snapshot {
        "snapshots".to_owned()
    } else if (one.first_index, one.last_index) != (other.first_index, other.last_index) {
        format!(
            "logs: {}..{} and {}..{}",
            one.first_index, one.last_index, other.first_index, other.last_index
        )
    } else if one.entries != other.entries {
        "entries".to_owned()
    } else {
        "reasons for not reading on".to_owned()
    };
    format!("two opens of the same image gave different {what}")
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::RULE;

    /// 1/1 is durable, 1/2 is not.
    fn ran() -> Stream {
        Stream::new()
            .boot(1)
            .up(1, empty())
            .append(1, &[e(1, 1), e(1, 2)])
            .durable(1, 1)
    }
    fn short() -> crate::trace::Contents {
        log(&[e(1, 1)])
    }
    fn long() -> crate::trace::Contents {
        log(&[e(1, 1), e(1, 2)])
    }

    #[test]
    fn opens_of_one_image_agree() {
        let cut = || ran().power_cut(1).boot(1);
        cut().reopened(1, short()).up(1, short()).passes();
        cut().up(1, short()).reopened(1, short()).passes();
        cut().reopened(1, short()).up(1, long()).breaks(RULE);
        cut().up(1, long()).reopened(1, short()).breaks(RULE);
        cut()
            .reopened(1, voted(short(), 1, None))
            .up(1, short())
            .breaks(RULE);
    }

    /// Also where the disk says nothing of it.
    #[test]
    fn what_was_harmed_is_another_image() {
        let cut = || ran().power_cut(1).boot(1).reopened(1, short());
        cut().up(1, long()).breaks(RULE);
        cut().lost_write(1).up(1, long()).passes();
        cut().rotten(1).up(1, long()).passes();
    }

    #[test]
    fn an_open_cut_off_and_the_next_one_agree() {
        let cut = || {
            ran()
                .power_cut(1)
                .boot(1)
                .reopened(1, long())
                .power_cut(1)
                .boot(1)
        };
        cut().up(1, long()).passes();
        cut().up(1, short()).breaks(RULE);
        // Another image, another answer.
        cut()
            .up(1, long())
            .append(1, &[e(1, 3)])
            .power_cut(1)
            .boot(1)
            .up(1, log(&[e(1, 1), e(1, 2), e(1, 3)]))
            .passes();
    }

    #[test]
    fn after_a_kill_only_promises_bind() {
        let killed = || ran().killed(1).boot(1);
        killed().reopened(1, short()).up(1, long()).passes();
        killed().up(1, long()).reopened(1, short()).passes();
        killed().up(1, long()).reopened(1, empty()).breaks(RULE);
        killed().reopened(1, log(&[forged(1, 1)])).breaks(RULE);
    }

    #[test]
    fn opening_again_never_fails() {
        ran().power_cut(1).boot(1).reopen_failed(1).breaks(RULE);
        ran().killed(1).boot(1).reopen_failed(1).breaks(RULE);
    }
}
