//! Snapshots on their way.

use afterimage_engine::mutant::Mutants;
use afterimage_engine::raft::Body;
use afterimage_engine::{Index, Role, Term};

use crate::lab::{ELECTION_TICKS, Lab, Played, accepted, append, bodies, entry, message};
use crate::oracle::Violation;

/// A cluster of three in which 3 needs the snapshot of 1.
fn lab_with_a_straggler() -> Result<Lab, Violation> {
    straggler(Mutants::NONE)
}

fn straggler(mutants: Mutants) -> Result<Lab, Violation> {
    let mut lab = Lab::new(3, 0, mutants);
    lab.elect(1)?;
    lab.cut(&[3]);
    for _ in 0..20 {
        lab.propose(1, 4)?;
        lab.settle()?;
    }
    lab.save_snapshot(1);
    lab.save_snapshot(2);
    lab.heal();
    Ok(lab)
}

fn is_up_to_date(lab: &Lab, id: u64) -> bool {
    let leader = lab.core(1);
    let core = lab.core(id);
    core.commit_index() == leader.commit_index() && core.durable_index() == core.commit_index()
}

#[test]
fn a_straggler_gets_the_snapshot_and_goes_on() -> Played {
    let mut lab = lab_with_a_straggler()?;
    for _ in 0..3 {
        lab.beat(1)?;
    }
    assert_eq!(lab.oracle.stats.installs, 1);
    assert!(is_up_to_date(&lab, 3));
    lab.propose(1, 4)?;
    lab.settle()?;
    lab.beat(1)?;
    assert!(is_up_to_date(&lab, 3));
    assert_eq!(lab.oracle.stats.installs, 1);
    Ok(())
}

#[test]
fn a_transfer_survives_a_restart_and_a_newer_snapshot() -> Played {
    let mut lab = lab_with_a_straggler()?;
    let pieces = |lab: &Lab| {
        let sent = bodies(lab, 3);
        let wanted = |body: &&Body| matches!(body, Body::SnapshotWanted { .. });
        sent.iter().filter(wanted).count()
    };
    lab.tick(1, 2)?;
    while pieces(&lab) == 0 {
        lab.deliver(|_| true)?;
    }
    // In the middle of the transfer: the receiver forgets, the leader moves on.
    lab.crash(3)?;
    lab.start(3);
    lab.settle()?;
    lab.propose(1, 4)?;
    lab.settle()?;
    lab.save_snapshot(1);
    for _ in 0..ELECTION_TICKS {
        lab.beat(1)?;
    }
    assert_eq!(lab.oracle.stats.installs, 1);
    assert!(is_up_to_date(&lab, 3));
    Ok(())
}

#[test]
fn a_snapshot_that_tells_nothing_new_is_answered_with_progress() -> Played {
    let mut lab = lab_with_a_straggler()?;
    let (meta, data) = lab.member(1).view.snapshot.clone().unwrap();
    let last = meta.last_index;
    let body = Body::Snapshot {
        meta,
        offset: 0,
        data,
        done: true,
    };
    // 2 has all of it by its log, and does not know that all is committed.
    lab.crash(2)?;
    lab.start(2);
    lab.step(message(1, 2, 1, body))?;
    assert_eq!(bodies(&lab, 2), [accepted(last.0)]);
    assert_eq!(lab.oracle.stats.installs, 0);
    Ok(())
}

#[test]
fn pieces_of_two_leaders_do_not_make_one_snapshot() -> Played {
    let mut lab = lab_with_a_straggler()?;
    let (meta, data) = lab.member(1).view.snapshot.clone().unwrap();
    let piece = |offset: usize| Body::Snapshot {
        meta: meta.clone(),
        offset: offset as u64,
        data: data[offset..offset + 4].to_vec(),
        done: false,
    };
    let wanted = |offset| Body::SnapshotWanted {
        last_index: meta.last_index,
        offset,
    };
    lab.step(message(1, 3, 1, piece(0)))?;
    lab.step(message(1, 3, 1, piece(4)))?;
    assert_eq!(bodies(&lab, 3), [wanted(4), wanted(8)]);
    lab.wire.clear();
    lab.step(message(2, 3, 2, piece(8)))?;
    lab.step(message(2, 3, 2, piece(0)))?;
    assert_eq!(bodies(&lab, 3), [wanted(0), wanted(4)]);
    Ok(())
}

#[test]
fn an_install_that_finishes_is_left_alone() -> Played {
    let mut lab = lab_with_a_straggler()?;
    lab.holds_installs = true;
    lab.beat(1)?;
    let before = lab.terms(3);
    // Its leader is gone; it neither runs for office nor takes entries ...
    lab.tick(3, 3 * ELECTION_TICKS)?;
    assert_eq!(lab.core(3).role(), Role::Follower);
    lab.step(message(2, 3, 2, append((1, 1), 1, vec![entry(2, 2)])))?;
    assert_eq!(bodies(&lab, 3), []);
    assert_eq!(lab.terms(3), before);
    // ... but it votes.
    lab.tick(3, ELECTION_TICKS)?;
    let (last_index, last_term) = (Index(30), Term(2));
    let body = Body::Vote {
        last_index,
        last_term,
        handover: false,
    };
    lab.step(message(2, 3, 3, body))?;
    assert_eq!(bodies(&lab, 3), [Body::VoteReply { granted: true }]);
    lab.finish_install(3)?;
    let (meta, _) = lab.member(3).view.snapshot.clone().unwrap();
    assert_eq!(lab.core(3).commit_index(), meta.last_index);
    assert_eq!(lab.core(3).durable_index(), meta.last_index);
    Ok(())
}

#[test]
fn a_late_snapshot_leaves_a_longer_log_alone() -> Played {
    late_snapshot(Mutants::NONE)
}

/// 1 and 2 have committed an entry behind the snapshot, which comes to 2 late,
/// after a restart. Then 2 leads: what it had acknowledged must still be there.
pub fn late_snapshot(mutants: Mutants) -> Played {
    let mut lab = straggler(mutants)?;
    let (meta, data) = lab.member(1).view.snapshot.clone().unwrap();
    lab.cut(&[3]);
    lab.propose(1, 4)?;
    lab.settle()?;
    assert!(lab.core(1).commit_index() > meta.last_index);
    let (offset, done) = (0, true);
    let late = Body::Snapshot {
        meta,
        offset,
        data,
        done,
    };
    lab.crash(2)?;
    lab.start(2);
    lab.step(message(1, 2, 1, late))?;
    lab.heal();
    lab.cut(&[1]);
    lab.elect(2)
}
