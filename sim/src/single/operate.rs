//! What the steps of a plan do to the store.

use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Batch, Install, Store};
use afterimage_engine::{Error, HardState, Index, Term};

use super::data::{State, entry, meta};
use super::outcome::Wanted;
use super::up::{Task, Up};
use super::{NODE, PIECE, Single};
use crate::disk::Damage;
use crate::plan::{Action, StoreOp};
use crate::rng::hash;
use crate::trace::{Contents, What};

/// A step that does not apply says why.
type Applies = Result<(), &'static str>;

impl Single {
    pub(super) fn operate(&mut self, at: usize, op: StoreOp) -> Applies {
        match op {
            StoreOp::Append {
                entries,
                unsynced: true,
            } => {
                let from = entries.first().map_or(Index(0), |e| e.index);
                let entries: Vec<_> = entries.iter().map(entry).collect();
                self.replaceable(from)?;
                self.submit(|store| {
                    Ok(Wanted {
                        written: store.submit_unsynced(entries)?,
                        ..Wanted::default()
                    })
                })?;
            }
            StoreOp::Append { entries, .. } => {
                let from = entries.first().map_or(Index(0), |e| e.index);
                let batch = Batch {
                    hard_state: None,
                    entries: entries.iter().map(entry).collect(),
                };
                self.replaceable(from)?;
                let durable = entries.last().map(|e| e.index);
                self.submit(|store| {
                    let ticket = store.submit(batch)?;
                    Ok(Wanted {
                        ticket,
                        durable,
                        ..Wanted::default()
                    })
                })?;
            }
            StoreOp::Sync => self.submit(|store| {
                Ok(Wanted {
                    ticket: store.submit(Batch::default())?,
                    durable: Some(store.last_index()),
                    ..Wanted::default()
                })
            })?,
            StoreOp::Truncate { from } => {
                self.replaceable(from)?;
                self.submit(|store| {
                    let ticket = store.truncate_suffix(from)?;
                    Ok(Wanted {
                        ticket,
                        ends_before: Some(from),
                        ..Wanted::default()
                    })
                })?;
            }
            StoreOp::HardState { term, vote } => self.hard_state(HardState { term, vote })?,
            StoreOp::Save {
                upto,
                bytes,
                background,
            } => {
                self.save(upto, bytes)?;
                self.go(Task::Save, background);
            }
            StoreOp::Install {
                last,
                term,
                bytes,
                background,
            } => {
                self.install(last, term, bytes)?;
                self.go(Task::Install, background);
            }
            StoreOp::Commit { upto } => self.commit(upto)?,
            StoreOp::Read { from, background } => {
                self.read(from)?;
                self.go(Task::Reader, background);
            }
            StoreOp::Clean { background } => {
                self.is_up()?;
                self.go(Task::Cleaner, background);
                if !background {
                    self.expect_clean();
                }
            }
            StoreOp::Prepare { background } => {
                self.is_up()?;
                self.go(Task::Preparer, background);
            }
            StoreOp::Wait => {
                let cleans = self.is_up()?.background.contains(&Task::Cleaner);
                self.wait();
                if cleans {
                    self.expect_clean();
                }
            }
            StoreOp::Crash { .. } | StoreOp::KillAt { .. } => {
                unreachable!("handled by the caller")
            }
            StoreOp::Cut { keep } => self.cut_power(at, keep),
            StoreOp::Kill => {
                self.is_up()?;
                self.kill();
            }
            StoreOp::Restart => {
                if self.up.is_some() {
                    self.kill();
                }
                self.open();
            }
            StoreOp::Fail(trigger) => self.disk.arm_fail(trigger),
            StoreOp::Full { bytes } => self.disk.limit_space(Some(bytes)),
            StoreOp::Heal => {
                self.disk.disarm_fails();
                self.disk.limit_space(None);
            }
            StoreOp::Space => {
                self.disk.limit_space(None);
                self.finish(Task::Writer);
            }
            StoreOp::Evict => {
                self.disk.evict();
            }
            StoreOp::Damage(damage) => self.damage(at, &damage)?,
            StoreOp::Check => self.check()?,
        }
        Ok(())
    }

    fn damage(&mut self, at: usize, damage: &Damage) -> Applies {
        let id = self.plan.steps[at].id;
        let draw = hash(&[self.plan.seed, u64::from(id)]);
        let damage = self.disk.damage(damage, draw).ok_or("nothing to harm")?;
        let kind = damage.kind.receipt();
        self.record(What::Fault { kind });
        let note = damage.to_string();
        self.record(What::Step { id, note });
        self.plan.steps[at].action = Action::Store(StoreOp::Damage(damage));
        Ok(())
    }

