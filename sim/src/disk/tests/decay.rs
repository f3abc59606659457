//! Latent faults: bit rot, unreadable sectors, lost and misdirected writes.

use super::*;

fn rot(file: &str, sector: Option<u32>, bit: Option<u32>) -> Damage {
    Damage {
        kind: DamageKind::Rot,
        file: file.to_owned(),
        sector,
        bit,
    }
}

fn unreadable(file: &str, sector: u32) -> Damage {
    Damage {
        kind: DamageKind::Unreadable,
        file: file.to_owned(),
        sector: Some(sector),
        bit: None,
    }
}

/// Two durable sectors of `A`.
fn durable() -> Rig {
    let mut rig = Rig::new();
    rig.run("create f; write f A1024; sync f; sync_dir");
    rig
}

/// `A` is 0x41, `@` is 0x40: bit 0 of a byte flipped.
const BIT_0: u32 = 0;

#[test]
fn a_rotten_bit_shows_once_the_cache_is_gone() {
    let check = |script: &str, shown: &str| {
        let mut rig = durable();
        assert!(
            rig.disk
                .damage(&rot("f", Some(1), Some(BIT_0)), 0)
                .is_some()
        );
        rig.run(script);
        assert_eq!(show(&rig.disk.cached_files()), shown, "{script}");
    };
    check("", "f=A1024");
    check("kill; sync f", "f=A1024");
    check("evict", "f=A512 @1 A511");
    // What is written over it is written from the cache.
    check("write f @512 B512; evict", "f=A512 B512");
    check("write f @600 B8; evict; sync f; evict", "f=A600 B8 A416");
    let rig = durable();
    rig.disk.damage(&rot("f", Some(1), Some(BIT_0)), 0);
    rig.disk.power_cut(&Fates::Lose);
    assert_eq!(show(&rig.disk.cached_files()), "f=A512 @1 A511");
    assert_eq!(show(&rig.disk.durable_files()), "f=A512 @1 A511");
}

#[test]
fn after_a_power_cut_nothing_is_cached() {
    let rig = durable();
    rig.disk.power_cut(&Fates::Lose);
    rig.disk.damage(&rot("f", Some(0), Some(BIT_0)), 0);
    assert_eq!(show(&rig.disk.cached_files()), "f=@1 A1023");
}

#[test]
fn what_is_left_open_is_drawn_and_said() {
    let mut rig = durable();
    rig.run("create g; allocate g 4096; write g @512 B512; sync g; sync_dir");
    rig.run("create h; write h C512");
    let mut hit = BTreeMap::new();
    for draw in 0..200 {
        let fork = rig.disk.fork();
        let drawn = fork.damage(&rot("*", None, None), draw).unwrap();
        // The same again, with nothing left to draw, does the same.
        let again = rig.disk.fork();
        assert_eq!(again.damage(&drawn, 99), Some(drawn.clone()));
        assert_eq!(again.image_hash(), fork.image_hash());
        assert_ne!(fork.image_hash(), rig.disk.image_hash());
        *hit.entry((drawn.file, drawn.sector)).or_insert(0) += 1;
    }
    // Neither zeros nor what is not durable.
    let names: Vec<_> = hit
        .keys()
        .map(|(file, sector)| (file.as_str(), sector.unwrap()))
        .collect();
    assert_eq!(names, [("f", 0), ("f", 1), ("g", 1)]);
}

#[test]
fn damage_that_hits_nothing_has_no_effect() {
    let mut rig = durable();
    rig.run("create g; write g B100");
    let before = rig.disk.image_hash();
    for damage in [
        rot("x", None, None),
        rot("f", Some(2), None),
        rot("g", None, None),
        unreadable("g", 0),
    ] {
        assert_eq!(rig.disk.damage(&damage, 7), None, "{damage:?}");
    }
    assert_eq!(rig.disk.image_hash(), before);
}

#[test]
fn an_unreadable_sector_fails_until_it_is_overwritten() {
    let mut rig = durable();
    rig.disk.damage(&unreadable("f", 1), 0).unwrap();
    let read = |rig: &Rig, at: u64| rig.open("f").read_at(&mut [0; 100], at);
    let fails = |result: io::Result<usize>| {
        let error = result.unwrap_err();
        assert!(is_injected(&error));
        assert_eq!(error.to_string(), "the sector at offset 512 is unreadable");
    };
    assert_eq!(read(&rig, 0).unwrap(), 100);
    fails(read(&rig, 412 + 1));
    fails(read(&rig, 900));
    assert_eq!(read(&rig, 1024).unwrap(), 0);
    // A part of it can't be changed without a look at the rest.
    fails(rig.open("f").write_at(b"B", 600));
    rig.run("kill");
    fails(read(&rig, 900));
    // An overwrite counts once it is durable.
    rig.run("write f @512 B512");
    assert_eq!(read(&rig, 900).unwrap(), 100);
    let lost = rig.disk.fork();
    lost.power_cut(&Fates::Lose);
    fails(read(&Rig::on(lost), 900));
    rig.run("write f @600 C1; sync f");
    rig.disk.power_cut(&Fates::Lose);
    let rig = Rig::on(rig.disk);
    assert_eq!(read(&rig, 900).unwrap(), 100);
}

#[test]
fn a_lost_write_is_acknowledged_and_nowhere() {
    let mut left = BTreeMap::new();
    for seed in 0..40 {
        let mut rig = Rig::on(SimFs::new(seed));
        rig.run("create f; write f A512; sync f; sync_dir; write f @0 B1024");
        rig.disk.arm_fail(fail("sync:f", 1, FaultKind::Lost));
        rig.run("sync f");
        assert_eq!(show(&rig.disk.cached_files()), "f=B1024");
        // Another sync does not know of it either.
        rig.run("sync f; evict");
        let shown = show(&rig.disk.cached_files());
        rig.disk.power_cut(&Fates::KeepAll);
        assert_eq!(show(&rig.disk.durable_files()), shown);
        *left.entry(shown).or_insert(0) += 1;
    }
    let left: Vec<&str> = left.keys().map(String::as_str).collect();
    assert_eq!(left, ["f=A512 B512", "f=B512 .512"]);
}

#[test]
fn a_misdirected_write_spoils_two_places() {
    let mut left = BTreeMap::new();
    for seed in 0..40 {
        let mut rig = Rig::on(SimFs::new(seed));
        rig.run("create f; write f A512; sync f; create g; write g C1024; sync g; sync_dir");
        rig.run("write f @0 B512");
        rig.disk.arm_fail(fail("sync:f", 1, FaultKind::Misdirected));
        rig.run("sync f");
        assert_eq!(show(&rig.disk.cached_files()), "f=B512; g=C1024");
        rig.disk.power_cut(&Fates::KeepAll);
        *left.entry(show(&rig.disk.durable_files())).or_insert(0) += 1;
    }
    let left: Vec<&str> = left.keys().map(String::as_str).collect();
    assert_eq!(left, ["f=A512; g=B512 C512", "f=A512; g=C512 B512"]);
}

#[test]
fn a_sync_with_nothing_to_write_loses_nothing() {
    let mut rig = durable();
    rig.disk.record_ops(true);
    rig.disk.arm_fail(fail("*", 1, FaultKind::Lost));
    rig.run("sync_dir; sync f");
    assert!(
        rig.disk
            .take_ops()
            .iter()
            .all(|op| op.outcome == OpOutcome::Ok)
    );
    assert_eq!(rig.disk.disarm_fails(), 0);
}
