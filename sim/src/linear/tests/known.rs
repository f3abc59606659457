//! Histories whose verdict is plain to see.

use super::super::history::Model;
use super::super::{Outcome, check};
use super::{history, linearizable};

/// Events as `process type f value`; a value is JSON, and for kv preceded by
/// the key.
fn lines(events: &[&str]) -> String {
    events
        .iter()
        .map(|event| {
            let mut words = event.split_whitespace();
            let mut word = || words.next().unwrap_or("null");
            let (process, kind, f, mut value) = (word(), word(), word(), word());
            let mut key = String::new();
            if let "get" | "put" | "append" = f {
                key = format!(r#","key":"{value}""#);
                value = word();
            }
            format!(r#"{{"process":{process},"type":"{kind}","f":"{f}"{key},"value":{value}}}"#)
                + "\n"
        })
        .collect()
}

#[track_caller]
fn check_register(events: &[&str], expected: bool) {
    let history = history(Model::Register, &lines(events));
    assert_eq!(linearizable(&history), expected);
}

#[track_caller]
fn check_kv(events: &[&str], expected: bool) {
    let history = history(Model::Kv, &lines(events));
    assert_eq!(linearizable(&history), expected);
}

#[test]
fn nothing_is_linearizable() {
    check_register(&[], true);
    check_kv(&["0 invoke put a \"1\""], true);
}

#[test]
fn a_register_starts_as_null_and_a_key_as_the_empty_string() {
    check_register(&["0 invoke read", "0 ok read null"], true);
    check_register(&["0 invoke read", "0 ok read 0"], false);
    check_kv(&["0 invoke get a", "0 ok get a \"\""], true);
    check_kv(&["0 invoke get a", "0 ok get a \"x\""], false);
}

#[test]
fn a_stale_read_is_not() {
    let events = |value| {
        [
            "0 invoke write 1",
            "0 ok write 1",
            "0 invoke write 2",
            "0 ok write 2",
            "1 invoke read",
            value,
        ]
    };
    check_register(&events("1 ok read 2"), true);
    check_register(&events("1 ok read 1"), false);
}

#[test]
fn what_nobody_knows_of_may_happen_at_any_later_time_once_or_never() {
    for end in ["0 info write 1", "0 info write null"] {
        let start = ["0 invoke write 1", end, "1 invoke write 2", "1 ok write 2"];
        let then = |more: &[&'static str], expected| {
            check_register(&[&start[..], more].concat(), expected);
        };
        let two = ["1 invoke read", "1 ok read 2"];
        let one = ["1 invoke read", "1 ok read 1"];
        then(&[one, one].concat(), true);
        then(&[two, one].concat(), true);
        then(&[two, two].concat(), true);
        then(&[one, two].concat(), false);
        then(&[two, one, two].concat(), false);
    }
}

#[test]
fn a_process_may_go_on_after_an_unknown_operation() {
    check_register(
        &[
            "0 invoke write 1",
            "0 info write 1",
            "0 invoke read",
            "0 ok read null",
            "0 invoke read",
            "0 ok read 1",
        ],
        true,
    );
}

#[test]
fn what_failed_took_no_effect() {
    let read = ["0 invoke read", "0 ok read 1"];
    let start = ["0 invoke write 1", "0 fail write 1"];
    check_register(&[start, read].concat(), false);
    let start = ["0 invoke write 1", "0 ok write 1"];
    let cas = ["0 invoke cas [1,2]", "0 fail cas [1,2]"];
    check_register(&[start, cas].concat(), false);
    check_register(&[cas, start, read].concat(), true);
    let cas = ["0 invoke cas [1,2]", "0 ok cas [1,2]"];
    check_register(&[start, cas].concat(), true);
    check_register(&[start, cas, read].concat(), false);
}

#[test]
fn appends_are_ordered_by_what_is_read() {
    let start = [
        "0 invoke append a \"x\"",
        "1 invoke append a \"y\"",
        "2 invoke append a \"z\"",
        "0 ok append a \"x\"",
        "1 ok append a \"y\"",
        "2 info append a null",
    ];
    let then = |value: &'static str, expected| {
        let read = ["3 invoke get a", value];
        check_kv(&[&start[..], &read].concat(), expected);
    };
    then("3 ok get a \"xy\"", true);
    then("3 ok get a \"yx\"", true);
    then("3 ok get a \"yzx\"", true);
    then("3 ok get a \"x\"", false);
    then("3 ok get a \"xyx\"", false);
}

#[test]
fn keys_are_apart() {
    check_kv(
        &[
            "0 invoke put a \"1\"",
            "0 ok put a \"1\"",
            "0 invoke get b",
            "0 ok get b \"\"",
        ],
        true,
    );
}

/// 1 is read although 2 was written after it. The rest has nothing to do with it.
#[test]
fn the_explanation_names_the_prefix_and_who_is_stuck() {
    let text = lines(&[
        "2 invoke write 3",
        "2 info write 3",
        "3 invoke read",
        "3 ok read 3",
        "0 invoke write 1",
        "0 ok write 1",
        "0 invoke write 2",
        "0 ok write 2",
        "1 invoke read",
        "1 ok read 1",
        "0 invoke read",
        "0 ok read 9",
    ]);
    let Outcome::Fails(explanation) = check(&history(Model::Register, &text)) else {
        panic!("it is not linearizable");
    };
    assert_eq!(explanation.line, 10);
    assert_eq!((explanation.operations, explanation.completions), (5, 5));
    let stuck: Vec<usize> = explanation.stuck.iter().map(|o| o.invoked).collect();
    assert_eq!(stuck, [5, 7, 9]);
    assert_eq!(
        explanation.to_string(),
        "cannot be ordered: process 0: write 1, lines 5 to 6; \
         process 0: write 2, lines 7 to 8; process 1: read 1, lines 9 to 10"
    );
}
