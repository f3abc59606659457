//! Linearizable reads.

use afterimage_engine::Index;
use afterimage_engine::raft::{Body, Message};

use crate::lab::{ELECTION_TICKS, Lab, Played, lab};

#[test]
fn a_read_at_a_deposed_leader_fails() -> Played {
    let mut lab = lab(3);
    lab.elect(1)?;
    lab.cut(&[1]);
    lab.read(1, 1)?;
    lab.settle()?;
    lab.elect(2)?;
    lab.propose(2, 8)?;
    lab.settle()?;
    assert!(lab.granted.is_empty());
    for _ in 0..ELECTION_TICKS {
        lab.beat(1)?;
    }
    assert_eq!(lab.failed, [1]);
    lab.read(2, 2)?;
    lab.settle()?;
    assert_eq!(
        (lab.granted[0].context, lab.granted[0].index),
        (2, Index(3))
    );
    Ok(())
}

#[test]
fn a_read_waits_for_the_new_leaders_first_commit() -> Played {
    let mut lab = lab(3);
    lab.elect(1)?;
    lab.propose(1, 8)?;
    lab.settle()?;
    lab.campaign(2)?;
    while !lab.member(2).is_leader() {
        lab.deliver(|_| true)?;
    }
    // It has what was committed, but does not know that.
    assert!(lab.core(2).commit_index() < Index(2));
    lab.read(2, 1)?;
    let heartbeats = |message: &Message| message.body.name().starts_with("heartbeat");
    lab.deliver(heartbeats)?;
    lab.deliver(heartbeats)?;
    assert!(lab.granted.is_empty());
    lab.settle()?;
    assert_eq!(lab.granted[0].index, Index(3));
    Ok(())
}

#[test]
fn a_round_under_way_does_not_confirm_a_later_read() -> Played {
    let mut lab = lab(3);
    lab.elect(1)?;
    lab.read(1, 1)?;
    // The answers to the first round are on the wire when the second read comes.
    lab.deliver(|_| true)?;
    lab.read(1, 2)?;
    lab.deliver(|message| message.body == Body::HeartbeatReply { round: 1 })?;
    let contexts = |lab: &Lab| {
        lab.granted
            .iter()
            .map(|read| read.context)
            .collect::<Vec<_>>()
    };
    assert_eq!(contexts(&lab), [1]);
    lab.settle()?;
    assert_eq!(contexts(&lab), [1, 2]);
    Ok(())
}
