//! Runtime faults, and the ordinary answers of a filesystem.

use super::*;
use crate::rng::Ratio;

/// The page of a failed sync is clean although it is not on the disk.
#[test]
fn after_a_failed_sync_the_next_one_lies() {
    let script = "create f; write f A512; sync f; sync_dir; write f @0 B512; write f C512
                  fail_sync f; sync f";
    let mut rig = Rig::new();
    rig.run(script);
    assert_eq!(show(&rig.disk.cached_files()), "f=B512 C512");
    assert_eq!(show(&rig.disk.durable_files()), "f=A512 .512");
    // The sync that said Ok persisted the length, and no data. Some sectors
    // may have been written before the error.
    check(
        script,
        &["f=A512 .512", "f=B512 .512", "f=A512 C512", "f=B512 C512"],
        &["f=A512"],
    );
    rig.run("evict");
    assert_eq!(show(&rig.disk.cached_files()), "f=A512 .512");
    check(
        &format!("{script}; evict"),
        &["f=A512 .512"],
        &["f=B512 .512", "f=A512 C512"],
    );
}

#[test]
fn a_page_that_lies_survives_the_process_and_not_the_power() {
    let script = "create f; sync_dir; write f A600; fail_sync f; kill; sync f";
    let mut rig = Rig::new();
    rig.run(script);
    let mut read = [0; 600];
    assert_eq!(rig.open("f").read_at(&mut read, 0).unwrap(), 600);
    assert_eq!(read, [b'A'; 600]);
    assert_eq!(show(&left(&rig.disk, &Fates::Lose)), "f=.600");
}

#[test]
fn an_evicted_cut_shows_nothing_past_the_end() {
    let mut rig = Rig::new();
    rig.run("create f; write f A1024; sync f; set_len f 100; fail_sync f; evict; set_len f 1024");
    assert_eq!(show(&rig.disk.cached_files()), "f=A100 .924");
}

#[test]
fn writing_a_page_again_makes_it_honest() {
    check(
        "create f; sync_dir; write f A600; fail_sync f; write f @0 B100; sync f",
        &["f=B100 A412 .88", "f=B100 A500"],
        &["f=.600", "f=A600"],
    );
    let mut rig = Rig::new();
    rig.run("create f; sync_dir; write f A600; fail_sync f; write f @0 B100; evict");
    // Under the newer write the older bytes of the same page stay.
    assert_eq!(show(&rig.disk.cached_files()), "f=B100 A412 .88");
}

#[test]
fn a_failed_sync_is_reported_once_by_each_open_handle() {
    let mut rig = Rig::new();
    rig.run("create f; write f A1");
    let (one, other) = (rig.open("f"), rig.open("f"));
    rig.disk.arm_fail(fail("sync", 1, FaultKind::Eio));
    assert!(is_injected(&one.sync(SyncMode::Data).unwrap_err()));
    one.sync(SyncMode::Data).unwrap();
    assert!(is_injected(&other.sync(SyncMode::Data).unwrap_err()));
    other.sync(SyncMode::Data).unwrap();
    rig.open("f").sync(SyncMode::Data).unwrap();
}

#[test]
fn a_failed_directory_sync_leaves_the_names_pending() {
    let mut rig = Rig::new();
    rig.run("create f");
    rig.disk.arm_fail(fail("sync_dir", 1, FaultKind::Eio));
    assert!(is_injected(&rig.step("sync_dir").unwrap_err()));
    assert_eq!(show(&left(&rig.disk, &Fates::Lose)), "");
    assert_eq!(show(&left(&rig.disk, &Fates::KeepAll)), "f=");
    rig.run("sync_dir");
    assert_eq!(show(&left(&rig.disk, &Fates::Lose)), "f=");
}

