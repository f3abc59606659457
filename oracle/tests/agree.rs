//! The two agree, over many seeds; and where a bug is planted in the engine,
//! they do not.

use afterimage_engine::mutant::{Mutant, Mutants};
use afterimage_oracle::{Seen, run};

const INPUTS: u64 = 3000;

#[test]
fn the_engine_and_raft_rs_agree() {
    let mut all = Seen::default();
    for seed in 0..600 {
        let seen =
            run(seed, INPUTS, Mutants::NONE).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        all.inputs += seen.inputs;
        all.elections_won += seen.elections_won;
        all.step_downs += seen.step_downs;
        all.votes_granted += seen.votes_granted;
        all.votes_refused += seen.votes_refused;
        all.accepted += seen.accepted;
        all.rejected += seen.rejected;
        all.truncations += seen.truncations;
        all.commits += seen.commits;
    }
    println!("{all:?}");
    // Whoever never votes and never commits agrees easily.
    assert!(all.elections_won > 1000 && all.step_downs > 600, "{all:?}");
    assert!(
        all.votes_granted > 2500 && all.votes_refused > 120,
        "{all:?}"
    );
    assert!(all.rejected > 5000 && all.truncations > 200, "{all:?}");
    assert!(all.accepted > 30_000 && all.commits > 30_000, "{all:?}");
}

/// Within so many seeds they must part.
#[track_caller]
fn parts(mutant: Mutant, seeds: u64) {
    let parted = (0..seeds).find_map(|seed| {
        let run = std::panic::catch_unwind(|| run(seed, INPUTS, Mutants::plant(mutant)));
        // An assertion of one of the two is an opinion, too.
        let what = run
            .unwrap_or_else(|_| Err("an assertion".to_owned()))
            .err()?;
        Some((seed, what))
    });
    let (seed, what) = parted.unwrap_or_else(|| panic!("{mutant:?}: {seeds} seeds agree"));
    println!("{mutant:?}: seed {seed}: {what}");
}

#[test]
fn a_second_vote_is_seen() {
    parts(Mutant::VoteTwice, 100);
}

#[test]
fn a_vote_without_a_look_at_the_log_is_seen() {
    parts(Mutant::VoteWithoutLogCheck, 100);
}

#[test]
fn a_commit_of_an_old_term_is_seen() {
    parts(Mutant::CommitOldTerm, 100);
}

#[test]
fn a_commit_past_the_message_is_seen() {
    parts(Mutant::CommitPastAppend, 100);
}

#[test]
fn a_leader_that_misses_a_newer_term_is_seen() {
    parts(Mutant::LeaderMissesNewerTerm, 100);
}

#[test]
fn a_forgotten_vote_is_seen() {
    parts(Mutant::VoteNotPersisted, 100);
}
