//! After each case the stores are opened again, and hold what they held.

use std::path::Path;
use std::sync::{Arc, Mutex};

use afterimage_engine::fs::Fs;
use afterimage_sim::disk::{Fates, SimFs};
use openraft::StorageError;
use openraft::alias::SnapshotMetaOf;
use openraft::storage::RaftStateMachine;
use openraft::testing::log::StoreBuilder;

use crate::witness::{Model, Testimony, Witness};
use crate::{Machine, Types, cases, open_log, open_machine, run, to_storage};

const DIR: &str = "/";

/// One simulated disk with the two stores on it.
pub struct Rig {
    pub disk: SimFs,
    pub fs: Arc<dyn Fs>,
    pub books: Arc<Mutex<Testimony>>,
}

impl Rig {
    pub fn new() -> Self {
        let disk = SimFs::new(7);
        Rig {
            fs: disk.boot(),
            disk,
            books: Arc::default(),
        }
    }

    pub fn open(&self) -> std::io::Result<(Witness, Machine)> {
        let log = open_log(&self.fs, Path::new(DIR))?;
        let machine = open_machine(&self.fs, Path::new(DIR))?;
        Ok((Witness::new(log, self.books.clone()), machine))
    }

    /// What is in the log and which snapshot is there, after another start.
    pub async fn found(&self) -> (Model, Option<SnapshotMetaOf<Types>>) {
        let fs = self.disk.boot();
        let mut log = open_log(&fs, Path::new(DIR)).expect("the log opens again");
        let mut machine = open_machine(&fs, Path::new(DIR)).expect("the snapshots open again");
        let snapshot = machine.get_current_snapshot().await.unwrap();
        let meta = snapshot.map(|snapshot| snapshot.meta);
        let restored = machine.applied_state().await.unwrap().0;
        let stored = meta.as_ref().and_then(|meta| meta.last_log_id);
        assert_eq!(restored, stored, "the machine is where its snapshot was");
        (Model::read(&mut log).await.unwrap(), meta)
    }
}

impl StoreBuilder<Types, Witness, Machine> for Rig {
    async fn build(&self) -> Result<((), Witness, Machine), StorageError<Types>> {
        let (log, machine) = self.open().map_err(to_storage)?;
        Ok(((), log, machine))
    }
}

/// Runs each case to its end, then `stop`s the machine.
fn after_each_case(stop: impl Fn(&SimFs)) {
    let mut entries = 0;
    for case in cases::NAMES {
        run(async {
            let rig = Rig::new();
            let (log, machine) = rig.open().unwrap();
            cases::run(case, log, machine).await.expect(case);
            stop(&rig.disk);
            let (found, _) = rig.found().await;
            let books = rig.books.lock().unwrap();
            assert_eq!(found, books.acknowledged, "{case}");
            assert!(books.attempted.is_empty(), "{case}");
            entries += found.entries.len();
        });
    }
    assert!(entries > 200, "the cases leave entries behind: {entries}");
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart() {
    after_each_case(SimFs::kill);
}

#[test]
fn what_was_acknowledged_is_there_after_a_power_cut() {
    after_each_case(|disk| {
        disk.power_cut(&Fates::Lose);
    });
}