/// ext4 with data=journal or data_err=abort.
#[test]
fn an_error_may_make_the_filesystem_read_only_until_the_power_is_off() {
    let mut rig = Rig::new();
    rig.run("create f; write f A512; sync f; create g; sync_dir");
    rig.run("write f @0 B1024; write g C100; rename g h; create i");
    let file = rig.open("f");
    rig.disk.arm_fail(fail("sync:f", 1, FaultKind::Erofs));
    assert!(is_injected(&file.sync(SyncMode::Data).unwrap_err()));
    let cached = "f=B1024; h=C100; i=";
    let refused = |rig: &mut Rig, line: &str| {
        let error = rig.step(line).expect_err(line);
        assert_eq!(error.kind(), io::ErrorKind::ReadOnlyFilesystem, "{line}");
        assert!(is_injected(&error), "{line}");
    };
    for boot in ["", "kill"] {
        rig.run(boot);
        for line in [
            "create j",
            "mkdir d",
            "write f D9",
            "set_len f 3",
            "allocate f 9999",
            "sync f",
            "sync h",
            "rename h g",
            "unlink h",
            "sync_dir",
        ] {
            refused(&mut rig, line);
        }
        // What needs no change is answered as ever.
        let exists = rig.step("create h").unwrap_err();
        assert_eq!(exists.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(rig.fs.list(Path::new("")).unwrap().len(), 3);
        rig.run("sync; evict");
        assert_eq!(show(&rig.disk.cached_files()), cached);
    }
    // None of it reaches the disk, whatever somebody chose.
    assert!(rig.disk.pending().is_empty());
    let foretold = rig.disk.outcome_hash(&Fates::KeepAll);
    let report = rig.disk.power_cut(&Fates::KeepAll);
    assert_eq!(rig.disk.image_hash(), foretold);
    assert_eq!((report.kept, report.keep), (0, Keep::default()));
    assert_eq!(show(&rig.disk.durable_files()), "f=A512; g=");
    let mut rig = Rig::on(rig.disk);
    rig.run("write f E1; sync f; rename g h; sync_dir");
    assert_eq!(show(&left(&rig.disk, &Fates::Lose)), "f=A512 E1; h=");
}

#[test]
fn a_directory_sync_may_turn_it_read_only_too() {
    let mut rig = Rig::new();
    rig.run("create f; sync f");
    rig.disk.arm_fail(fail("sync_dir", 1, FaultKind::Erofs));
    assert!(is_injected(&rig.step("sync_dir").unwrap_err()));
    assert!(rig.disk.fork().is_read_only());
    assert_eq!(show(&left(&rig.disk, &Fates::KeepAll)), "");
}

/// Whoever is told of an error does not know whether it happened.
#[test]
fn an_operation_may_be_done_and_report_an_error() {
    let check = |line: &str, pattern: &str, not_done: &str, done: &str| {
        for (fault, expected) in [(FaultKind::Eio, not_done), (FaultKind::EioDone, done)] {
            let mut rig = Rig::new();
            rig.run("create f; write f A9; sync f; create g; sync_dir");
            rig.disk.arm_fail(fail(pattern, 1, fault));
            assert!(is_injected(&rig.step(line).unwrap_err()), "{line}");
            assert_eq!(show(&rig.disk.cached_files()), expected, "{line}");
            rig.run("sync_dir");
            assert_eq!(
                rig.disk
                    .disk
                    .state()
                    .inodes
                    .values()
                    .filter(|f| f.open > 0)
                    .count(),
                0
            );
        }
    };
    check("rename f g", "rename:g", "f=A9; g=", "g=A9");
    check("rename f h", "rename", "f=A9; g=", "g=; h=A9");
    check("unlink f", "unlink", "f=A9; g=", "g=");
    check("create h", "create", "f=A9; g=", "f=A9; g=; h=");
    check("set_len f 3", "set_len", "f=A9; g=", "f=A3; g=");
    let mut rig = Rig::new();
    rig.run("create f; write f A9");
    rig.disk.arm_fail(fail("sync_dir", 1, FaultKind::EioDone));
    assert!(is_injected(&rig.step("sync_dir").unwrap_err()));
    assert_eq!(show(&left(&rig.disk, &Fates::Lose)), "f=");
}

/// A caller that appends at the end of the file after a failed append leaves a
/// hole of zeros for ever, whatever it syncs.
#[test]
fn a_failed_append_may_leave_zeros() {
    let mut seen = BTreeMap::new();
    for seed in 0..60 {
        let mut rig = Rig::on(SimFs::new(seed));
        rig.run("create f; write f A512; sync f; sync_dir");
        rig.disk.arm_fail(fail("write", 1, FaultKind::Eio));
        let error = rig.step("write f B1024").unwrap_err();
        assert!(is_injected(&error) && error.kind() == io::ErrorKind::Other);
        rig.run("write f C100; sync f");
        rig.disk.power_cut(&Fates::Lose);
        *seen.entry(show(&rig.disk.durable_files())).or_insert(0) += 1;
    }
    let seen: Vec<&str> = seen.keys().map(String::as_str).collect();
    let possible = [
        "f=A512 .1024 C100",
        "f=A512 B1024 C100",
        "f=A512 B512 .512 C100",
        "f=A512 C100",
    ];
    assert_eq!(seen, possible);
}

#[test]
fn failures_hit_the_operation_they_wait_for_and_change_nothing() {
    let mut rig = Rig::new();
    rig.run("create f; write f A9");
    for pattern in [
        "open:f", "rename:g", "unlink", "list", "create:h", "set_len", "allocate",
    ] {
        rig.disk.arm_fail(fail(pattern, 1, FaultKind::Eio));
    }
    for line in [
        "open f",
        "rename f g",
        "unlink f",
        "create h",
        "set_len f 3",
        "allocate f 99",
    ] {
        let result = match line {
            "open f" => rig.fs.open(Path::new("f")).map(drop),
            line => rig.step(line),
        };
        let error = result.expect_err(line);
        assert!(is_injected(&error), "{line}: {error}");
    }
    assert!(is_injected(&rig.fs.list(Path::new("")).unwrap_err()));
    assert_eq!(show(&rig.disk.cached_files()), "f=A9");
    rig.disk.arm_fail(fail("read:f", 2, FaultKind::Eio));
    rig.disk.arm_fail(fail("read:g", 1, FaultKind::Eio));
    let file = rig.open("f");
    let mut read = [0; 20];
    assert_eq!(file.read_at(&mut read, 0).unwrap(), 9);
    assert!(is_injected(&file.read_at(&mut read, 0).unwrap_err()));
    assert_eq!(rig.disk.disarm_fails(), 1);
}

#[test]
fn short_operations_handle_at_least_a_byte_and_go_on() {
    let mut rig = Rig::new();
    rig.run("create f");
    let file = rig.open("f");
    rig.disk.arm_fail(fail("write", 1, FaultKind::Short));
    let written = file.write_at(&[b'A'; 100], 0).unwrap();
    assert!((1..100).contains(&written));
    assert_eq!(file.len().unwrap(), written as u64);

    rig.disk.short_io(Ratio {
        numerator: 1,
        denominator: 2,
    });
    rig.disk.record_ops(true);
    for n in 0..50 {
        write_all(&*file, n * 100, &[b'A'; 100]).unwrap();
    }
    assert_eq!(show(&rig.disk.cached_files()), "f=A5000");
    let short = rig.disk.take_ops();
    let short = short
        .iter()
        .filter(|op| op.outcome == OpOutcome::Injected(FaultKind::Short));
    assert!(short.count() > 20);
    assert_eq!(file.write_at(b"B", 0).unwrap(), 1);
    assert_eq!(file.write_at(b"", 0).unwrap(), 0);
}

#[test]
fn a_full_disk_refuses_what_needs_space_and_only_that() {
    let mut rig = Rig::new();
    rig.run("create f; create g; write f A1024");
    rig.disk.limit_space(Some(1024));
    let full = |result: io::Result<()>| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(is_injected(&error));
    };
    let file = rig.open("g");
    assert_eq!(file.write_at(&[b'B'; 2000], 100).unwrap(), 1024 - 100);
    full(file.write_at(b"C", 1024).map(drop));
    full(rig.step("create h"));
    full(rig.step("allocate g 4096"));
    rig.run("write f @0 D1024; set_len g 9000; rename g h; sync_dir; sync f");
    // Space comes back with the name, and with the bytes.
    rig.run("unlink h; write f E1024");
    full(rig.step("write f E1"));
    rig.run("set_len f 512; write f F1000");
    rig.disk.limit_space(None);
    rig.run("write f G90000");
}

