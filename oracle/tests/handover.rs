//! A vote that the leader itself asked for is given in spite of its lease; any
//! other is not.

use afterimage_engine::mutant::Mutants;
use afterimage_engine::raft::{Body, Message};
use afterimage_engine::{Index, NodeId, Term};
use afterimage_oracle::{Cluster, Role};

/// Three members, led by the first.
fn led() -> Cluster {
    let mut cluster = Cluster::new(3, Mutants::NONE);
    while cluster.standing(1).role != Role::Leader {
        cluster.tick(1).unwrap();
        settle(&mut cluster);
    }
    cluster
}

fn settle(cluster: &mut Cluster) {
    loop {
        let wire = cluster.take_wire();
        if wire.is_empty() {
            return;
        }
        for message in wire {
            cluster.step(message).unwrap();
        }
    }
}

/// Whether 3, in the lease of 1, enters the term in which 2 asks for its vote.
fn enters(handover: bool) -> bool {
    let mut cluster = led();
    let before = cluster.standing(3);
    assert_eq!(before.leader, Some(1));
    let vote = Body::Vote {
        last_index: Index(before.log.len() as u64),
        last_term: Term(before.term),
        handover,
    };
    let message = Message {
        from: NodeId(2),
        to: NodeId(3),
        term: Term(before.term + 1),
        body: vote,
    };
    cluster.step(message).unwrap();
    let after = cluster.standing(3);
    assert_eq!(after.vote, Some(if handover { 2 } else { 1 }));
    after.term > before.term
}

#[test]
fn both_vote_when_the_leader_wants_it() {
    assert!(enters(true));
}

#[test]
fn both_are_deaf_in_a_lease() {
    assert!(!enters(false));
}
