mod brute;
mod generate;
mod known;
mod parse;
mod properties;
mod scale;

use super::{History, Model, Outcome};

/// Parses what a test wrote down.
#[track_caller]
fn history(model: Model, text: &str) -> History {
    History::parse(text, model).expect("a history")
}

#[track_caller]
fn linearizable(history: &History) -> bool {
    match super::check(history) {
        Outcome::Linearizable => true,
        Outcome::Fails(_) => false,
        Outcome::Undecided { .. } => panic!("not decided"),
    }
}

/// For messages: an operation a line.
fn shown(history: &History) -> String {
    let lines = history.operations.iter().map(|o| {
        let end = o
            .ended
            .map_or("open".to_owned(), |(_, done)| done.to_string());
        let key = o.key.as_deref().unwrap_or("");
        format!("\n{key} {} ({end})", o.describe(history.model))
    });
    lines.collect()
}
