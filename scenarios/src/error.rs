//! What stops a command: wrong input, or a file that cannot be read or written.

use std::io;
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};

use crate::out;

/// Ends the process with status 2. A verdict is a value, never one of these.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {doing} {}: {source}", .path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] afterimage_engine::Error),
    #[error("--json and --junit cannot both go to {}", .0.display())]
    SamePlace(PathBuf),
    #[error("{}: {what}", .path.display())]
    SeedFile { path: PathBuf, what: String },
    #[error("{}: {source}", .path.display())]
    Litmus {
        path: PathBuf,
        source: afterimage_sim::litmus::Error,
    },
    #[error("no *.toml file in {}", .0.display())]
    NoSeedFiles(PathBuf),
    #[error("the file is a plan for {of}, not for {asked}: leave out --scenario")]
    OtherScenario { of: String, asked: String },
    #[error("{0}: nothing to shrink")]
    NothingToShrink(String),
    #[error("no planted bug is called `{0}`, as the file has it; `cargo sim list` names them")]
    UnknownMutant(String),
    #[error("cannot draw a plan: {0}")]
    Generate(String),
    #[error("the second process for {scenario} {seed:#x}: {what}")]
    SecondProcess {
        scenario: String,
        seed: u64,
        what: String,
    },
    #[error("{}: {what}", .path.display())]
    History { path: PathBuf, what: String },
    #[error(
        "{}: not decided: gave up after {configurations} configurations of one key",
        .path.display()
    )]
    Undecided { path: PathBuf, configurations: u64 },
    #[error("openraft-3: {0}")]
    OpenRaft(String),
    #[error("cannot catch Ctrl-C: {0}")]
    Interrupt(#[from] ctrlc::Error),
}

impl Error {
    pub fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io {
            doing,
            path,
            source,
        }
    }
}

/// One line on standard error, whatever the message looks like.
pub fn complain(message: &str) {
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    out::note(&format!("{red}afterimage{red:#}: {}", one_line(message)));
}

/// A message of several lines (parsers like to draw) as one.
pub fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
