//! Planted bugs: each must be found, and named, within a few seeds.

use std::panic::{AssertUnwindSafe, catch_unwind};

use afterimage_engine::mutant::{Mutant, Mutants};

use crate::cluster::run;
use crate::scenarios::snapshots::late_snapshot;

/// `invariants`: what may break first; "assert" is one of the core's own.
fn check(mutant: Mutant, seeds: u64, invariants: &[&str]) {
    for seed in 0..seeds {
        let played = catch_unwind(AssertUnwindSafe(|| run(seed, Mutants::plant(mutant))));
        let broken = match played {
            Ok(Ok(_)) => continue,
            Ok(Err(violation)) => violation.invariant,
            Err(_) => "assert",
        };
        println!("{mutant:?}: seed {seed} breaks {broken}");
        assert!(invariants.contains(&broken), "seed {seed} breaks {broken}");
        return;
    }
    panic!("{mutant:?} survives {seeds} seeds");
}

#[test]
fn a_vote_before_it_is_durable_is_found() {
    check(Mutant::VoteBeforeDurable, 5, &["persist-before-send"]);
}

#[test]
fn a_forgotten_vote_is_found() {
    check(Mutant::VoteNotPersisted, 5, &["persist-before-send"]);
}

#[test]
fn a_second_vote_is_found() {
    check(
        Mutant::VoteTwice,
        50,
        &["hard-state-monotonic", "election-safety"],
    );
}

#[test]
fn a_vote_for_a_shorter_log_is_found() {
    check(Mutant::VoteWithoutLogCheck, 50, &["leader-completeness"]);
}

#[test]
fn an_early_acknowledgement_is_found() {
    check(Mutant::FollowerAcksEarly, 5, &["persist-before-send"]);
}

#[test]
fn a_read_without_a_quorum_is_found() {
    check(Mutant::ReadWithoutQuorum, 50, &["linearizable"]);
}

#[test]
fn a_commit_past_the_message_is_found() {
    check(
        Mutant::CommitPastAppend,
        50,
        &["commits-what-is-shown", "state-machine-safety"],
    );
}

#[test]
fn a_commit_of_an_old_term_is_found() {
    check(Mutant::CommitOldTerm, 50, &["commits-own-term"]);
}

#[test]
fn a_change_before_the_former_is_found() {
    check(Mutant::ChangeBeforeFormer, 50, &["one-change-at-a-time"]);
}

#[test]
fn a_change_before_the_own_commit_is_found() {
    check(
        Mutant::ChangeBeforeOwnCommit,
        50,
        &["changes-after-own-commit"],
    );
}

#[test]
fn a_change_that_is_not_undone_is_found() {
    check(
        Mutant::ChangeNotUndone,
        100,
        &["membership-as-logged", "assert"],
    );
}

#[test]
fn a_snapshot_of_the_newest_members_is_found() {
    check(
        Mutant::SnapshotOfNewestMembers,
        50,
        &["snapshot-of-its-time"],
    );
}

#[test]
fn a_removed_leader_that_stays_is_found() {
    check(
        Mutant::RemovedLeaderStays,
        50,
        &["removed-leader-steps-down"],
    );
}

#[test]
fn a_proposal_in_a_handover_is_found() {
    check(
        Mutant::ProposesInHandover,
        50,
        &["handover-proposes-nothing"],
    );
}

#[test]
fn a_missed_newer_term_is_found() {
    check(Mutant::LeaderMissesNewerTerm, 50, &["follows-newer-term"]);
}

#[test]
fn an_install_that_drops_a_longer_log_is_found() {
    // Seeds hardly find it: a heartbeat after the restart tells the commit index,
    // and then the snapshot is no news. So by hand.
    let played = late_snapshot(Mutants::plant(Mutant::InstallDropsLongerLog));
    assert_eq!(played.unwrap_err().invariant, "leader-completeness");
}
