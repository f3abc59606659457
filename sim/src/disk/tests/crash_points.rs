//! Rules 6 and 7: crashes at and in operations, and the handles after them.

use super::*;

/// The script until the armed crash fires; the disk as it is then.
fn crashed(script: &str, trigger: CrashTrigger) -> Rig {
    let mut rig = Rig::new();
    let (before, after) = script.split_once('|').unwrap();
    rig.run(before);
    rig.disk.arm_crash(trigger);
    let mut failed = after.split(';').map(|line| rig.step(line.trim()));
    let failed = failed.find_map(Result::err).expect("the crash fires");
    assert!(is_power_lost(&failed));
    assert!(rig.disk.crash_fired());
    rig
}

#[test]
fn before_an_operation_it_has_not_happened_after_it_it_has() {
    fn check(script: &str, pattern: &str, before: &str, after: &str) {
        for (point, cached) in [(CrashPoint::Before, before), (CrashPoint::After, after)] {
            let rig = crashed(script, crash(pattern, 1, point));
            assert_eq!(show(&rig.disk.cached_files()), cached, "{point} {pattern}");
        }
    }
    check("create f | write f A600", "write", "f=", "f=A600");
    check("create f | rename f g", "rename:g", "f=", "g=");
    check("create f | unlink f", "unlink:f", "f=", "");
    check("create f | create g", "create", "f=", "f=; g=");
    check("create f | set_len f 9", "set_len", "f=", "f=.9");
    check("create f | allocate f 9", "allocate", "f=", "f=.9");
}

#[test]
fn after_a_sync_it_is_durable() {
    for (point, content) in [(CrashPoint::Before, ""), (CrashPoint::After, "f=A600")] {
        let script = "create f; write f A600; sync f | sync_dir";
        let rig = crashed(script, crash("sync_dir", 1, point));
        rig.disk.power_cut(&Fates::Lose);
        assert_eq!(show(&rig.disk.durable_files()), content, "{point}");
    }
}

/// The contents that different seeds of the disk leave behind, cached and
/// durable, when the power goes in the middle.
fn middles(script: &str, pattern: &str) -> BTreeMap<String, u32> {
    let mut seen = BTreeMap::new();
    for seed in 0..60 {
        let mut rig = Rig::on(SimFs::new(seed));
        let (before, after) = script.split_once('|').unwrap();
        rig.run(before);
        rig.disk.arm_crash(crash(pattern, 1, CrashPoint::Mid));
        assert!(is_power_lost(&rig.step(after.trim()).unwrap_err()));
        let cached = show(&rig.disk.cached_files());
        rig.disk.power_cut(&Fates::Lose);
        let durable = show(&rig.disk.durable_files());
        *seen.entry(format!("{cached} / {durable}")).or_default() += 1;
    }
    seen
}

#[test]
fn in_the_middle_of_a_write_some_sectors_are_in_the_cache() {
    let seen = middles("create f; sync_dir | write f A1024", "write");
    let seen: Vec<&str> = seen.keys().map(String::as_str).collect();
    assert_eq!(
        seen,
        ["f= / f=", "f=.512 A512 / f=", "f=A1024 / f=", "f=A512 / f="]
    );
}

#[test]
fn in_the_middle_of_a_sync_some_effects_are_durable() {
    let seen = middles("create f; sync_dir; write f A1024 | sync f", "sync");
    let seen: Vec<&str> = seen.keys().map(String::as_str).collect();
    assert_eq!(
        seen,
        [
            "f=A1024 / f=",
            "f=A1024 / f=.1024",
            "f=A1024 / f=.512 A512",
            "f=A1024 / f=A1024",
            "f=A1024 / f=A512 .512"
        ]
    );
    let seen = middles("create f; create g | sync_dir", "sync_dir");
    let seen: Vec<&str> = seen.keys().map(String::as_str).collect();
    let both = ["f=; g= / ", "f=; g= / f=", "f=; g= / f=; g=", "f=; g= / g="];
    assert_eq!(seen, both);
}

#[test]
fn an_atomic_operation_has_no_middle() {
    let seen = middles("create f; sync_dir | rename f g", "rename");
    let seen: Vec<&str> = seen.keys().map(String::as_str).collect();
    assert_eq!(seen, ["f= / f=", "g= / f="]);
}

#[test]
fn a_crash_counts_the_operations_that_match_since_it_was_armed() {
    let trigger = crash("sync:f", 2, CrashPoint::Before);
    let script = "create f; create g; sync f | sync f; sync g; write f A1; sync f";
    let rig = crashed(script, trigger);
    assert_eq!(show(&rig.disk.cached_files()), "f=A1; g=");

    // Reads are no crash points.
    let trigger = crash("*", 1, CrashPoint::Before);
    let mut rig = Rig::new();
    rig.run("create f");
    rig.disk.arm_crash(trigger);
    rig.open("f").len().unwrap();
    rig.fs.list(Path::new(".")).unwrap();
    assert!(!rig.disk.crash_fired());
    rig.disk.disarm_crash();
    rig.run("write f A1");
}

