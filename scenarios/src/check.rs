//! `afterimage check`: is a client history linearizable?

use std::io::{self, Read, Write};
use std::path::Path;

use afterimage_sim::linear::{self, Explanation, History, Outcome};

use crate::cli::CheckArgs;
use crate::clock::Stopwatch;
use crate::error::Error;
use crate::json;
use crate::out::{Out, Outputs};
use crate::status::Status;
use crate::summary::{GREEN, RED, plural, seconds, styled};

pub fn check(args: &CheckArgs) -> Result<Status, Error> {
    let text = read(&args.file)?;
    let history = History::parse(&text, args.model).map_err(|error| Error::History {
        path: args.file.clone(),
        what: error.to_string(),
    })?;
    let outputs = Outputs::open(args.json.as_deref(), None)?;
    let clock = Stopwatch::start();
    let outcome = linear::check(&history);
    let wall = clock.elapsed();
    let failure = match outcome {
        Outcome::Linearizable => None,
        Outcome::Fails(explanation) => Some(explanation),
        Outcome::Undecided { configurations } => {
            return Err(Error::Undecided {
                path: args.file.clone(),
                configurations,
            });
        }
    };

    let mut out = outputs.out;
    let operations = history.operations.len() as u64;
    let verdict = match failure {
        None => styled(GREEN, "linearizable"),
        Some(_) => styled(RED, "not linearizable"),
    };
    let count = plural(operations, "operation");
    let (file, took) = (args.file.display(), seconds(wall));
    writeln!(out, "{file}: {verdict}, {count}, {took}")?;
    if let Some(explanation) = &failure {
        tell(&mut out, explanation)?;
    }
    out.flush()?;
    json::write(
        outputs.json,
        &json::Check {
            linearizable: failure.is_none(),
            operations,
            wall_s: json::seconds(wall),
            model: args.model.name(),
            prefix: failure.as_ref().map(prefix),
        },
    )?;
    Ok(match failure {
        None => Status::Ok,
        Some(_) => Status::Broken,
    })
}

/// The whole history; `-` is standard input.
fn read(path: &Path) -> Result<String, Error> {
    let mut text = String::new();
    if path == Path::new("-") {
        io::stdin().read_to_string(&mut text)
    } else {
        #[allow(clippy::disallowed_methods)] // A history is a real file.
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    }
    .map_err(Error::io("read", path))?;
    Ok(text)
}

/// Where it fails, and which operations cannot be ordered.
fn tell(out: &mut Out, explanation: &Explanation) -> Result<(), Error> {
    let Explanation { model, line, .. } = explanation;
    let last = explanation.last.describe(*model);
    writeln!(out, "  fails at  line {line}: {last}")?;
    if let Some(key) = &explanation.key {
        writeln!(out, "  key       {key:?}")?;
    }
    let operations = plural(explanation.operations as u64, "operation");
    let completions = plural(explanation.completions as u64, "completion");
    writeln!(
        out,
        "  prefix    lines 1 to {line} are the smallest that fail: {operations}, {completions}"
    )?;
    writeln!(
        out,
        "  stuck     these cannot be ordered, whatever the others did:"
    )?;
    for operation in &explanation.stuck {
        writeln!(out, "              {}", operation.describe(*model))?;
    }
    Ok(())
}

fn prefix(explanation: &Explanation) -> json::Prefix<'_> {
    let model = explanation.model;
    json::Prefix {
        lines: explanation.line,
        operations: explanation.operations,
        completions: explanation.completions,
        key: explanation.key.as_deref(),
        stuck: explanation
            .stuck
            .iter()
            .map(|operation| json::Stuck {
                process: &operation.process,
                f: operation.call.name(model),
                what: operation.describe(model),
                invoked: operation.invoked,
                ended: operation.ended.map(|(line, _)| line),
            })
            .collect(),
    }
}
