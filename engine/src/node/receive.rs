//! A leader's snapshot on its way in: pieces, the install, the restore.

use crate::error::Result;
use crate::event::Event;
use crate::ids::NodeId;
use crate::job::Step;
use crate::raft::SnapshotPiece;
use crate::sometimes::sometimes;
use crate::store::{Install, Installed};

use super::replica::Restore;
use super::{Held, Node, StateMachine};

/// What became of the leader's snapshot so far.
#[derive(Debug, Default)]
pub(super) enum Receiving {
    #[default]
    Nothing,
    /// Pieces come in, one at a time: the next one is asked for once all
    /// before it were taken.
    Pieces {
        install: Install,
        /// Who waits to hear what is wanted next.
        asker: Option<NodeId>,
    },
    /// All pieces are there. Nothing may be submitted to the store until the
    /// outcome, so what the core wants persisted is held here.
    Finishing { install: Install, held: Vec<Held> },
    /// The snapshot is installed; the state machine reads it.
    Restoring(Restore),
}

impl Receiving {
    /// Whether the state machine may go on: it must not while the log changes
    /// under it or its state is being replaced.
    pub fn may_apply(&self) -> bool {
        matches!(self, Receiving::Nothing | Receiving::Pieces { .. })
    }
}

impl<S: StateMachine> Node<S> {
    /// Takes a piece that the core let through.
    pub(super) fn take_piece(&mut self, piece: SnapshotPiece) {
        let SnapshotPiece {
            from,
            meta,
            offset,
            data,
            done,
        } = piece;
        match &self.receiving {
            Receiving::Finishing { .. } => panic!("no piece comes after the last one"),
            // A newer one, while this one is read: the leader will try again.
            Receiving::Restoring(_) => {
                self.raft.snapshot_failed();
                return;
            }
            Receiving::Pieces { install, .. } if *install.meta() == meta && offset > 0 => {}
            // Its beginning; perhaps again, from another leader: the same state
            // may be cut into other bytes there.
            Receiving::Nothing | Receiving::Pieces { .. } => {
                self.receiving = Receiving::Nothing; // one install at a time
                self.receiving = Receiving::Pieces {
                    install: self.store.install(meta),
                    asker: None,
                };
            }
        }
        let Receiving::Pieces { install, asker } = &mut self.receiving else {
            unreachable!("set above");
        };
        let taken = install.push(offset, data, done);
        *asker = Some(from);
        if taken && done {
            let Receiving::Pieces { install, .. } = std::mem::take(&mut self.receiving) else {
                unreachable!("checked above");
            };
            self.receiving = Receiving::Finishing {
                install,
                held: Vec::new(),
            };
            return;
        }
        // Where it was not the piece that is wanted, this says which one is.
        self.ask_for_next_piece();
    }

    /// Tells the core what is wanted next, once the install is done with what
    /// it has.
    fn ask_for_next_piece(&mut self) {
        if let Receiving::Pieces { install, asker } = &mut self.receiving
            && !install.has_work()
            && let Some(leader) = asker.take()
        {
            let last_index = install.meta().last_index;
            self.raft
                .snapshot_stored(leader, last_index, install.wanted());
        }
    }

    /// Gives up on a snapshot whose entries arrived in the log meanwhile.
    pub(super) fn drop_superfluous_pieces(&mut self) {
        if let Receiving::Pieces { install, .. } = &self.receiving
            && install.meta().last_index <= self.replica.applied_index()
        {
            sometimes!(PiecesSuperfluous);
            self.receiving = Receiving::Nothing;
            // Or the core would wait for the piece that the install was taking.
            self.raft.snapshot_failed();
        }
    }

    pub(super) fn has_install_work(&self) -> bool {
        match &self.receiving {
            Receiving::Nothing => false,
            Receiving::Pieces { install, .. } | Receiving::Finishing { install, .. } => {
                install.has_work()
            }
            Receiving::Restoring(_) => true,
        }
    }

    pub(super) fn step_install(&mut self) -> Result<Step> {
        let install = match &mut self.receiving {
            Receiving::Nothing => return Ok(Step::Idle),
            Receiving::Restoring(restore) => {
                if restore.step(&mut self.replica, &self.store)? {
                    self.restored()?;
                }
                return Ok(Step::Ran);
            }
            Receiving::Pieces { install, .. } | Receiving::Finishing { install, .. } => install,
        };
        match install.step() {
            Ok(step) => {
                if let Some(outcome) = install.outcome() {
                    self.installed(outcome)?;
                } else {
                    self.ask_for_next_piece();
                }
                self.drain()?;
                Ok(step)
            }
            // Nothing was changed; the leader begins again, perhaps when the
            // cleaner has made room.
            Err(error) if error.is_no_space() && !self.store.is_poisoned() => {
                self.release_held()?;
                self.raft.snapshot_failed();
                self.drain()?;
                Ok(Step::Stalled)
            }
            Err(error) => Err(error),
        }
    }

    /// The store has decided about a finished install.
    fn installed(&mut self, Installed { taken, kept_suffix }: Installed) -> Result<()> {
        let Receiving::Finishing { install, .. } = &self.receiving else {
            panic!("an install ends after its last piece");
        };
        let meta = install.meta().clone();
        assert!(
            self.replica.applied_index() < meta.last_index,
            "a snapshot of what was applied is no news to the core, and nothing was applied since"
        );
        // Batches keep the order in which the core numbered them.
        self.release_held()?;
        if !taken {
            // Cannot be while saves come from what was applied; the core will
            // hear of the snapshot again and compare.
            self.raft.snapshot_failed();
            return Ok(());
        }
        self.saved_index = meta.last_index;
        self.receiving = Receiving::Restoring(Restore::new());
        self.raft
            .snapshot_installed(&meta, kept_suffix, &self.store)
    }

    /// Submits what was held back, and forgets the install.
    fn release_held(&mut self) -> Result<()> {
        let held = match std::mem::take(&mut self.receiving) {
            Receiving::Finishing { held, .. } => held,
            _ => return Ok(()),
        };
        // The install is gone: submitting is allowed from here on.
        for held in held {
            self.submit(held)?;
        }
        Ok(())
    }

    /// The state machine has the snapshot's state.
    fn restored(&mut self) -> Result<()> {
        self.receiving = Receiving::Nothing;
        let applied = self.replica.applied_index();
        self.host.env.observe(Event::Restored {
            last_index: applied,
            last_term: self.replica.applied_term(),
        });
        self.clients.skipped(applied, &mut self.outputs);
        self.apply_committed()
    }
}
