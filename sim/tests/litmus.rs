//! The profiles of the simulated disk against recordings of real filesystems.

use std::fmt::Write;

use afterimage_sim::disk::Profile;
use afterimage_sim::litmus::{Row, Suite, judge};

const WORST: &str = Profile::POSIX_WORST.name;

fn suite() -> Suite {
    include_str!("data/litmus.json").parse().unwrap()
}

fn count(rows: &[&Row]) -> String {
    let reachable: Option<usize> = rows.iter().map(|row| row.reachable).sum();
    reachable.map_or("-".to_owned(), |count| count.to_string())
}

/// Sound: all that was observed on a filesystem is possible on its profile, and
/// on posix-worst. Tight: what else is possible is in the table.
#[test]
fn profiles_can_leave_what_real_filesystems_left_and_little_else() {
    let rows = judge(&suite(), None).unwrap();
    assert_eq!(rows.len(), 12 * 6 * 2);
    let missing: Vec<String> = rows
        .iter()
        .flat_map(|row| {
            let missing = row.missing.iter();
            missing
                .map(move |outcome| format!("{} {} {}: {outcome:?}", row.name, row.fs, row.profile))
        })
        .collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));

    let mut table = String::new();
    for of_test in rows.chunk_by(|a, b| a.name == b.name) {
        let (worst, own): (Vec<&Row>, Vec<&Row>) =
            of_test.iter().partition(|row| row.profile == WORST);
        writeln!(
            table,
            "{:<22} posix-worst {:>8}",
            of_test[0].name,
            count(&worst[..1])
        )
        .unwrap();
        for row in own {
            let reachable = count(&[row]);
            writeln!(
                table,
                "  {:<20} {:>3} of {reachable:>8}",
                row.profile, row.observed
            )
            .unwrap();
        }
    }
    insta::assert_snapshot!(table);

    profiles_are_tight(&rows);
    posix_worst_is_far_wider(&rows);
}

fn profiles_are_tight(rows: &[Row]) {
    for row in rows.iter().filter(|row| row.profile != WORST) {
        let most = row.observed * factor(row);
        let close = row.reachable.is_some_and(|reachable| reachable <= most);
        assert!(
            close || stale(row),
            "{} on {}: {:?}",
            row.name,
            row.fs,
            row.reachable
        );
    }
}

/// How many times as much as was seen a profile may leave. Where data is
/// overwritten in place, each of several blocks may end anywhere, and the
/// recordings have a handful of these states.
fn factor(row: &Row) -> usize {
    let in_place = ["inplace_over", "two_files_reorder"].contains(&&*row.name);
    match row.profile {
        "btrfs" | "ext4-journal" => 5,
        _ if in_place => 1250,
        _ => 30,
    }
}

/// Whether old blocks may show: what is in them is anybody's guess.
fn stale(row: &Row) -> bool {
    (row.name.as_str(), row.profile) == ("trunc_append", "ext4-writeback")
}

/// A profile is worth something only if it leaves less than posix-worst.
fn posix_worst_is_far_wider(rows: &[Row]) {
    for of_test in rows.chunk_by(|a, b| a.name == b.name) {
        let (worst, own): (Vec<&Row>, Vec<&Row>) =
            of_test.iter().partition(|row| row.profile == WORST);
        // More than can be counted.
        let Some(worst) = worst[0].reachable else {
            continue;
        };
        // Two unlinks and nothing else.
        let times = match of_test[0].name.as_str() {
            "unlink_order" => 1,
            _ => 80,
        };
        for row in own {
            let reachable = row.reachable.unwrap();
            assert!(worst >= times * reachable, "{} on {}", row.name, row.fs);
        }
    }
}
