//! Who leads.

use afterimage_engine::raft::Body;
use afterimage_engine::{Index, NodeId, Role, Term};

use crate::lab::{ELECTION_TICKS, Played, accepted, append, bodies, entry, lab, message};

#[test]
fn a_lonely_member_does_not_drive_the_term_up() -> Played {
    let mut lab = lab(3);
    lab.elect(1)?;
    lab.cut(&[3]);
    for _ in 0..50 {
        lab.beat(1)?;
        lab.tick(3, ELECTION_TICKS)?;
        lab.settle()?;
    }
    assert_eq!(lab.core(3).role(), Role::PreCandidate);
    lab.heal();
    lab.beat(1)?;
    assert!(lab.member(1).is_leader());
    for id in 1..=3 {
        assert_eq!(lab.core(id).term(), Term(1));
        assert_eq!(lab.core(id).leader(), Some(NodeId(1)));
    }
    Ok(())
}

#[test]
fn a_live_leader_is_not_disturbed_by_votes() -> Played {
    let mut lab = lab(3);
    lab.elect(1)?;
    let (last_index, last_term) = (Index(9), Term(9));
    for body in [
        Body::PreVote {
            last_index,
            last_term,
        },
        Body::Vote {
            last_index,
            last_term,
            handover: false,
        },
    ] {
        for to in [1, 2] {
            lab.step(message(3, to, 9, body.clone()))?;
            assert_eq!(bodies(&lab, to), []);
            assert_eq!(lab.core(to).term(), Term(1));
        }
    }
    Ok(())
}

#[test]
fn a_member_with_a_newer_term_is_let_in_again() -> Played {
    let mut lab = lab(3);
    lab.elect(1)?;
    // 3 got into term 8 somehow, and no vote of it is ever heard.
    lab.cut(&[1, 2]);
    let body = Body::Vote {
        last_index: Index(0),
        last_term: Term(0),
        handover: false,
    };
    lab.tick(3, ELECTION_TICKS)?;
    lab.step(message(2, 3, 8, body))?;
    assert_eq!(lab.core(3).term(), Term(8));
    lab.settle()?;
    lab.heal();
    // Its answer to the old leader's heartbeat ends that leadership ...
    lab.beat(1)?;
    assert!(!lab.member(1).is_leader());
    // ... and one of the rest learns of the term, then is elected.
    lab.campaign(2)?;
    lab.settle()?;
    assert_eq!(lab.core(2).term(), Term(8));
    lab.elect(2)?;
    lab.beat(2)?;
    assert_eq!(lab.core(3).leader(), Some(NodeId(2)));
    assert_eq!(lab.core(3).term(), Term(9));
    Ok(())
}

#[test]
fn a_leader_without_a_quorum_steps_down() -> Played {
    let mut lab = lab(5);
    lab.elect(1)?;
    lab.cut(&[3, 4]);
    for _ in 0..20 {
        lab.beat(1)?;
    }
    assert!(lab.member(1).is_leader());
    lab.cut(&[5]);
    for _ in 0..ELECTION_TICKS {
        lab.beat(1)?;
    }
    assert!(!lab.member(1).is_leader());
    assert_eq!(lab.core(1).leader(), None);
    Ok(())
}

#[test]
fn a_second_vote_in_a_term_is_refused() -> Played {
    let mut lab = lab(3);
    let body = Body::Vote {
        last_index: Index(0),
        last_term: Term(0),
        handover: false,
    };
    for (from, granted) in [(1, true), (3, false), (1, true)] {
        lab.wire.clear();
        lab.step(message(from, 2, 1, body.clone()))?;
        assert_eq!(bodies(&lab, 2), [Body::VoteReply { granted }]);
    }
    Ok(())
}

#[test]
fn nothing_of_a_term_is_said_before_the_term_is_durable() -> Played {
    let mut lab = lab(3);
    lab.slow(2);
    let body = Body::Vote {
        last_index: Index(0),
        last_term: Term(0),
        handover: false,
    };
    lab.step(message(1, 2, 1, body.clone()))?;
    lab.step(message(1, 2, 1, append((0, 0), 0, vec![entry(1, 1)])))?;
    lab.step(message(1, 2, 1, append((9, 1), 0, vec![])))?;
    lab.step(message(
        1,
        2,
        1,
        Body::Heartbeat {
            commit: Index(0),
            round: 3,
        },
    ))?;
    assert_eq!(bodies(&lab, 2), []);
    // The vote first, then the entry of a later batch.
    lab.persist_one(2)?;
    let said = bodies(&lab, 2);
    assert_eq!(said[0], Body::VoteReply { granted: true });
    assert!(
        said.contains(&Body::HeartbeatReply { round: 3 }),
        "{said:?}"
    );
    assert!(!said.contains(&accepted(1)), "{said:?}");
    lab.persist_one(2)?;
    assert_eq!(bodies(&lab, 2).last(), Some(&accepted(1)));
    // And a candidate asks nobody before its own vote is safe.
    lab.slow(3);
    lab.tick(3, 2 * ELECTION_TICKS)?;
    lab.wire.clear();
    let granted = Body::PreVoteReply { granted: true };
    lab.step(message(1, 3, 1, granted))?;
    assert_eq!(
        (lab.core(3).role(), bodies(&lab, 3)),
        (Role::Candidate, vec![])
    );
    lab.persist_one(3)?;
    assert!(matches!(
        bodies(&lab, 3)[..],
        [Body::Vote { .. }, Body::Vote { .. }]
    ));
    Ok(())
}

#[test]
fn a_candidates_own_vote_counts_once_it_is_durable() -> Played {
    let mut lab = lab(3);
    lab.step(message(1, 3, 1, append((0, 0), 0, vec![entry(1, 1)])))?;
    lab.slow(3);
    lab.step(message(1, 3, 1, append((1, 1), 0, vec![entry(2, 1)])))?;
    lab.tick(3, 2 * ELECTION_TICKS)?;
    lab.step(message(2, 3, 2, Body::PreVoteReply { granted: true }))?;
    lab.step(message(2, 3, 2, Body::VoteReply { granted: true }))?;
    // First the entry, then the vote.
    lab.persist_one(3)?;
    assert_eq!(lab.core(3).role(), Role::Candidate);
    lab.persist_one(3)?;
    assert_eq!(lab.core(3).role(), Role::Leader);
    Ok(())
}
