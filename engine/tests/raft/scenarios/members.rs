//! Changes of the membership, and the leadership handed over.

use afterimage_engine::raft::{Body, Change, LogView, NotLeader, Refused};
use afterimage_engine::{Index, NodeId, Role, Term};

use crate::lab::{ELECTION_TICKS, Lab, Played, lab, lab_with_spares};
use crate::oracle::Violation;

fn voters(lab: &Lab, id: u64) -> Vec<u64> {
    let voters = &lab.core(id).membership().voters;
    voters.iter().map(|id| id.0).collect()
}

/// A cluster that knows that 1 leads it.
fn led_by_1(voters: u64, spares: u64) -> Result<Lab, Violation> {
    let mut lab = lab_with_spares(voters, spares);
    lab.elect(1)?;
    lab.beat(1)?;
    Ok(lab)
}

#[test]
fn a_server_joins_as_a_learner_and_is_promoted() -> Played {
    let mut lab = led_by_1(3, 1)?;
    for _ in 0..5 {
        lab.propose(1, 8)?;
    }
    lab.settle()?;
    // A snapshot stands for the log that it does not have.
    lab.save_snapshot(1);
    let n4 = NodeId(4);
    assert_eq!(
        lab.change(1, Change::Promote(n4))?,
        Err(Refused::NotLearner(n4))
    );
    lab.change_and_settle(1, Change::AddLearner(n4))?;
    assert_eq!(lab.core(4).membership().learners, [n4]);
    assert_eq!(lab.oracle.stats.installs, 1);
    lab.change_and_settle(1, Change::Promote(n4))?;
    for id in 1..=4 {
        assert_eq!(voters(&lab, id), [1, 2, 3, 4]);
    }
    // It counts: two of four are no quorum.
    lab.cut(&[2, 3]);
    lab.propose(1, 8)?;
    let commit = lab.core(1).commit_index();
    lab.beat(1)?;
    assert_eq!(lab.core(1).commit_index(), commit);
    lab.heal();
    lab.beat(1)?;
    assert_eq!(lab.core(1).commit_index(), commit.next());
    Ok(())
}

#[test]
fn a_learner_that_lags_is_not_promoted() -> Played {
    let mut lab = led_by_1(3, 1)?;
    let n4 = NodeId(4);
    lab.change_and_settle(1, Change::AddLearner(n4))?;
    lab.cut(&[4]);
    lab.propose(1, 8)?;
    lab.beat(1)?;
    let promote = Change::Promote(n4);
    assert_eq!(lab.change(1, promote)?, Err(Refused::NotCaughtUp(n4)));
    lab.heal();
    lab.beat(1)?;
    assert_eq!(lab.change(1, promote)?, Ok(()));
    Ok(())
}

#[test]
fn changes_come_one_at_a_time() -> Played {
    let mut lab = led_by_1(3, 2)?;
    lab.cut(&[2, 3]);
    assert_eq!(lab.change(1, Change::AddLearner(NodeId(4)))?, Ok(()));
    let index = lab.member(1).view.last_index();
    for change in [Change::AddLearner(NodeId(5)), Change::Remove(NodeId(2))] {
        let refused = lab.change(1, change)?;
        assert_eq!(refused, Err(Refused::ChangePending { index }));
    }
    lab.heal();
    lab.beat(1)?;
    assert_eq!(lab.change(1, Change::Remove(NodeId(2)))?, Ok(()));
    Ok(())
}

#[test]
fn what_makes_no_sense_is_refused_by_name() -> Played {
    let mut lab = led_by_1(2, 1)?;
    let n = NodeId;
    let not_leader = Refused::NotLeader(NotLeader { leader: Some(n(1)) });
    assert_eq!(lab.change(2, Change::Remove(n(1)))?, Err(not_leader));
    assert_eq!(lab.hand_over(2, 1)?, Err(not_leader));
    for (change, refused) in [
        (Change::AddLearner(n(2)), Refused::IsMember(n(2))),
        (Change::Promote(n(2)), Refused::NotLearner(n(2))),
        (Change::Remove(n(3)), Refused::NotMember(n(3))),
    ] {
        assert_eq!(lab.change(1, change)?, Err(refused));
    }
    lab.change_and_settle(1, Change::AddLearner(n(3)))?;
    for to in [1, 3] {
        assert_eq!(lab.hand_over(1, to)?, Err(Refused::NotVoter(n(to))));
    }
    lab.change_and_settle(1, Change::Remove(n(2)))?;
    let last = lab.change(1, Change::Remove(n(1)))?;
    assert_eq!(last, Err(Refused::LastVoter(n(1))));
    Ok(())
}

