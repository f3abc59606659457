//! What gets into whose log, and what is committed.

use afterimage_engine::raft::{Body, LogView};
use afterimage_engine::{Index, Term};

use crate::lab::{Played, accepted, append, bodies, entry, lab, message};

#[test]
fn a_cluster_of_one_leads_commits_and_reads() -> Played {
    let mut lab = lab(1);
    lab.elect(1)?;
    lab.propose(1, 8)?;
    assert_eq!(lab.core(1).commit_index(), Index(2));
    lab.read(1, 7)?;
    assert_eq!(lab.granted[0].index, Index(2));
    Ok(())
}

/// Figure 8 of the Raft paper, at its leader S1.
#[test]
fn an_old_terms_entry_is_not_committed_by_counting() -> Played {
    let mut lab = lab(5);
    lab.step(message(5, 1, 1, append((0, 0), 0, vec![entry(1, 1)])))?;
    // Votes only: what the new leader appends stays on the wire.
    lab.campaign(1)?;
    while !lab.member(1).is_leader() {
        lab.deliver(|_| true)?;
    }
    assert_eq!(lab.terms(1), [1, 2]);
    for (match_index, commit) in [(1, 0), (2, 2)] {
        for from in [2, 3] {
            lab.step(message(from, 1, 2, accepted(match_index)))?;
        }
        assert_eq!(lab.core(1).commit_index(), Index(commit));
    }
    Ok(())
}

#[test]
fn a_deposed_leaders_tail_is_replaced() -> Played {
    let mut lab = lab(3);
    lab.elect(1)?;
    lab.cut(&[1]);
    for _ in 0..3 {
        lab.propose(1, 8)?;
    }
    assert_eq!(lab.core(1).durable_index(), Index(4));
    lab.elect(2)?;
    lab.propose(2, 8)?;
    lab.settle()?;
    lab.heal();
    // While its disk is slow, nothing that was replaced counts as durable.
    lab.slow(1);
    lab.beat(2)?;
    lab.persist(1)?;
    lab.beat(2)?;
    assert_eq!(lab.terms(1), [1, 2, 2]);
    assert_eq!(lab.core(1).durable_index(), Index(1));
    lab.persist(1)?;
    assert_eq!(lab.core(1).durable_index(), Index(3));
    lab.beat(2)?;
    assert_eq!(lab.core(1).commit_index(), Index(3));
    Ok(())
}

#[test]
fn a_batch_on_its_way_does_not_claim_what_was_replaced() -> Played {
    let mut lab = lab(3);
    let old = (1..=5).map(|index| entry(index, 1)).collect();
    lab.step(message(1, 3, 1, append((0, 0), 0, old)))?;
    assert_eq!(bodies(&lab, 3), [accepted(5)]);
    lab.slow(3);
    let more = (6..=9).map(|index| entry(index, 1)).collect();
    lab.step(message(1, 3, 1, append((5, 1), 0, more)))?;
    // A new leader replaces 4.. while 6..9 fly.
    lab.step(message(2, 3, 2, append((3, 1), 0, vec![entry(4, 2)])))?;
    assert_eq!(lab.core(3).durable_index(), Index(3));
    lab.wire.clear();
    lab.persist_one(3)?;
    assert_eq!(lab.core(3).durable_index(), Index(3));
    // Not a word in term 2 before it is durable.
    assert_eq!(bodies(&lab, 3), []);
    lab.persist_one(3)?;
    assert_eq!(lab.core(3).durable_index(), Index(4));
    assert_eq!(bodies(&lab, 3), [accepted(3), accepted(4)]);
    Ok(())
}

#[test]
fn a_whole_conflicting_term_is_skipped_at_once() -> Played {
    let mut lab = lab(3);
    lab.elect(1)?;
    lab.cut(&[1]);
    for _ in 0..100 {
        lab.propose(1, 8)?;
    }
    lab.elect(2)?;
    for _ in 0..100 {
        lab.propose(2, 8)?;
    }
    lab.settle()?;
    // The next leader expects everybody's log to be as long as its own.
    lab.crash(2)?;
    lab.start(2);
    lab.elect(3)?;
    lab.heal();
    let mut rejections = 0;
    for _ in 0..3 {
        lab.tick(3, 2)?;
        while !lab.wire.is_empty() {
            let sent = bodies(&lab, 1);
            let rejected = |body: &&Body| matches!(body, Body::AppendRejected { .. });
            rejections += sent.iter().filter(rejected).count();
            lab.deliver(|_| true)?;
        }
    }
    assert_eq!(lab.terms(1), lab.terms(3));
    assert!((1..=2).contains(&rejections), "{rejections}");
    Ok(())
}

