//! What the profiles differ in: the rows of the table in `docs/crash-model.md`.

use super::*;

/// After the script, the profiles that may leave the content.
fn check(script: &str, content: &str, expected: &[&str]) {
    let possible = Profile::ALL.into_iter().filter(|profile| {
        let mut rig = Rig::on(SimFs::with_profile(1, *profile));
        rig.run(script);
        rig.disk.can_leave(&parse_files(content), &[])
    });
    let possible: Vec<&str> = possible.map(|profile| profile.name).collect();
    assert_eq!(possible, expected, "{script}\n-> {content}");
}

const WORST: &str = "posix-worst";
const ORDERED: &str = "ext4-ordered";
const WRITEBACK: &str = "ext4-writeback";
const NOAUTODA: &str = "ext4-noautoda";
const JOURNAL: &str = "ext4-journal";
const XFS: &str = "xfs";
const BTRFS: &str = "btrfs";

const EVERY: &[&str] = &[WORST, ORDERED, WRITEBACK, NOAUTODA, JOURNAL, XFS, BTRFS];
/// Those that overwrite data in place and have a log.
const IN_PLACE: &[&str] = &[WORST, ORDERED, WRITEBACK, NOAUTODA, XFS];

#[test]
fn names_persist_in_order_or_freely() {
    check("create a; create b", "a=", EVERY);
    check("create a; create b", "b=", &[WORST, BTRFS]);
}

#[test]
fn an_overwritten_range_is_torn() {
    let script = "create f; write f A8192; sync; write f @0 B8192";
    check(script, "f=B8192", EVERY);
    check(script, "f=A8192", EVERY);
    check(script, "f=B1536 A6656", IN_PLACE);
    check(script, "f=A4096 B512 A3584", IN_PLACE);
    check(script, "f=A512 B512 A7168", &[WORST]);
    // Each block has a journal handle.
    check(
        script,
        "f=B4096 A4096",
        &[WORST, ORDERED, WRITEBACK, NOAUTODA, JOURNAL, XFS],
    );
}

#[test]
fn two_files_are_written_in_any_order_but_through_a_journal() {
    let script = "create f; write f A512; create g; write g A512; sync
                  write f @0 B512; write g @0 B512";
    check(
        script,
        "f=A512; g=B512",
        &[WORST, ORDERED, WRITEBACK, NOAUTODA, XFS, BTRFS],
    );
}

#[test]
fn the_tail_of_an_append_may_be_zeros() {
    let script = "create f; write f A5000; sync; write f B5000";
    check(
        script,
        "f=A5000 .3192",
        &[WORST, ORDERED, WRITEBACK, NOAUTODA],
    );
    check(
        script,
        "f=A5000 B632 .2560",
        &[WORST, ORDERED, WRITEBACK, NOAUTODA],
    );
    check(
        script,
        "f=A5000 .5000",
        &[WORST, ORDERED, WRITEBACK, NOAUTODA],
    );
    check(
        script,
        "f=A5000 B3192",
        &[WORST, ORDERED, WRITEBACK, NOAUTODA, JOURNAL, XFS],
    );
    check(script, "f=A5000 B5000", EVERY);
    check(script, "f=A5000 B4000", &[]);
}

#[test]
fn a_new_block_without_its_data() {
    let script = "create old; write old O4096; sync; create f; sync_dir; unlink old; sync_dir
                  write f A4096";
    check(script, "f=.4096", &[WORST, ORDERED, WRITEBACK, NOAUTODA]);
    check(script, "f=O4096", &[WORST, WRITEBACK]);
    check(script, "f=A512 .3584", &[WORST]);
    check(script, "f=", EVERY);
}

#[test]
fn a_reserved_block_is_written_whole_or_reads_zeros() {
    let script = "create f; allocate f 8192; sync; write f @0 A8192";
    check(script, "f=.8192", EVERY);
    check(script, "f=A8192", EVERY);
    check(script, "f=A512 .7680", &[WORST]);
    let written =
        "create f; allocate f 8192; write f @0 A100; sync f; sync_dir; write f @512 B1024";
    check(written, "f=A100 .412 B512 .7168", IN_PLACE);
    let zeros = "create f; write f .8192; sync; write f @0 A8192";
    check(zeros, "f=A512 .7680", IN_PLACE);
}

#[test]
fn a_rename_onto_a_name_before_the_data_is_synced() {
    let script = "create f; write f O9000; sync; create t; write t N9000; rename t f";
    check(script, "f=O9000", EVERY);
    check(script, "f=N9000", EVERY);
    check(script, "f=", &[WORST, NOAUTODA, XFS]);
    check(script, "f=.9000", &[WORST, NOAUTODA]);
}

#[test]
fn a_rename_to_a_new_name_before_the_data_is_synced() {
    let script = "create t; write t N9000; rename t f";
    check(script, "f=N9000", EVERY);
    check(
        script,
        "f=",
        &[WORST, ORDERED, WRITEBACK, NOAUTODA, XFS, BTRFS],
    );
}

#[test]
fn a_sync_of_a_file_and_its_name() {
    check("create f; write f A5000; sync f", "", &[WORST]);
    let recycled = "create s1; write s1 A16384; sync; rename s1 s2; write s2 @0 B600; sync s2";
    check(
        recycled,
        "s1=B600 A15784",
        &[WORST, ORDERED, WRITEBACK, NOAUTODA],
    );
    check(recycled, "s2=A16384", &[]);
}

#[test]
fn a_sync_of_a_file_that_grew_and_the_names_of_others() {
    let script = "create a; create f; sync; rename a b; write f A9000; sync f";
    check(script, "b=; f=A9000", EVERY);
    check(script, "a=; f=A9000", &[WORST, BTRFS]);
    // Nothing of this stands in a log.
    let overwritten = "create a; create f; write f A512; sync
                       rename a b; write f @0 B512; sync f";
    check(
        overwritten,
        "a=; f=B512",
        &[WORST, ORDERED, WRITEBACK, NOAUTODA, XFS, BTRFS],
    );
}

#[test]
fn a_sync_and_the_data_of_others() {
    let script = "create f; write f A512; create g; sync; write f @0 B512; write g C512; sync g";
    check(
        script,
        "f=A512; g=C512",
        &[WORST, ORDERED, WRITEBACK, NOAUTODA, XFS, BTRFS],
    );
}

#[test]
fn new_records_may_be_followed_by_old_ones() {
    let script = "create f; write f A20000; sync; set_len f 6000; write f B9000";
    check(script, "f=A6000 B2192 A11808", IN_PLACE);
    check(script, "f=A6000 B9000 .360 A4640", &[WORST]);
    check(script, "f=A20000", EVERY);
    check(script, "f=A6000", EVERY);
    check(script, "f=A6000 B9000", EVERY);
    // Where the cut was synced, the append may get the freed blocks back.
    let synced = "create f; write f A20000; sync; set_len f 4096; sync f; write f B4096";
    check(synced, "f=A8192", &[WORST, WRITEBACK]);
}

#[test]
fn a_length_that_was_set_goes_with_the_names() {
    let script = "create f; write f A2000; sync; set_len f 700; create g";
    check(script, "f=A700", EVERY);
    check(script, "f=A2000; g=", &[WORST, BTRFS]);
}

#[test]
fn a_profile_is_found_by_its_name() {
    for profile in Profile::ALL {
        assert_eq!(profile.name.parse(), Ok(profile));
    }
    let error = "zfs".parse::<Profile>().unwrap_err();
    assert!(
        error.contains("\"zfs\"") && error.contains("btrfs"),
        "{error}"
    );
}
