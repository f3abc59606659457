//! Many seeds: no invariant breaks, and the runs are worth their time.

use afterimage_engine::mutant::Mutants;

use crate::cluster::run;
use crate::oracle::Stats;

const SEEDS: u64 = 300;

#[test]
fn no_seed_breaks_an_invariant() {
    let mut total = Stats::default();
    for seed in 0..SEEDS {
        let (stats, _) = match run(seed, Mutants::NONE) {
            Ok(done) => done,
            Err(violation) => panic!("seed {seed}: {}: {}", violation.invariant, violation.what),
        };
        total.add(&stats);
    }
    // A campaign in which nothing happens proves nothing.
    let least = Stats {
        elections: 5 * SEEDS,
        committed: 80 * SEEDS,
        truncations: SEEDS,
        installs: SEEDS / 2,
        reads: 50 * SEEDS,
        failed_reads: 4 * SEEDS,
        crashes: 5 * SEEDS,
        lost_batches: SEEDS / 2,
        step_downs: 5 * SEEDS,
        changes: 3 * SEEDS,
        undone_changes: SEEDS / 20,
        handovers: SEEDS / 5,
        removed_leaders: SEEDS / 3,
    };
    assert!(total.reaches(&least), "{total:?}");
}

#[test]
fn a_seed_decides_everything() {
    for seed in 0..5 {
        assert_eq!(run(seed, Mutants::NONE), run(seed, Mutants::NONE));
    }
    assert_ne!(run(0, Mutants::NONE), run(1, Mutants::NONE));
}
