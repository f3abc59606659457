use super::super::history::{History, Model};
use super::generate::{Shape, linearizable};

#[track_caller]
fn check(model: Model, text: &str, expected: &str) {
    let error = History::parse(text, model).expect_err("no history");
    assert_eq!(error.to_string(), expected);
}

const OPEN: &str = r#"{"process":0,"type":"invoke","f":"write","value":4}
"#;

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let register = |line: &str, expected: &str| {
        check(Model::Register, &format!("{OPEN}\n{line}"), expected);
    };
    register("[1]", "line 3: not an object");
    register("{}", "line 3: `process` is missing");
    register(
        r#"{"process":null}"#,
        "line 3: `process` is null, not an integer or a string",
    );
    register(r#"{"process":1}"#, "line 3: `type` is missing");
    register(
        r#"{"process":1,"type":"done"}"#,
        r#"line 3: `type` is "done", not invoke, ok, fail or info"#,
    );
    register(
        r#"{"process":1,"type":"invoke","f":"put","value":1}"#,
        "line 3: the model register knows no `put`: it has read, write and cas",
    );
    register(
        r#"{"process":1,"type":"invoke","f":"write"}"#,
        "line 3: `value` is missing",
    );
    register(
        r#"{"process":1,"type":"invoke","f":"write","value":[1]}"#,
        "line 3: `value` is [1], not null, a number, a string or a boolean",
    );
    register(
        r#"{"process":1,"type":"invoke","f":"cas","value":[1]}"#,
        "line 3: `value` is [1], not [from, to]",
    );
    register(
        r#"{"process":1,"type":"invoke","f":"read","key":"a"}"#,
        "line 3: a register has no key",
    );
    register(
        r#"{"process":1,"type":"ok","f":"read","value":1}"#,
        "line 3: process 1 has no open operation to end",
    );
    register(
        r#"{"process":0,"type":"invoke","f":"read"}"#,
        "line 3: process 0 invokes while its operation of line 1 is open",
    );
    register(
        r#"{"process":0,"type":"ok","f":"read","value":4}"#,
        "line 3: ends the operation of line 1 with another `f`: read, not write",
    );
    register(
        r#"{"process":0,"type":"ok","f":"write","value":5}"#,
        "line 3: ends the operation of line 1 with another `value`: 5, not 4",
    );
    let error = History::parse("{\"process\":0", Model::Register).expect_err("cut off");
    assert!(
        error.to_string().starts_with("line 1: not JSON: "),
        "{error}"
    );
}

#[test]
fn a_kv_history_has_keys_and_strings() {
    check(
        Model::Kv,
        r#"{"process":0,"type":"invoke","f":"get"}"#,
        "line 1: `key` is missing",
    );
    check(
        Model::Kv,
        r#"{"process":0,"type":"invoke","f":"get","key":1}"#,
        "line 1: `key` is 1, not a string",
    );
    check(
        Model::Kv,
        r#"{"process":0,"type":"invoke","f":"put","key":"a","value":1}"#,
        "line 1: `value` is 1, not a string",
    );
    let get = r#"{"process":0,"type":"invoke","f":"get","key":"a"}"#;
    check(
        Model::Kv,
        &format!(
            "{get}\n{}",
            r#"{"process":0,"type":"ok","f":"get","key":"b","value":""}"#
        ),
        "line 2: ends the operation of line 1 with another `key`: b, not a",
    );
    check(
        Model::Kv,
        &format!(
            "{get}\n{}",
            r#"{"process":0,"type":"ok","f":"get","key":"a","value":null}"#
        ),
        "line 2: `value` is null, not a string",
    );
}

#[test]
fn equal_numbers_are_one_value() {
    let text = format!(
        "{OPEN}{}\n{}\n{}",
        r#"{"process":0,"type":"ok","f":"write","value":4.0}"#,
        r#"{"process":"r","type":"invoke","f":"read","value":null,"time":7}"#,
        r#"{"process":"r","type":"ok","f":"read","value":4.0}"#,
    );
    assert!(super::linearizable(&super::history(Model::Register, &text)));
}

#[test]
fn a_history_that_is_written_reads_back() {
    for (model, special) in [(Model::Register, 40), (Model::Kv, 40)] {
        let shape = Shape {
            model,
            operations: 300,
            processes: 5,
            reads: 40,
            special,
            keys: if model == Model::Kv { 3 } else { 1 },
            values: 4,
            unknown: 100,
            refused: 10,
        };
        let text = linearizable(&shape, 7).to_string();
        let history = History::parse(&text, model).expect("what was written can be read");
        assert_eq!(history.to_string(), text);
        assert!(super::linearizable(&history));
    }
}
