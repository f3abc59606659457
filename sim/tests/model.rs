//! The engine's store against a plain list of entries.
//!
//! Random batches, truncations, snapshots and installs, whose tasks take their
//! steps in a random order; power cuts, kills and failing operations in any of
//! them; power cuts in the recovery, and in the recovery after that. The model
//! knows nothing of segments, files or events: only what was submitted, and
//! which tickets the store said were durable.

#[path = "model/expect.rs"]
mod expect;
#[path = "model/host.rs"]
mod host;
#[path = "model/ops.rs"]
mod ops;

use afterimage_engine::store::Options;
use proptest::collection::vec;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use host::Bench;
use ops::{Op, Setup};

/// Runs cases until one fails; what broke, and the shortest case that does.
fn run(cases: u32, shrink: u32, options: impl Fn(&Setup) -> Options) -> Result<(), String> {
    let config = Config {
        cases,
        max_shrink_iters: shrink,
        failure_persistence: None,
        ..Config::default()
    };
    // The same cases each time: a failure of the gate is one that can be repeated.
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let strategy = (ops::setup(), vec(ops::op(), 1..50));
    let result = runner.run(&strategy, |(setup, ops)| {
        let mut bench = Bench::new(setup.seed, options(&setup));
        bench
            .run(&ops)
            .map_err(|what| TestCaseError::fail(format!("{what}\n{}", bench.story())))
    });
    match result {
        Ok(()) => Ok(()),
        Err(TestError::Fail(why, (setup, ops))) => Err(format!("{why}\n{setup:?}\n{}", list(&ops))),
        Err(TestError::Abort(why)) => Err(format!("aborted: {why}")),
    }
}

fn list(ops: &[Op]) -> String {
    ops.iter().map(|op| format!("{op:?}\n")).collect()
}

#[test]
fn the_store_does_what_a_list_would() {
    if let Err(why) = run(15_000, 2000, Setup::options) {
        panic!("{why}");
    }
}

#[cfg(feature = "mutants")]
mod planted {
    use afterimage_engine::mutant::{Mutant, Mutants};

    use super::*;

    /// What the list is worth: it must see this bug within so many cases.
    #[track_caller]
    fn check(mutant: Mutant, cases: u32) {
        let found = run(cases, 0, |setup| Options {
            mutants: Mutants::plant(mutant),
            ..setup.options()
        });
        assert!(found.is_err(), "{mutant:?} survived {cases} cases");
    }

    #[test]
    fn bugs_are_seen() {
        check(Mutant::RecoverWithoutCopy, 500);
        check(Mutant::AppendAfterCut, 500);
        check(Mutant::CleanTooMuch, 500);
        check(Mutant::InstallKeepsOldLog, 2000);
        check(Mutant::OlderSnapshotReplaces, 2000);
        check(Mutant::RetryFailedSync, 2000);
        check(Mutant::CleanBeforeSnapshotDurable, 4000);
    }
}