#[test]
fn an_injected_lack_of_space_can_hit_a_sync() {
    let mut rig = Rig::new();
    rig.run("create f; sync_dir; write f A9");
    let file = rig.open("f");
    rig.disk.arm_fail(fail("sync", 1, FaultKind::Enospc));
    let error = file.sync(SyncMode::Data).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    file.sync(SyncMode::Data).unwrap();
    assert_eq!(show(&left(&rig.disk, &Fates::Lose)), "f=.9");
}

#[test]
fn ordinary_answers() {
    fn check(line: &str, expected: io::ErrorKind) {
        let mut rig = Rig::new();
        rig.run("create f; mkdir d");
        let kind = rig.step(line).map_err(|error| error.kind());
        assert_eq!(kind, Err(expected), "{line}");
        assert_eq!(show(&rig.disk.cached_files()), "f=");
    }
    use io::ErrorKind::*;
    check("create f", AlreadyExists);
    check("create d", AlreadyExists);
    check("create .", AlreadyExists);
    check("create x/f", NotFound);
    check("create f/f", NotADirectory);
    check("create ../f", InvalidInput);
    check("mkdir d", AlreadyExists);
    check("mkdir .", AlreadyExists);
    check("sync g", NotFound);
    check("sync d", IsADirectory);
    check("unlink g", NotFound);
    check("rename g f", NotFound);
    check("rename f x/f", NotFound);
    check("rename f d", IsADirectory);
    check("sync_dir x", NotFound);
    check("sync_dir f", NotADirectory);
    check("set_len f 99999999999", FileTooLarge);
}

