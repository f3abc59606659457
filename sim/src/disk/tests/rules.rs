//! The rules at a crash, one test each.

use super::*;

/// Rule 1: a sync persists its scope.
#[test]
fn a_synced_file_in_a_synced_directory_survives() {
    check(
        "create f; write f A700; sync f; sync_dir",
        &["f=A700"],
        &["", "f=", "f=A512 .188"],
    );
}

/// Rule 1: and nothing else.
#[test]
fn a_file_sync_does_not_persist_the_new_name() {
    check("create f; write f A700; sync f", &["", "f=A700"], &["f="]);
}

#[test]
fn a_directory_sync_does_not_persist_data() {
    check(
        "create f; write f A700; sync_dir",
        &["f=", "f=.700", "f=A512 .188", "f=.512 A188", "f=A700"],
        &[""],
    );
}

#[test]
fn a_sync_of_one_file_does_not_persist_another() {
    check(
        "create f; create g; sync_dir; write f A100; write g B100; sync g",
        &["f=; g=B100", "f=A100; g=B100"],
        &["f=A100; g="],
    );
}

#[test]
fn a_directory_needs_the_sync_of_its_parent() {
    check(
        "mkdir d; create d/f; write d/f A9; sync d/f; sync_dir d",
        &["", "d/f=A9"],
        &["d/f="],
    );
    check(
        "mkdir d; sync_dir; create d/f; write d/f A9; sync d/f; sync_dir d",
        &["d/f=A9"],
        &[""],
    );
}

#[test]
fn a_sync_of_the_filesystem_persists_all() {
    check(
        "create f; write f A700; rename f g; sync",
        &["g=A700"],
        &["", "f=A700", "g="],
    );
}

/// Rule 2: a sector takes any version, independently.
#[test]
fn sectors_take_any_version() {
    check(
        "create f; write f A1536; sync f; sync_dir; write f @0 B1536; write f @0 C1536",
        &[
            "f=A1536",
            "f=C1536",
            "f=A512 B512 C512",
            "f=C512 A512 B512",
            "f=B512 C512 A512",
        ],
        &["f=A256 B1280", "f=A100 C1436"],
    );
}

#[test]
fn an_append_within_a_sector_is_atomic_in_it() {
    check(
        "create f; write f A100; sync f; sync_dir; write f B100; write f C100",
        &[
            "f=A100",
            "f=A100 .100",
            "f=A100 B100",
            "f=A100 B100 .100",
            "f=A100 .200",
            "f=A100 B100 C100",
        ],
        &["f=A100 .100 C100", "f=A100 B50", "f=A150"],
    );
}

#[test]
fn a_synced_version_is_the_oldest_possible() {
    check(
        "create f; write f A512; write f @0 B512; sync f; sync_dir; write f @0 C512",
        &["f=B512", "f=C512"],
        &["f=A512"],
    );
}

/// Rule 3: names persist freely, renames whole.
#[test]
fn name_operations_persist_in_any_order() {
    check(
        "create a; create b; create c",
        &["", "a=", "b=", "c=", "a=; c=", "a=; b=; c="],
        &[],
    );
    check(
        "create a; create b; sync_dir; unlink a; unlink b",
        &["a=; b=", "a=", "b=", ""],
        &[],
    );
}

#[test]
fn a_rename_changes_both_names_or_none() {
    check(
        "create a; write a A9; sync a; sync_dir; rename a b",
        &["a=A9", "b=A9"],
        &["", "a=A9; b=A9"],
    );
}

#[test]
fn a_file_renamed_but_not_synced_may_have_its_old_name() {
    check(
        "create s1; write s1 A1024; sync s1; sync_dir; rename s1 s2; write s2 @0 B600; sync s2",
        &["s1=B600 A424", "s2=B600 A424"],
        &["s1=A1024", "s2=A1024", ""],
    );
}

#[test]
fn a_rename_over_a_file_may_leave_it_old_new_or_empty() {
    check(
        "create f; write f O900; sync f; sync_dir; create t; write t N900; rename t f",
        &["f=O900", "f=N900", "f=", "f=.900", "f=O900; t=N900"],
        &["", "t=N900"],
    );
}

#[test]
fn names_used_again_persist_in_their_order() {
    let script = "create a; write a A9; sync a; sync_dir; rename a b; create a";
    // Losing the rename but not the create would lose a file that was durable.
    check(script, &["a=A9", "b=A9", "a=; b=A9"], &["a=", "", "b="]);
    check("create t; unlink t", &["", "t="], &[]);
    check(
        "create a; write a A9; sync a; sync_dir; rename a b; rename b c",
        &["a=A9", "b=A9", "c=A9"],
        &["", "a=A9; c=A9"],
    );
    check(
        "create t; rename t s; create t; rename t s; create t",
        &["", "t=", "s=", "s=; t="],
        &[],
    );
}

