//! OpenRaft's own suite for stores, on a real directory and on a simulated
//! disk; and what it lacks: reopening after each case, and a power cut at each
//! file operation of each.

mod cases;
mod committed;
mod crash;
mod failed_sync;
mod reopen;
mod snapshots;
mod tally;
mod witness;

use std::io;
use std::path::Path;
use std::sync::Arc;

use afterimage_engine::Host;
use afterimage_engine::fs::{Fs, OsFs};
use afterimage_engine::store::Options;
use afterimage_engine::threads::SystemEnv;
use afterimage_openraft::{LogStore, StateMachine};
use afterimage_sim::disk::SimFs;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;

use tally::Tally;

openraft::declare_raft_types!(
    pub Types:
        D = String,
        R = u64,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = openraft_rt_tokio::TokioRuntime,
);

type Machine = StateMachine<Types, Tally>;

/// Small segments and no cache to speak of: entries are read from files.
fn options() -> Options {
    Options {
        segment_bytes: 2048,
        cache_bytes: 64,
        chunk_bytes: 512,
        ..Options::default()
    }
}

fn host(fs: &Arc<dyn Fs>) -> io::Result<Host> {
    Ok(Host {
        fs: fs.clone(),
        env: Arc::new(SystemEnv::unobserved()?),
    })
}

fn open_log(fs: &Arc<dyn Fs>, dir: &Path) -> io::Result<LogStore<Types>> {
    LogStore::open(host(fs)?, &dir.join("log"), options())
}

fn open_machine(fs: &Arc<dyn Fs>, dir: &Path) -> io::Result<Machine> {
    StateMachine::open(
        host(fs)?,
        &dir.join("snapshot"),
        options(),
        Tally::default(),
    )
}

/// Sleeps take no time: the suite sleeps only for stores that purge later.
fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(work)
}

fn to_storage(error: io::Error) -> StorageError<Types> {
    StorageError::read(Types::err_from_error(&error))
}

struct OnDisk;

impl StoreBuilder<Types, LogStore<Types>, Machine, tempfile::TempDir> for OnDisk {
    async fn build(
        &self,
    ) -> Result<(tempfile::TempDir, LogStore<Types>, Machine), StorageError<Types>> {
        let dir = tempfile::tempdir().map_err(to_storage)?;
        let fs: Arc<dyn Fs> = Arc::new(OsFs);
        let log = open_log(&fs, dir.path()).map_err(to_storage)?;
        let machine = open_machine(&fs, dir.path()).map_err(to_storage)?;
        Ok((dir, log, machine))
    }
}

struct Simulated;

impl StoreBuilder<Types, LogStore<Types>, Machine> for Simulated {
    async fn build(&self) -> Result<((), LogStore<Types>, Machine), StorageError<Types>> {
        let fs = SimFs::new(7).boot();
        let log = open_log(&fs, Path::new("/")).map_err(to_storage)?;
        let machine = open_machine(&fs, Path::new("/")).map_err(to_storage)?;
        Ok(((), log, machine))
    }
}

#[test]
fn the_suite_passes_on_a_real_directory() {
    run(Suite::test_all(OnDisk)).unwrap();
}

#[test]
fn the_suite_passes_on_a_simulated_disk() {
    run(Suite::test_all(Simulated)).unwrap();
}

/// As an application runs it: several workers, and sleeps that last.
#[test]
fn the_suite_passes_on_a_runtime_of_several_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build();
    runtime
        .unwrap()
        .block_on(Suite::test_all(Simulated))
        .unwrap();
}
