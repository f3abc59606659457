//! corruption-reported: with latent corruption there is a named error or a
//! repaired copy, never silent loss, never a wrong byte.

use std::collections::BTreeMap;

use afterimage_engine::store::Report;
use afterimage_engine::{Event, Index, NodeId};

use super::{
    Harm, Judge, Model, NodeModel, State, StoreModel, acked_durable, broken, no_resurrection,
};
use crate::trace::{Contents, Record, What};
use crate::verdict::{Invariant::CorruptionReported as RULE, Violation};

/// For a store whose disk has gone bad it takes the place of `acked-durable`
/// and `recovery-available`. Such a store may
/// - refuse to open, or give up, or stop reading, with an error that names the
///   file and the offset;
/// - come up without acknowledged entries at the end, or with an older hard
///   state, if its report says that this may be so: a record that rotted before
///   anything was written behind it looks like one that was torn.
///
/// What it shows is right in any case. Where a disk acknowledged a write and
/// lost it ([`Harm::Unseen`]), no checksum of one node can tell that it was
/// ever there: the end of the log may then be missing without a word.
#[derive(Default, Clone)]
pub struct CorruptionReported {
    nodes: BTreeMap<NodeId, Store>,
}

#[derive(Default, Clone)]
struct Store {
    /// What the open at hand said.
    said: Said,
    /// Latent faults so far.
    faults: u32,
    proof: Proof,
}

/// What cannot be taken for a torn tail: a record says how far the log was
/// durable when it was written, and so everything up to there must be.
#[derive(Default, Clone)]
struct Proof {
    /// Batches: the first index, and what was durable when it was appended.
    batches: Vec<(Index, Index)>,
    upto: Index,
}

impl Proof {
    fn apply(&mut self, event: &Event, store: &StoreModel) {
        match event {
            Event::Appended { entries } => {
                if let Some(first) = entries.first() {
                    self.cut(first.index);
                    let durable = store.durable_index().min(first.index.prev());
                    self.batches.push((first.index, durable));
                }
            }
            Event::TruncateRequested { from } => self.cut(*from),
            Event::Durable { index } => {
                let written = self.batches.partition_point(|(first, _)| first <= index);
                for (_, durable) in self.batches.drain(..written) {
                    self.upto = self.upto.max(durable);
                }
            }
            _ => {}
        }
    }

    fn cut(&mut self, from: Index) {
        self.batches.retain(|(first, _)| *first < from);
        self.upto = self.upto.min(from.prev());
    }
}

#[derive(Default, Clone, Copy)]
struct Said {
    ambiguous_tail: bool,
    bad_slot: bool,
}

impl Said {
    fn of(report: &Report) -> Self {
        Said {
            ambiguous_tail: report.ambiguous_tail,
            bad_slot: report.bad_hard_state_slot,
        }
    }
}

impl Judge for CorruptionReported {
    fn record(&mut self, record: &Record, model: &Model) -> Result<(), Violation> {
        let Some((id, node)) = model.node_of(record) else {
            return Ok(());
        };
        let store = self.nodes.entry(id).or_default();
        store.faults += u32::from(Harm::of(&record.what) != Harm::None);
        match &record.what {
            What::Boot { .. } => store.said = Said::default(),
            What::Engine(Event::Recovered(report)) => store.said = Said::of(report),
            What::Engine(event) if node.state == State::Up => store.proof.apply(event, &node.store),
            _ => {}
        }
        let found = store.judge(record, node);
        if let What::Up(contents) = &record.what {
            store.proof.batches.clear();
            store.proof.cut(contents.last_index.next());
        }
        found.or_else(|what| broken(RULE, format!("n{id}: {what}")))
    }
}

impl Store {
    fn judge(&mut self, record: &Record, node: &NodeModel) -> Result<(), String> {
        if node.harm == Harm::None {
            return Ok(());
        }
        match &record.what {
            What::Up(contents) => self.check(&node.store, contents, node.harm),
            // What an open said does not excuse what is lost later.
            What::Read(contents) => {
                self.said = Said::default();
                self.check(&node.store, contents, node.harm)
            }
            What::OpenFailed {
                error,
                excused: false,
                corrupt: false,
            }
            | What::Died {
                error,
                excused: false,
                corrupt: false,
            } => Err(format!("an error that names no corruption: {error}")),
            _ => Ok(()),
        }
    }