#[test]
fn a_rename_across_directories_is_atomic() {
    let script = "mkdir d; create a; write a A9; sync; rename a d/a";
    check(script, &["a=A9", "d/a=A9"], &["", "a=A9; d/a=A9"]);
    check(
        &format!("{script}; sync_dir d"),
        &["d/a=A9"],
        &["a=A9", "a=A9; d/a=A9", ""],
    );
    check(&format!("{script}; sync_dir"), &["d/a=A9"], &["a=A9", ""]);
}

/// Rule 4: the length goes its own way.
#[test]
fn an_append_may_leave_zeros() {
    check(
        "create f; write f A5000; sync f; sync_dir; write f B5000; write f C9000",
        &[
            "f=A5000",
            "f=A5000 .5000",
            "f=A5000 B120 .4880",
            "f=A5000 B5000 C240 .8760",
            "f=A5000 .4728 B272 C9000",
        ],
        // The end of B and the beginning of C share a sector.
        &["f=A4096", "f=A5000 .5000 C9000"],
    );
}

/// As recorded on ext4: a long append makes the file longer block by block.
#[test]
fn a_write_may_leave_a_length_from_its_middle() {
    let script = "create f; write f A5000; sync f; sync_dir; write f B5000; write f C9000";
    check(
        script,
        &["f=A5000 .3192", "f=A5000 B632 .2560", "f=A5000 B5000 C2288"],
        &["f=A5000 .3191", "f=A5000 .4000"],
    );
    let mut rig = Rig::new();
    rig.run(script);
    let keep = "5[0]#0".parse().unwrap();
    let report = rig.disk.power_cut(&Fates::Explicit(keep));
    assert_eq!(show(&rig.disk.durable_files()), "f=A5000 B120 .3072");
    assert_eq!(report.keep.to_string(), "5[0]#0");
    assert!(
        report
            .fates
            .contains(&"lost  .5    size          f 5000 -> 10000 at 8192".to_owned()),
        "{:#?}",
        report.fates
    );
}

#[test]
fn a_new_sector_may_show_bytes_of_a_freed_one() {
    let script = "create old; write old O2048; sync; create f; sync_dir; unlink old; sync_dir
                  write f N2048";
    let mut rig = Rig::new();
    rig.run(script);
    let stale = (0..500).any(|seed| {
        let left = left(&rig.disk, &Fates::Random(seed));
        left["f"].windows(512).any(|bytes| bytes == [b'O'; 512])
    });
    assert!(stale, "no seed of 500 shows old bytes in the new file");

    let zeros = SimFs::with_profile(
        1,
        Profile {
            fresh: FreshBlock::Zeros,
            ..Profile::POSIX_WORST
        },
    );
    let mut rig = Rig::on(zeros);
    rig.run(script);
    for seed in 0..500 {
        let left = left(&rig.disk, &Fates::Random(seed));
        assert!(left["f"].iter().all(|byte| [0, b'N'].contains(byte)));
    }
}