/// The bug of 2015: 1 changes, 2 changes the same membership, 1 returns.
#[test]
fn a_new_leader_changes_nothing_before_it_commits() -> Played {
    let mut lab = led_by_1(4, 1)?;
    lab.cut(&[1, 5]);
    assert_eq!(lab.change(1, Change::AddLearner(NodeId(5)))?, Ok(()));
    lab.campaign(2)?;
    while !lab.member(2).is_leader() {
        lab.deliver(|_| true)?;
    }
    let remove = Change::Remove(NodeId(4));
    assert_eq!(lab.change(2, remove)?, Err(Refused::CommitUnknown));
    lab.settle()?;
    assert_eq!(lab.change(2, remove)?, Ok(()));
    // From here on 1 can't win with what only it has.
    lab.settle()?;
    assert_eq!(lab.core(2).membership().voters.len(), 3);
    lab.heal();
    lab.beat(2)?;
    assert_eq!(voters(&lab, 1), [1, 2, 3]);
    assert_eq!(lab.core(1).membership().learners, []);
    Ok(())
}

#[test]
fn a_truncated_change_is_undone_and_a_restart_finds_what_counts() -> Played {
    let mut lab = led_by_1(3, 0)?;
    lab.cut(&[1]);
    assert_eq!(lab.change(1, Change::Remove(NodeId(3)))?, Ok(()));
    assert_eq!(voters(&lab, 1), [1, 2]);
    lab.crash(1)?;
    lab.start(1);
    assert_eq!(voters(&lab, 1), [1, 2], "it was durable");
    lab.elect(2)?;
    lab.heal();
    lab.beat(2)?;
    lab.beat(2)?;
    assert_eq!(voters(&lab, 1), [1, 2, 3]);
    lab.change_and_settle(2, Change::Remove(NodeId(3)))?;
    lab.save_snapshot(1);
    lab.crash(1)?;
    lab.start(1);
    assert_eq!(voters(&lab, 1), [1, 2], "the snapshot says so");
    Ok(())
}

#[test]
fn a_leader_that_removes_itself_leads_until_that_is_committed() -> Played {
    let mut lab = led_by_1(3, 0)?;
    lab.cut(&[3]);
    assert_eq!(lab.change(1, Change::Remove(NodeId(1)))?, Ok(()));
    lab.beat(1)?;
    // Its own disk counts no more: 2 alone is no majority of 2 and 3.
    assert!(lab.member(1).is_leader());
    assert!(lab.core(1).change_is_pending());
    lab.heal();
    lab.beat(1)?;
    assert_eq!(lab.core(1).role(), Role::Follower);
    // It told who has the most to take over.
    lab.settle()?;
    let leaders = [2, 3].map(|id| lab.member(id).is_leader());
    assert!(leaders.contains(&true), "{leaders:?}");
    assert_eq!(lab.core(2).term(), Term(2));
    lab.tick(1, 5 * ELECTION_TICKS)?;
    assert_eq!(lab.core(1).role(), Role::Follower);
    Ok(())
}

/// Figure 4.6 of the thesis: the removed server has the only log that can win.
#[test]
fn a_server_whose_removal_is_open_still_campaigns() -> Played {
    let mut lab = led_by_1(2, 0)?;
    lab.cut(&[2]);
    assert_eq!(lab.change(1, Change::Remove(NodeId(1)))?, Ok(()));
    lab.crash(1)?;
    lab.wire.clear();
    lab.start(1);
    assert_eq!(voters(&lab, 1), [2]);
    lab.heal();
    lab.campaign(1)?;
    lab.settle()?;
    // 1 won, committed its removal, and handed over.
    assert_eq!(lab.core(1).commit_index(), Index(3));
    assert!(lab.member(2).is_leader() && !lab.member(1).is_leader());
    assert_eq!(voters(&lab, 2), [2]);
    Ok(())
}

