//! How far it is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock::Stopwatch;
use crate::out;

/// Until the first line in a log file; what is over sooner needs none.
const LINE_FIRST: Duration = Duration::from_secs(1);
/// Between two lines.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// The bar's clock moves even while a seed takes long.
const TICK: Duration = Duration::from_millis(250);

pub struct Progress {
    what: &'static str,
    total: Option<u64>,
    done: u64,
    clock: Stopwatch,
    show: Show,
}

enum Show {
    Bar(ProgressBar),
    /// When the next line is due.
    Lines {
        due: Duration,
    },
}

impl Progress {
    /// On standard error. `what` is counted, say "seeds".
    pub fn new(what: &'static str, total: Option<u64>) -> Self {
        let show = match std::io::stderr().is_terminal() {
            true => Show::Bar(bar(what, total)),
            false => Show::Lines { due: LINE_FIRST },
        };
        Progress {
            what,
            total,
            done: 0,
            clock: Stopwatch::start(),
            show,
        }
    }

    /// One more is done. `note` is asked for only if it is shown.
    pub fn advance(&mut self, note: impl FnOnce() -> String) {
        self.reach(self.done + 1, note);
    }

    /// So many are done.
    pub fn reach(&mut self, done: u64, note: impl FnOnce() -> String) {
        self.done = done;
        let now = self.clock.elapsed();
        match &mut self.show {
            Show::Bar(bar) => {
                bar.set_position(self.done);
                bar.set_message(note());
            }
            Show::Lines { due } if now >= *due => {
                *due = now + LINE_EVERY;
                let of = self.total.map_or(String::new(), |n| format!(" of {n}"));
                let (done, what, s) = (self.done, self.what, now.as_secs());
                out::note(&format!("{s:>5} s  {done}{of} {what}{}", note()));
            }
            Show::Lines { .. } => {}
        }
    }

    /// Prints while the bar is out of the way.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.show {
            Show::Bar(bar) => bar.suspend(print),
            Show::Lines { .. } => print(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Show::Bar(bar) = &self.show {
            bar.finish_and_clear();
        }
    }
}

fn bar(what: &str, total: Option<u64>) -> ProgressBar {
    // What does not fit into a narrow terminal is cut: a bar of two lines would
    // leave traces when it is drawn again.
    let template = match total {
        Some(_) => format!("{{elapsed:>4}} {{bar:16}} {{pos}}/{{len}} {what}{{wide_msg}}"),
        None => format!("{{elapsed:>4}} {{spinner}} {{pos}} {what}{{wide_msg}}"),
    };
    let style = ProgressStyle::with_template(&template).expect("a literal template");
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr()).with_style(style);
    bar.enable_steady_tick(TICK);
    bar
}
