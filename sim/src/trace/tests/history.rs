use afterimage_engine::node::Reply;

use super::super::History;
use crate::check::testing::Stream;

#[track_caller]
fn check(stream: Stream, expected: &[&str]) {
    let mut history = History::new();
    for record in &stream.records() {
        history.record(record);
    }
    let text = history.finish().to_string();
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn answered_operations() {
    check(
        Stream::new()
            .put(1, 1, 7, 10)
            .get(2, 1, 7)
            .wrote(1, 1, 5)
            .read(2, 1, 5, 10)
            .get(2, 2, 8)
            .read(2, 2, 0, 0),
        &[
            r#"{"process":0,"type":"invoke","f":"put","key":"7","value":"10"}"#,
            r#"{"process":1,"type":"invoke","f":"get","key":"7","value":null}"#,
            r#"{"process":0,"type":"ok","f":"put","key":"7","value":"10"}"#,
            r#"{"process":1,"type":"ok","f":"get","key":"7","value":"10"}"#,
            r#"{"process":1,"type":"invoke","f":"get","key":"8","value":null}"#,
            r#"{"process":1,"type":"ok","f":"get","key":"8","value":""}"#,
        ],
    );
}

#[test]
fn a_write_without_an_answer_may_take_effect_later() {
    check(
        Stream::new()
            .put(1, 1, 7, 10)
            .reply(1, 1, Reply::NotLeader { leader: None })
            .put(1, 1, 7, 10)
            .reply(1, 1, Reply::Unknown)
            .put(1, 2, 7, 11)
            .wrote(1, 1, 5)
            .wrote(1, 2, 6),
        &[
            r#"{"process":0,"type":"invoke","f":"put","key":"7","value":"10"}"#,
            r#"{"process":0,"type":"info","f":"put","key":"7","value":"10"}"#,
            r#"{"process":1,"type":"invoke","f":"put","key":"7","value":"11"}"#,
            r#"{"process":1,"type":"ok","f":"put","key":"7","value":"11"}"#,
        ],
    );
}

#[test]
fn a_read_without_an_answer_says_nothing() {
    check(
        Stream::new().get(1, 1, 7).get(1, 2, 7).put(2, 1, 7, 10),
        &[
            r#"{"process":0,"type":"invoke","f":"get","key":"7","value":null}"#,
            r#"{"process":0,"type":"fail","f":"get","key":"7","value":null}"#,
            r#"{"process":0,"type":"invoke","f":"get","key":"7","value":null}"#,
            r#"{"process":1,"type":"invoke","f":"put","key":"7","value":"10"}"#,
            r#"{"process":0,"type":"fail","f":"get","key":"7","value":null}"#,
            r#"{"process":1,"type":"info","f":"put","key":"7","value":"10"}"#,
        ],
    );
}
