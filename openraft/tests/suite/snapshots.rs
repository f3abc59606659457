//! Snapshots: built, sent in pieces, and cut off at each file operation.

use std::collections::BTreeSet;

use afterimage_openraft::{LogId, SnapshotStore};
use afterimage_sim::disk::{CrashPoint, CrashTrigger, Fates, Pattern};
use futures_util::stream;
use openraft::Membership;
use openraft::alias::{EntryOf, SnapshotMetaOf};
use openraft::entry::RaftEntry;
use openraft::storage::{RaftSnapshotBuilder, RaftStateMachine};

use crate::reopen::Rig;
use crate::{Machine, Types, run};

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(term.into(), index)
}

async fn apply(machine: &mut Machine, entries: impl IntoIterator<Item = EntryOf<Types>>) {
    let entries: Vec<_> = entries.into_iter().map(|e| Ok((e, None))).collect();
    machine.apply(stream::iter(entries)).await.unwrap();
}

/// A joint membership, then commands up to this index.
async fn apply_up_to(machine: &mut Machine, last: u64) {
    let next = machine.applied_state().await.unwrap().0;
    let next = next.map_or(0, |id| id.index + 1);
    let configs = vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 3])];
    let joint = Membership::new_with_defaults(configs, [4]);
    apply(
        machine,
        [EntryOf::<Types>::new_membership(log_id(1, next), joint)],
    )
    .await;
    let commands = (next + 1..=last)
        .map(|index| EntryOf::<Types>::new_normal(log_id(1, index), "a command".into()));
    apply(machine, commands).await;
}

async fn build(machine: &mut Machine) -> std::io::Result<SnapshotMetaOf<Types>> {
    let mut builder = machine.try_create_snapshot_builder(true).await.unwrap();
    Ok(builder.build_snapshot().await?.meta)
}

#[test]
fn a_snapshot_is_sent_in_pieces_and_restored() {
    run(async {
        let (leader, follower) = (Rig::new(), Rig::new());
        let (_log, mut from) = leader.open().unwrap();
        let (_log, mut to) = follower.open().unwrap();
        apply_up_to(&mut from, 1000).await;
        let meta = build(&mut from).await.unwrap();
        assert_eq!(meta.last_log_id, Some(log_id(1, 1000)));

        let sent = from.get_current_snapshot().await.unwrap().unwrap().snapshot;
        let snapshots: &SnapshotStore<Types> = to.snapshots();
        let mut arriving = snapshots.receive(&meta).await.unwrap();
        let mut offset = 0;
        loop {
            let piece = sent.read::<Types>(offset).await.unwrap();
            assert!(piece.len() <= 512, "pieces are chunks");
            if piece.is_empty() {
                break;
            }
            offset += piece.len() as u64;
            arriving.push::<Types>(piece).await.unwrap();
        }
        assert!(to.get_current_snapshot().await.unwrap().is_none());
        to.install_snapshot(&meta, arriving).await.unwrap();
        assert_eq!(to.machine(), from.machine());
        assert_eq!(
            to.applied_state().await.unwrap(),
            from.applied_state().await.unwrap()
        );
        // An older one is refused.
        let mut stale = meta.clone();
        stale.last_log_id = Some(log_id(1, 10));
        let older = to.snapshots().receive(&stale).await.unwrap();
        to.install_snapshot(&stale, older).await.unwrap_err();
        assert_eq!(to.machine(), from.machine());
        drop((to, from));
        assert_eq!(follower.found().await.1, Some(meta));
    });
}

/// Builds three snapshots; the ones that were acknowledged.
async fn build_three(rig: &Rig) -> std::io::Result<Vec<SnapshotMetaOf<Types>>> {
    let (_log, mut machine) = rig.open()?;
    let mut built = Vec::new();
    for last in [100, 200, 300] {
        apply_up_to(&mut machine, last).await;
        match build(&mut machine).await {
            Ok(meta) => built.push(meta),
            Err(_) => break,
        }
    }
    Ok(built)
}

#[test]
fn a_power_cut_leaves_the_snapshot_acknowledged_last_or_the_next() {
    let mut cuts = 0;
    let mut early = 0;
    for nth in 1.. {
        let rig = Rig::new();
        let point = CrashPoint::ALL[nth as usize % 3];
        rig.disk.arm_crash(CrashTrigger {
            pattern: Pattern::any(),
            nth,
            point,
        });
        let built = run(build_three(&rig)).unwrap_or_default();
        if !rig.disk.crash_fired() {
            assert_eq!(built.len(), 3);
            break;
        }
        rig.disk.power_cut(&Fates::Random(nth));
        let (_, found) = run(rig.found());
        let last = |meta: &SnapshotMetaOf<Types>| meta.last_log_id.map(|id| id.index);
        let (acknowledged, found) = (built.last().and_then(last), found.as_ref().and_then(last));
        let next = Some(acknowledged.unwrap_or(0) + 100);
        assert!(
            found == acknowledged || found == next,
            "{point} operation {nth}: {found:?} after {acknowledged:?}"
        );
        cuts += 1;
        early += u64::from(found != acknowledged);
    }
    assert!(cuts > 30 && early > 0, "{cuts} cuts, {early} early");
}