    fn is_up(&mut self) -> Result<&mut Up, &'static str> {
        self.up.as_mut().ok_or("the store is not open")
    }

    /// Whether the caller may replace the log from here on.
    fn replaceable(&mut self, from: Index) -> Applies {
        let up = self.is_up()?;
        if up.install.is_some() {
            return Err("an install is under way");
        }
        if from <= up.applied {
            return Err("it was applied");
        }
        Ok(())
    }

    /// Hands something to the writer, and waits for it.
    fn submit(&mut self, submit: impl FnOnce(&Store) -> Result<Wanted, Error>) -> Applies {
        let submitted = submit(&self.is_up()?.store);
        self.take_records();
        match submitted {
            Ok(wanted) => {
                self.finish(Task::Writer);
                self.expect_written(&wanted);
            }
            Err(Error::Misuse(why)) => return Err(why),
            // A term was read and could not be.
            Err(e) => self.died(&e),
        }
        Ok(())
    }

    pub(super) fn hard_state(&mut self, next: HardState) -> Applies {
        let up = self.is_up()?;
        let now = up.store.hard_state();
        if up.install.is_some() {
            return Err("an install is under way");
        }
        if next.term < now.term
            || (next.term == now.term && now.vote.is_some() && next.vote != now.vote)
        {
            return Err("the hard state would go back");
        }
        let batch = Batch {
            hard_state: Some(next),
            entries: Vec::new(),
        };
        self.submit(|store| {
            let ticket = store.submit(batch)?;
            Ok(Wanted {
                ticket,
                hard_state: Some(next),
                ..Wanted::default()
            })
        })
    }

    fn save(&mut self, upto: Index, bytes: u64) -> Applies {
        let up = self.is_up()?;
        if up.save.is_some() {
            return Err("a save is under way");
        }
        let contradicts = |install: &Install| upto >= install.meta().last_index;
        if up.install.as_ref().is_some_and(contradicts) {
            return Err("a newer snapshot is under way");
        }
        if upto > up.store.durable_index() || upto < up.store.first_index() {
            return Err("not in the durable log");
        }
        let last_term = match up.store.term(upto) {
            Ok(term) => term,
            Err(e) => {
                self.take_records();
                self.died(&e);
                return Ok(());
            }
        };
        up.applied = up.applied.max(upto);
        let state = State::new(upto, last_term, bytes);
        up.saving = Some(upto);
        up.save = Some(
            up.store
                .save_snapshot(meta(upto, last_term), Box::new(state.clone())),
        );
        self.record(state.given());
        Ok(())
    }

    pub(super) fn read(&mut self, from: Index) -> Applies {
        let up = self.is_up()?;
        if up.reader.is_some() {
            return Err("a reader is at work");
        }
        let reader = up.store.reader(from).map_err(|_| "not in the log")?;
        up.reader = Some(reader);
        up.reads = from;
        Ok(())
    }

    /// What is not durable may be committed all the same: others have it.
    fn commit(&mut self, upto: Index) -> Applies {
        let up = self.is_up()?;
        if up.install.is_some() {
            return Err("an install is under way");
        }
        if upto > up.store.last_index() {
            return Err("not in the log");
        }
        up.store.hint_commit(upto);
        up.applied = up.applied.max(upto);
        self.committed = self.committed.max(upto);
        self.finish(Task::Hinter);
        Ok(())
    }

    fn install(&mut self, last: Index, term: Term, bytes: u64) -> Applies {
        let up = self.is_up()?;
        if up.install.is_some() {
            return Err("an install is under way");
        }
        if up.is_stalled() {
            return Err("batches wait for space");
        }
        // What was applied is committed, and so in every leader's history.
        if last <= up.applied && up.store.term(last).is_ok_and(|ours| ours != term) {
            return Err("it contradicts what was applied");
        }
        let mut install = up.store.install(meta(last, term));
        let state = State::new(last, term, bytes);
        install.push(0, state.clone().into_bytes(), true);
        up.install = Some(install);
        self.record(state.given());
        Ok(())
    }

    /// Reads everything back: what was acknowledged must be there.
    fn check(&mut self) -> Applies {
        let store = &self.is_up()?.store;
        let contents = Contents::read(store);
        let contents = contents.and_then(|mut c| c.same_in_pieces(store, PIECE).map(|()| c));
        self.take_records();
        let contents = match contents {
            Ok(contents) => contents,
            Err(e) => {
                self.died(&e);
                return Ok(());
            }
        };
        let (first, last) = (contents.first_index, contents.last_index);
        let died = What::died_of(&contents);
        self.record(What::Read(contents));
        if let Some(died) = died {
            self.close(died);
            return Ok(());
        }
        if self.recorder.violation().is_none() {
            let durable = self.recorder.model().node(NODE).store.durable_index();
            self.judged("ok", &format!("acked-durable       acked up to {durable}"));
            self.judged("ok", "no-resurrection");
            let extent = match first <= last {
                true => format!("{first}..{last}"),
                false => "none".to_owned(),
            };
            self.judged("ok", &format!("log-contiguous      {extent}"));
            self.judged("ok", "snapshot-covers-log");
            self.judged("ok", "recovery-idempotent");
        }
        Ok(())
    }
}