    fn check(&self, store: &StoreModel, contents: &Contents, harm: Harm) -> Result<(), String> {
        no_resurrection::check(store, contents)?;
        let unseen = harm == Harm::Unseen;
        if !self.said.bad_slot && !unseen {
            acked_durable::check_hard_state(store, contents)
                .map_err(|what| format!("no bad slot was reported: {what}"))?;
        }
        match &contents.unreadable {
            // It stopped with an error; what it had read by then was right.
            Some(_) if contents.corrupt => return Ok(()),
            Some(why) => return Err(format!("an error that names no corruption: {why}")),
            None => {}
        }
        let (upto, why) = match (self.said.ambiguous_tail, unseen) {
            (_, true) => (contents.last_index, "the disk lost a write"),
            // One fault spoils a record or the one that proves it, not both.
            (true, false) if self.faults == 1 => (
                contents.last_index.max(self.proof.upto),
                "an ambiguous tail is not so long",
            ),
            (true, false) => (contents.last_index, "the tail is ambiguous"),
            (false, false) => (store.durable_index(), "no ambiguous tail was reported"),
        };
        acked_durable::check_log(store, contents, upto).map_err(|what| format!("{why}: {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::RULE;
    use crate::trace::Contents;
    use crate::verdict::Invariant;

    /// 1/1..3 were acknowledged, and a vote; then a bit rotted.
    fn rotten() -> Stream {
        acked().rotten(1).power_cut(1).boot(1)
    }

    fn acked() -> Stream {
        Stream::new()
            .up(1, empty())
            .hard_state(1, 2, None)
            .hard_state(1, 3, Some(2))
            .append(1, &[e(1, 1), e(1, 2), e(1, 3)])
            .durable(1, 3)
    }

    fn whole() -> Contents {
        voted(log(&[e(1, 1), e(1, 2), e(1, 3)]), 3, Some(2))
    }

    /// Without the last one.
    fn short() -> Contents {
        voted(log(&[e(1, 1), e(1, 2)]), 3, Some(2))
    }

    fn unreadable(corrupt: bool) -> Contents {
        Contents {
            unreadable: Some("log-1 is corrupt at offset 600".to_owned()),
            corrupt,
            last_index: afterimage_engine::Index(3),
            ..short()
        }
    }

    #[test]
    fn an_error_that_names_the_place_is_an_answer() {
        rotten().open_refused(1).passes();
        rotten().open_failed(1, false).breaks(RULE);
        // A runtime fault besides, such as a sector that can't be read.
        rotten().open_failed(1, true).passes();
        rotten().up(1, unreadable(true)).passes();
        rotten().up(1, unreadable(false)).breaks(RULE);
        let up = || rotten().up(1, whole());
        up().died(1, false).breaks(RULE);
        up().read_back(1, unreadable(true)).passes();
    }

    #[test]
    fn without_corruption_it_is_none() {
        let sound = || acked().power_cut(1).boot(1);
        sound().open_refused(1).breaks(Invariant::RecoveryAvailable);
        sound()
            .up(1, unreadable(true))
            .breaks(Invariant::AckedDurable);
    }

    #[test]
    fn silent_loss_is_none() {
        rotten().up(1, whole()).passes();
        rotten().up(1, short()).breaks(RULE);
        rotten()
            .recovered(1, false, true)
            .up(1, short())
            .breaks(RULE);
        rotten().recovered(1, true, false).up(1, short()).passes();
        // It was said of another open, and of an end, not of a beginning.
        let again = rotten().recovered(1, true, false).power_cut(1).boot(1);
        again.recovered(1, false, false).up(1, short()).breaks(RULE);
        let headless = voted(log(&[e(1, 2), e(1, 3)]), 3, Some(2));
        let tail = rotten().recovered(1, true, false);
        tail.up(1, headless).breaks(RULE);
    }

    #[test]
    fn an_ambiguous_tail_ends_where_a_later_record_proves_the_log() {
        // 1/4 was written when 1..3 were durable, and is durable itself.
        let proven = || acked().append(1, &[e(1, 4)]).durable(1, 4);
        let rot = |stream: Stream| {
            stream
                .rotten(1)
                .power_cut(1)
                .boot(1)
                .recovered(1, true, false)
        };
        rot(proven()).up(1, whole()).passes();
        rot(proven()).up(1, short()).breaks(RULE);
        // A second fault may have spoilt the proof.
        rot(proven().rotten(1)).up(1, short()).passes();
        // It was not durable; or it was replaced by what proves less.
        rot(acked().append(1, &[e(1, 4)])).up(1, short()).passes();
        let replaced = proven().append(1, &[e(2, 3)]).durable(1, 3);
        rot(replaced).up(1, short()).passes();
    }

    #[test]
    fn what_is_lost_while_it_runs_was_not_said() {
        let up = rotten().recovered(1, true, false).up(1, whole());
        up.clone().read_back(1, whole()).passes();
        up.read_back(1, short()).breaks(RULE);
    }

    #[test]
    fn an_older_hard_state_must_be_said() {
        let older = || voted(whole(), 2, None);
        rotten().up(1, older()).breaks(RULE);
        rotten()
            .recovered(1, true, false)
            .up(1, older())
            .breaks(RULE);
        rotten().recovered(1, false, true).up(1, older()).passes();
    }

    #[test]
    fn a_wrong_byte_is_never_excused() {
        let forged = || voted(log(&[e(1, 1), e(1, 2), forged(1, 3)]), 3, Some(2));
        let all_said = |stream: Stream| stream.recovered(1, true, true);
        all_said(rotten()).up(1, forged()).breaks(RULE);
        let lost = acked().lost_write(1).power_cut(1).boot(1);
        all_said(lost).up(1, forged()).breaks(RULE);
        let other = snapshot(whole(), 2, 1, 8);
        let saved = acked()
            .saved(1, 2, 1)
            .boot(1)
            .up(1, snapshot(whole(), 2, 1, 7));
        let rotten = saved.rotten(1).boot(1);
        all_said(rotten).up(1, other).breaks(RULE);
    }

    #[test]
    fn a_write_that_the_disk_lost_leaves_no_trace() {
        let lost = || acked().lost_write(1).power_cut(1).boot(1);
        lost().up(1, short()).passes();
        lost().up(1, voted(whole(), 2, None)).passes();
        lost().open_failed(1, false).breaks(RULE);
    }
}