#[test]
fn a_reserved_or_sparse_sector_shows_no_garbage() {
    let mut rig = Rig::new();
    rig.run("create old; write old O4096; sync; create f; create g; unlink old; sync_dir");
    rig.run("allocate f 2048; write f @0 N2048; set_len g 2048");
    for seed in 0..300 {
        let left = left(&rig.disk, &Fates::Random(seed));
        assert!(left["f"].iter().all(|byte| [0, b'N'].contains(byte)));
        assert!(left["g"].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn a_conflict_truncation_may_leave_old_records_behind_new_ones() {
    check(
        "create f; write f A20000; sync f; sync_dir; set_len f 6000; write f B9000",
        &[
            "f=A20000",
            "f=A6000 B2192 A11808",
            "f=A6000 B144 A13856",
            "f=A6000 B9000",
            "f=A6000",
            "f=A6000 B144 A8856",
        ],
        &["f=A5000"],
    );
}

#[test]
fn a_shorter_length_may_be_lost() {
    check(
        "create f; write f A2000; sync f; sync_dir; set_len f 700",
        &["f=A2000", "f=A700"],
        &["f=A1024"],
    );
    check(
        "create f; write f A2000; sync f; sync_dir; set_len f 700; sync f",
        &["f=A700"],
        &["f=A2000"],
    );
}

#[test]
fn a_cut_file_grows_with_zeros() {
    check(
        "create f; write f A2000; sync f; sync_dir; set_len f 700; set_len f 2000; sync f",
        &["f=A700 .1300"],
        &["f=A2000"],
    );
}

/// Rule 5: the cache outlives the process, not the power.
#[test]
fn a_kill_loses_nothing_and_a_later_power_cut_does() {
    let script = "create f; write f A600; kill";
    let mut rig = Rig::new();
    rig.run(script);
    assert_eq!(show(&rig.disk.cached_files()), "f=A600");
    check(
        &format!("{script}; write f B600"),
        &["", "f=", "f=A600", "f=A600 B600", "f=.1200"],
        &[],
    );
    check(
        "create f; kill; write f A600; kill; sync f; sync_dir",
        &["f=A600"],
        &["f=", ""],
    );
}

#[test]
fn effects_name_the_incarnation_they_come_from() {
    let mut rig = Rig::new();
    rig.run("create f; write f A100; kill; write f B600; kill; unlink f");
    let report = rig
        .disk
        .power_cut(&Fates::Explicit("1.1,1.2[0],2.1#".parse().unwrap()));
    assert_eq!(
        report.fates,
        [
            "kept  1.1   create        f",
            "kept  1.2   sector 0      f @0+100",
            "kept  1.2   size          f 0 -> 100",
            "lost  2.1   sector 0      f @100+412",
            "lost  2.1   sector 1      f @512+188 zeroed",
            "kept  2.1   size          f 100 -> 700",
            "lost  .1    unlink        f",
        ]
    );
    assert_eq!(report.keep.to_string(), "1.1,1.2[0],2.1#");
    assert_eq!((report.kept, report.lost), (4, 3));
    assert_eq!(report.torn, ["f"]);
    assert_eq!(show(&rig.disk.durable_files()), "f=A100 .600");
}

#[test]
fn a_report_says_why_bytes_are_gone() {
    let mut rig = Rig::new();
    rig.run("create f; sync_dir; write f A1100; create g; write g B9; rename f h");
    let keep = "2[1]g[0]".parse().unwrap();
    let report = rig.disk.fork().power_cut(&Fates::Explicit(keep));
    assert_eq!(
        report.fates,
        [
            "lost  .3    sectors 0..2  h @0+1100 past the end",
            "lost  .3    size          h 0 -> 1100",
            "lost  .4    create        g",
            "lost  .5    sector 0      g @0+9 nameless",
            "lost  .5    size          g 0 -> 9 nameless",
            "lost  .6    rename        f -> h",
        ]
    );
    let keep = "3[1]#g[0],6".parse().unwrap();
    let report = rig.disk.power_cut(&Fates::Explicit(keep));
    assert_eq!(
        report.fates[..4],
        [
            "lost  .3    sector 0      h @0+512 garbage",
            "kept  .3    sector 1      h @512+512",
            "lost  .3    sector 2      h @1024+76 zeroed",
            "kept  .3    size          h 0 -> 1100",
        ]
    );
    assert_eq!(report.keep.to_string(), "3[1]#g[0],6");
}

#[test]
fn a_cut_with_nothing_pending_has_no_effect() {
    let mut rig = Rig::new();
    rig.run("create f; write f A600; sync f; sync_dir");
    let before = rig.disk.image_hash();
    let report = rig.disk.power_cut(&Fates::Random(1));
    assert_eq!(report, CrashReport::default());
    assert_eq!(rig.disk.image_hash(), before);
}

#[test]
fn profiles_differ_where_they_say() {
    fn reached(profile: Profile, script: &str, content: &str) -> bool {
        let mut rig = Rig::on(SimFs::with_profile(1, profile));
        rig.run(script);
        reach(&rig.disk, &parse_files(content)).is_some()
    }
    let prefix = Profile {
        names: NameOrder::Prefix,
        ..Profile::POSIX_WORST
    };
    let two = "create a; create b";
    assert!(reached(Profile::POSIX_WORST, two, "b="));
    assert!(!reached(prefix, two, "b="));
    assert!(reached(prefix, two, "a="));
    let named = Profile {
        sync_persists_name: true,
        ..Profile::POSIX_WORST
    };
    let synced = "create a; write a A9; sync a; create b";
    assert!(reached(Profile::POSIX_WORST, synced, ""));
    assert!(!reached(named, synced, ""));
    assert!(reached(named, synced, "a=A9"));
}