#[test]
fn nothing_happens_after_the_power_went() {
    let rig = crashed(
        "create f | write f A1; write f A2",
        crash("write", 1, CrashPoint::Before),
    );
    let refused = [
        rig.fs.open(Path::new("f")).map(drop),
        rig.fs.list(Path::new("")).map(drop),
        rig.fs.unlink(Path::new("f")),
        rig.fs.sync_dir(Path::new("")),
        rig.fs.lock(Path::new("LOCK")).map(drop),
    ];
    for result in refused {
        assert!(is_power_lost(&result.unwrap_err()));
    }
    assert_eq!(show(&rig.disk.cached_files()), "f=");
}

#[test]
#[should_panic(expected = "call power_cut before boot")]
fn a_disk_without_power_does_not_boot() {
    let rig = crashed("create f | unlink f", crash("*", 1, CrashPoint::After));
    rig.disk.boot();
}

/// Something whose destructor flushes.
struct Flusher(Box<dyn File>);
impl Drop for Flusher {
    fn drop(&mut self) {
        let error = self.0.write_at(b"late", 0).unwrap_err();
        assert!(is_fenced(&error) && !is_power_lost(&error), "{error}");
        assert!(is_fenced(&self.0.sync(SyncMode::All).unwrap_err()));
    }
}

#[test]
fn handles_of_an_older_incarnation_change_nothing() {
    type End = fn(&SimFs);
    let ends: [End; 4] = [
        |disk| disk.kill(),
        |disk| drop(disk.power_cut(&Fates::KeepAll)),
        |disk| drop(disk.boot()),
        |disk| {
            disk.arm_crash(crash("*", 1, CrashPoint::Before));
            disk.power_cut(&Fates::KeepAll);
            disk.disarm_crash();
        },
    ];
    for end in ends {
        let mut rig = Rig::new();
        rig.run("create f; write f A4");
        let flusher = Flusher(rig.open("f"));
        let lock = rig.fs.lock(Path::new("LOCK")).unwrap();
        end(&rig.disk);
        rig.disk.record_ops(true);
        for result in [
            rig.fs.open(Path::new("f")).map(drop),
            rig.fs.create_new(Path::new("g")).map(drop),
            rig.fs.lock(Path::new("LOCK")).map(drop),
        ] {
            assert!(is_fenced(&result.unwrap_err()));
        }
        let fs = rig.disk.boot();
        let held = fs.lock(Path::new("LOCK")).unwrap();
        drop((flusher, lock));
        assert_eq!(show(&rig.disk.cached_files()), "LOCK=; f=A4");
        let again = fs.lock(Path::new("LOCK")).unwrap_err();
        assert_eq!(
            again.kind(),
            io::ErrorKind::WouldBlock,
            "the old lock freed the new one"
        );
        drop(held);
        fs.lock(Path::new("LOCK")).unwrap();
        let fenced = rig.disk.take_ops();
        let fenced = fenced.iter().filter(|op| op.outcome == OpOutcome::Fenced);
        assert_eq!(fenced.map(|op| op.kind).collect::<Vec<_>>().len(), 5);
    }
}

#[test]
fn operations_are_recorded_with_their_numbers() {
    let mut rig = Rig::new();
    rig.disk.record_ops(true);
    rig.run("create a; write a A700; rename a b; sync_dir; kill; sync b");
    let _ = rig.step("create b");
    rig.disk.arm_crash(crash("unlink", 1, CrashPoint::After));
    let _ = rig.step("unlink b");
    let ops: Vec<String> = rig
        .disk
        .take_ops()
        .iter()
        .map(|op| {
            let to = op.to.as_ref().map_or(String::new(), |to| format!("->{to}"));
            format!(
                "{} {} {}{to} @{}+{} {:?}",
                op.n, op.kind, op.path, op.offset, op.len, op.outcome
            )
        })
        .collect();
    assert_eq!(
        ops,
        [
            "1 create a @0+0 Ok",
            "1 open a @0+0 Ok",
            "1 len a @0+0 Ok",
            "2 write a @0+700 Ok",
            "3 rename a->b @0+0 Ok",
            "4 sync_dir . @0+0 Ok",
            "0 open b @0+0 Ok",
            "1 sync b @0+0 Ok",
            "2 create b @0+0 Refused(AlreadyExists)",
            "3 unlink b @0+0 Crash(After)",
        ]
    );
    assert_eq!(rig.disk.op_count(), 10);
}
