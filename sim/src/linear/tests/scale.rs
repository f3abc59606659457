//! Thousands of operations, hundreds of them unknown, many at a time.

use super::super::history::Model;
use super::super::{Outcome, check};
use super::generate::{Shape, linearizable, stale_read};

const BASE: Shape = Shape {
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

#[test]
fn measure() {
    let mut shapes = Vec::new();
    for model in [Model::Register, Model::Kv] {
        for processes in [5, 10, 30, 50] {
            for special in [0, 30, 70] {
                for values in [0, 5] {
                    for unknown in [20, 100] {
                        shapes.push(Shape {
                            model,
                            processes,
                            special,
                            values,
                            unknown,
                            ..BASE
                        });
                    }
                }
            }
        }
    }
    for shape in shapes {
        for seed in 0..2 {
            for stale in [0, 1, 20] {
                let mut history = linearizable(&shape, seed);
                for n in 0..stale {
                    stale_read(&mut history, seed + n);
                }
                let start = std::time::Instant::now();
                let outcome = check(&history);
                let ms = start.elapsed().as_millis();
                let got = match &outcome {
                    Outcome::Linearizable => "ok".into(),
                    Outcome::Fails(e) => format!("line {} stuck {}", e.line, e.stuck.len()),
                    Outcome::Undecided { .. } => "UNDECIDED".to_string(),
                };
                if ms > 500 || got == "UNDECIDED" || seed == 0 {
                    println!(
                        "{:?} p{} special{} values{} unknown{} seed{seed} stale{stale}: {ms} ms {got}",
                        shape.model, shape.processes, shape.special, shape.values, shape.unknown
                    );
                }
                if stale == 0 {
                    assert!(got == "ok" || got == "UNDECIDED");
                }
            }
        }
    }
}