#[test]
fn a_purged_prev_is_no_conflict() -> Played {
    let mut lab = lab(3);
    lab.elect(1)?;
    for _ in 0..9 {
        lab.propose(1, 1)?;
    }
    lab.settle()?;
    lab.beat(1)?;
    lab.save_snapshot(3);
    lab.crash(3)?;
    lab.start(3);
    // The commit index restarts at the snapshot; an Append from long ago comes.
    let view = lab.member(3).view.clone();
    let (first, last) = (view.first_index(), view.last_index());
    assert!(first > Index(4) && lab.core(3).commit_index() < last.next());
    let old = lab.member(1).view.entries(Index(4), usize::MAX).unwrap();
    lab.step(message(1, 3, 1, append((3, 1), 10, old)))?;
    assert_eq!(bodies(&lab, 3), [accepted(last.0)]);
    assert_eq!(lab.core(3).commit_index(), Index(10));
    assert_eq!(lab.member(3).view.first_index(), first);
    Ok(())
}

#[test]
fn a_follower_commits_no_further_than_the_message_shows() -> Played {
    let mut lab = lab(3);
    let old = (1..=3).map(|index| entry(index, 1)).collect();
    lab.step(message(1, 2, 1, append((0, 0), 0, old)))?;
    // The leader of term 2 committed 3 entries, of which only the first is the same.
    lab.step(message(3, 2, 2, append((1, 1), 3, vec![])))?;
    assert_eq!(lab.core(2).commit_index(), Index(1));
    let new = vec![entry(2, 2), entry(3, 2)];
    lab.step(message(3, 2, 2, append((1, 1), 3, new)))?;
    assert_eq!(lab.core(2).commit_index(), Index(3));
    Ok(())
}

#[test]
fn lost_appends_are_sent_again() -> Played {
    let mut lab = lab(3);
    lab.elect(1)?;
    for _ in 0..3 {
        lab.propose(1, 8)?;
    }
    // All of them, more than the window holds.
    lab.wire.clear();
    for _ in 0..3 {
        lab.propose(1, 8)?;
    }
    lab.wire.clear();
    for _ in 0..4 {
        lab.beat(1)?;
    }
    for id in 1..=3 {
        assert_eq!(lab.core(id).commit_index(), Index(7));
    }
    Ok(())
}

#[test]
fn a_follower_skips_its_own_newer_terms_at_once() -> Played {
    let mut lab = lab(3);
    let mut log = vec![entry(1, 1)];
    log.extend((2..=101).map(|index| entry(index, 3)));
    lab.step(message(1, 2, 3, append((0, 0), 1, log)))?;
    lab.wire.clear();
    // None of term 3 can be in a log that has term 2 at index 102.
    lab.step(message(3, 2, 4, append((102, 2), 1, vec![])))?;
    let rejected = Body::AppendRejected {
        prev_index: Index(102),
        hint_index: Index(1),
        hint_term: Term(1),
    };
    assert_eq!(bodies(&lab, 2), [rejected]);
    Ok(())
}

#[test]
fn a_heartbeat_commits_only_what_is_durable() -> Played {
    let mut lab = lab(3);
    lab.step(message(1, 2, 1, append((0, 0), 0, vec![entry(1, 1)])))?;
    lab.slow(2);
    lab.step(message(1, 2, 1, append((1, 1), 0, vec![entry(2, 1)])))?;
    let (commit, round) = (Index(2), 0);
    lab.step(message(1, 2, 1, Body::Heartbeat { commit, round }))?;
    assert_eq!(lab.core(2).commit_index(), Index(1));
    lab.persist(2)?;
    lab.step(message(1, 2, 1, Body::Heartbeat { commit, round }))?;
    assert_eq!(lab.core(2).commit_index(), Index(2));
    Ok(())
}
