//! The two slots of the hard state.

use afterimage_engine::Corruption;
use afterimage_engine::format::Slot;
use afterimage_engine::fs::FileExt;

use super::*;

#[test]
fn a_hard_state_never_overwrites_the_newest() {
    let rig = Rig::new();
    let path = rig.dir.path().join("hardstate");
    let slots = || {
        let bytes = OsFs.read(&path).unwrap();
        let (sectors, rest) = bytes.as_chunks();
        assert!(rest.is_empty());
        let slots = sectors.iter().map(|s| Slot::decode(s).unwrap().unwrap());
        slots.collect::<Vec<_>>()
    };
    for term in 1..6 {
        let before = slots();
        let newest = before.iter().max_by_key(|slot| slot.sequence).unwrap();
        rig.written(hard_state(term));
        let after = slots();
        assert!(after.contains(newest), "one to fall back to");
        let written = after.iter().max_by_key(|slot| slot.sequence).unwrap();
        assert_eq!(written.sequence, newest.sequence + 1);
        assert_eq!(written.hard_state.term, Term(term));
    }
}

/// A sector may hold a part of what was written last, and the rest of what was
/// there before, in units of eight bytes.
#[test]
fn a_hard_state_write_that_stopped_anywhere_leaves_the_newest() {
    for len in [8, 24, 96, 504] {
        let rig = Rig::new();
        rig.written(hard_state(5));
        rig.written(hard_state(6));
        let path = rig.dir.path().join("hardstate");
        let bytes = OsFs.read(&path).unwrap();
        let (sectors, _) = bytes.as_chunks();
        let slots = [0, 1].map(|n: usize| Slot::decode(&sectors[n]).unwrap().unwrap());
        let older = usize::from(slots[1].sequence < slots[0].sequence);
        let newest = &sectors[1 - older];
        let next = Slot {
            sequence: slots[1 - older].sequence + 1,
            other_crc: u32::from_le_bytes(*newest.last_chunk().unwrap()),
            hard_state: HardState {
                term: Term(7),
                vote: Some(NodeId(2)),
            },
            ..slots[older]
        };
        let mut torn = sectors[older];
        torn[..len].copy_from_slice(&next.encode()[..len]);
        let file = OsFs.open(&path).unwrap();
        file.write_all_at(&torn, older as u64 * 512).unwrap();
        drop(file);
        assert_eq!(rig.reopened().store.hard_state().term, Term(6), "{len}");
    }
}

/// The newest slot went bad after it was acknowledged: what it held is lost, and
/// until the term is past it the node may have voted for somebody else.
#[test]
fn a_hard_state_that_went_bad_stays_in_doubt() {
    let rig = Rig::new();
    rig.written(hard_state(5));
    rig.written(hard_state(6));
    let path = rig.dir.path().join("hardstate");
    let bytes = OsFs.read(&path).unwrap();
    let (sectors, _) = bytes.as_chunks();
    let newest = (0..2).max_by_key(|&n| Slot::decode(&sectors[n]).unwrap().unwrap().sequence);
    let at = newest.unwrap() as u64 * 512 + 60;
    let file = OsFs.open(&path).unwrap();
    file.write_all_at(&[0xff], at).unwrap();
    drop(file);
    let Rig { store, seen, dir } = rig;
    drop(store);
    let refused = open(Arc::new(OsFs), dir.path(), &seen, options());
    assert!(matches!(
        refused,
        Err(Error::Corrupt {
            what: Corruption::HardStateSlot,
            ..
        })
    ));
    // Said of what is found there, and then of what that open wrote.
    let accepting = Options {
        accept_bad_slot: true,
        ..options()
    };
    let store = open(Arc::new(OsFs), dir.path(), &seen, accepting).unwrap();
    let rig = Rig { store, seen, dir };
    assert!(rig.has_seen(in_doubt));
    let rig = rig.reopened();
    assert!(rig.has_seen(in_doubt));
    assert_eq!(rig.store.hard_state().term, Term(5));
    rig.written(hard_state(7));
    assert!(!rig.reopened().has_seen(in_doubt));
}

fn in_doubt(event: &Event) -> bool {
    matches!(event, Event::Recovered(report) if report.bad_hard_state_slot)
}
