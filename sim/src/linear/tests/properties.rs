use super::super::history::Model;
use super::super::{Outcome, check};
use super::generate::{Shape, false_claim, linearizable, stale_read};
use super::{brute, shown};
use crate::rng::hash;

/// Small enough for every order to be tried.
fn small(seed: u64) -> Shape {
    let draw = |what: u64, n: u64| hash(&[seed, what]) % n;
    Shape {
        model: Model::ALL[draw(0, 2) as usize],
        operations: 4 + draw(1, 7) as usize,
        processes: 2 + draw(2, 5) as usize,
        reads: [30, 50, 70][draw(3, 3) as usize],
        special: [0, 0, 30, 70, 100][draw(4, 5) as usize],
        keys: 1 + draw(5, 8) / 7,
        values: [0, 1, 2, 2, 3][draw(6, 5) as usize],
        unknown: [0, 100, 300, 600][draw(7, 4) as usize],
        refused: [0, 0, 20, 50][draw(8, 4) as usize],
    }
}

/// The search says what the definition says, of whole histories and of which
/// prefix is the smallest one that fails.
#[test]
fn small_histories_are_judged_by_the_definition() {
    let (mut passed, mut failed) = (0, 0);
    for seed in 0..60_000 {
        let mut history = linearizable(&small(seed), seed);
        for change in 0..seed % 4 {
            stale_read(&mut history, hash(&[seed, change]));
        }
        if seed % 3 == 0 {
            false_claim(&mut history, seed);
        }
        let expected = (0..=history.lines).find(|end| !brute::linearizable(&history, *end));
        let got = match check(&history) {
            Outcome::Linearizable => None,
            Outcome::Fails(explanation) => Some(explanation.line),
            Outcome::Undecided { .. } => panic!("seed {seed} is not decided"),
        };
        assert_eq!(got, expected, "seed {seed}: {}", shown(&history));
        match got {
            None => passed += 1,
            Some(_) => failed += 1,
        }
    }
    assert!(passed > 10_000 && failed > 10_000, "{passed}, {failed}");
}

/// What the explanation names cannot be ordered, and each of it is needed.
#[test]
fn stuck_operations_are_a_reason_and_no_more_than_that() {
    let mut failed = 0;
    for seed in 0..4_000 {
        let mut history = linearizable(&small(seed), seed);
        stale_read(&mut history, seed);
        false_claim(&mut history, seed);
        let Outcome::Fails(explanation) = check(&history) else {
            continue;
        };
        failed += 1;
        let lines: Vec<usize> = explanation.stuck.iter().map(|o| o.invoked).collect();
        assert!(lines.contains(&explanation.last.invoked), "seed {seed}");
        let only = |without: Option<usize>| {
            let mut history = history.clone();
            for operation in &mut history.operations {
                let named = lines.contains(&operation.invoked);
                if !named || Some(operation.invoked) == without {
                    operation.ended = None;
                }
            }
            brute::linearizable(&history, explanation.line)
        };
        assert!(!only(None), "seed {seed}: {}", shown(&history));
        for line in &lines {
            assert!(only(Some(*line)), "seed {seed}: {line} is not needed");
        }
    }
    assert!(failed > 500, "{failed}");
}