/// etcd #8501: 2 votes, though it does not know yet that it may.
#[test]
fn a_learner_votes_for_whoever_knows_that_it_was_promoted() -> Played {
    let mut lab = led_by_1(1, 1)?;
    lab.change_and_settle(1, Change::AddLearner(NodeId(2)))?;
    lab.cut(&[2]);
    assert_eq!(lab.change(1, Change::Promote(NodeId(2)))?, Ok(()));
    lab.crash(1)?;
    lab.wire.clear();
    lab.start(1);
    lab.heal();
    assert_eq!(voters(&lab, 2), [1]);
    lab.elect(1)?;
    lab.beat(1)?;
    assert_eq!(voters(&lab, 2), [1, 2]);
    assert!(!lab.core(1).change_is_pending());
    Ok(())
}

#[test]
fn a_removed_server_disturbs_nobody() -> Played {
    let mut lab = led_by_1(4, 0)?;
    lab.cut(&[4]);
    assert_eq!(lab.change(1, Change::Remove(NodeId(4)))?, Ok(()));
    lab.beat(1)?;
    lab.heal();
    for _ in 0..20 {
        lab.tick(4, ELECTION_TICKS)?;
        lab.beat(1)?;
    }
    assert_eq!(lab.core(4).role(), Role::PreCandidate);
    assert!(lab.member(1).is_leader());
    for id in 1..=4 {
        assert_eq!(lab.core(id).term(), Term(1));
    }
    Ok(())
}

#[test]
fn the_leadership_changes_hands_at_once() -> Played {
    let mut lab = led_by_1(3, 0)?;
    // The target lags: first it gets what is missing.
    lab.cut(&[2]);
    lab.propose(1, 8)?;
    lab.settle()?;
    lab.heal();
    assert_eq!(lab.hand_over(1, 2)?, Ok(()));
    assert!(!lab.wire.iter().any(|sent| sent.body == Body::TimeoutNow));
    lab.beat(1)?;
    lab.settle()?;
    assert!(lab.member(2).is_leader());
    assert_eq!(lab.core(2).term(), Term(2));
    assert_eq!(lab.oracle.stats.handovers, 1);
    lab.propose(2, 8)?;
    lab.settle()?;
    assert_eq!(lab.core(2).commit_index(), Index(4));
    Ok(())
}

#[test]
fn a_handover_refuses_proposals_and_gives_up() -> Played {
    let mut lab = led_by_1(3, 0)?;
    lab.cut(&[2]);
    lab.propose(1, 8)?;
    assert_eq!(lab.hand_over(1, 2)?, Ok(()));
    let to = NodeId(2);
    let refused = Err(Refused::HandingOver { to });
    for tick in 0..ELECTION_TICKS {
        let change = lab.change(1, Change::Remove(to))?;
        assert_eq!(change, refused, "after {tick} ticks");
        assert_eq!(lab.hand_over(1, 3)?, refused);
        assert!(!lab.proposes(1)?);
        lab.tick(1, 1)?;
        lab.settle()?;
    }
    assert!(lab.member(1).is_leader());
    assert!(lab.proposes(1)?);
    Ok(())
}

#[test]
fn a_late_timeout_now_is_nobodys_order() -> Played {
    let mut lab = lab(3);
    lab.elect(1)?;
    lab.beat(1)?;
    // From one who does not lead, and from one who led an older term.
    for (from, term) in [(3, 1), (1, 0)] {
        let order = crate::lab::message(from, 2, term, Body::TimeoutNow);
        lab.step(order)?;
        assert_eq!(lab.core(2).role(), Role::Follower);
        assert_eq!(lab.core(2).term(), Term(1));
    }
    Ok(())
}
