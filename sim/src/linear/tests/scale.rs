//! Thousands of operations, hundreds of them unknown, many at a time. That
//! these are decided at all means that few configurations were looked at.

use super::super::Outcome;
use super::super::history::{Call, Model, Operation};
use super::generate::{Shape, linearizable, stale_read};

const MANY: Shape = Shape {
    model: Model::Register,
    operations: 5_000,
    processes: 10,
    reads: 50,
    special: 0,
    keys: 1,
    values: 0,
    unknown: 100,
    refused: 5,
};

/// It passes as it was made, and fails with some reads changed.
#[track_caller]
fn check(shape: &Shape) {
    let mut history = linearizable(shape, 1);
    assert_eq!(super::super::check(&history), Outcome::Linearizable);
    for seed in 0..10 {
        stale_read(&mut history, seed);
    }
    assert!(matches!(super::super::check(&history), Outcome::Fails(_)));
}

#[test]
fn a_register_with_many_unknown_writes() {
    check(&MANY);
    let unknown = linearizable(&MANY, 1);
    let open = unknown.operations.iter().filter(|operation| {
        !matches!(operation.call, Call::Read { .. })
            && !matches!(operation.ended, Some((_, done)) if done != super::super::Done::Info)
    });
    assert!(open.count() > 200);
}

#[test]
fn compare_and_sets() {
    let special = 40;
    check(&Shape { special, ..MANY });
}

#[test]
fn fifty_clients_at_a_time() {
    let processes = 50;
    check(&Shape { processes, ..MANY });
}

#[test]
fn puts_and_appends() {
    for special in [30, 95] {
        check(&Shape {
            model: Model::Kv,
            special,
            keys: 5,
            ..MANY
        });
    }
}

/// With few values nearly anything can be explained; it must not take for ever.
#[test]
fn few_values() {
    let shape = Shape {
        special: 30,
        values: 5,
        ..MANY
    };
    let history = linearizable(&shape, 1);
    assert_eq!(super::super::check(&history), Outcome::Linearizable);
}

#[test]
fn nothing_but_unknown_operations() {
    let (unknown, reads) = (1_000, 0);
    let history = linearizable(
        &Shape {
            unknown,
            reads,
            ..MANY
        },
        1,
    );
    assert_eq!(super::super::check(&history), Outcome::Linearizable);
}

/// That nobody wrote a value needs no search, and bounds the one for the prefix.
#[test]
fn a_value_from_nowhere() {
    for (model, special) in [(Model::Register, 30), (Model::Kv, 30)] {
        let shape = Shape {
            model,
            special,
            values: 5,
            processes: 30,
            unknown: 300,
            ..MANY
        };
        let mut history = linearizable(&shape, 1);
        let half = history.lines / 2;
        let ended = |operation: &Operation| operation.ended.map_or(0, |(line, _)| line);
        let read = history.operations.iter_mut().find(|operation| {
            let is_read = matches!(operation.call, Call::Read { seen: Some(_) });
            is_read && ended(operation) > half
        });
        let read = read.expect("half of them are reads");
        read.call = Call::Read {
            seen: Some("never written".to_owned()),
        };
        let line = ended(read);
        let Outcome::Fails(why) = super::super::check(&history) else {
            panic!("nobody wrote it");
        };
        assert_eq!((why.line, why.stuck.len()), (line, 1), "{why}");
    }
}