#[test]
fn list_shows_one_directory_in_no_order() {
    let mut rig = Rig::new();
    rig.run("mkdir d; create d/x; create a; create b; create c; create d-e");
    let mut orders = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let mut names = rig.fs.list(Path::new("./")).unwrap();
        orders.insert(names.clone());
        names.sort();
        assert_eq!(names, ["a", "b", "c", "d", "d-e"]);
    }
    assert!(orders.len() > 5, "{orders:?}");
    assert_eq!(rig.fs.list(Path::new("/d")).unwrap(), ["x"]);
}

#[test]
fn an_unlinked_file_lives_on_in_its_handles() {
    let mut rig = Rig::new();
    rig.run("create f; write f A9");
    let file = rig.open("f");
    rig.run("unlink f; sync_dir; create f");
    let mut read = [0; 9];
    assert_eq!(file.read_at(&mut read, 0).unwrap(), 9);
    file.write_at(b"B", 0).unwrap();
    file.sync(SyncMode::All).unwrap();
    assert_eq!(show(&rig.disk.cached_files()), "f=");
    assert_eq!(rig.disk.disk.state().inodes.len(), 2);
    drop(file);
    assert_eq!(rig.disk.disk.state().inodes.len(), 1);
}

#[test]
fn a_lock_is_exclusive_until_it_is_dropped() {
    let rig = Rig::new();
    let lock = rig.fs.lock(Path::new("LOCK")).unwrap();
    let busy = rig.fs.lock(Path::new("LOCK")).unwrap_err();
    assert_eq!(busy.kind(), io::ErrorKind::WouldBlock);
    drop(lock);
    rig.fs.lock(Path::new("LOCK")).unwrap();
}
