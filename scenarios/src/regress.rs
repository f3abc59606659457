//! `afterimage regress`: every file of a directory, and what each expects.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use afterimage_sim::mutants::{self, MutantInfo};
use afterimage_sim::plan::seed_file::SeedFile;
use afterimage_sim::run::run_fresh;
use afterimage_sim::verdict::Verdict;

use crate::campaign::options;
use crate::cli::{self, RegressArgs};
use crate::error::Error;
use crate::files;
use crate::interrupt;
use crate::json::{self, Missed};
use crate::out::Outputs;
use crate::pool;
use crate::progress::Progress;
use crate::status::Status;
use crate::summary::{GREEN, RED, plural, styled};

/// One expectation of one file.
struct Case<'a> {
    path: &'a Path,
    file: &'a SeedFile,
    mutant: Option<&'static MutantInfo>,
    expected: Verdict,
    /// After it, the file has been judged.
    last: bool,
}

pub fn regress(args: &RegressArgs) -> Result<Status, Error> {
    let files = read_all(&args.dir)?;
    let cases = cases(&files)?;
    let outputs = Outputs::open(args.json.as_deref(), None)?;

    let mut out = outputs.out;
    let mut report = json::Regress {
        files: 0,
        passed: 0,
        failures: Vec::new(),
    };
    let mut progress = Progress::new("expectations", Some(cases.len() as u64));
    let mut missed = Vec::new();
    let mut result = Ok(());
    pool::in_order(
        cli::jobs(args.jobs),
        cases.len() as u64,
        || !interrupt::requested(),
        |number| {
            let case = &cases[number as usize];
            run_fresh(&case.file.plan, options(case.mutant, None)).verdict
        },
        |number, got| {
            let case = &cases[number as usize];
            if got != case.expected {
                missed.push(case.missed(got));
            }
            progress.advance(|| format!(", {} missed", report.failures.len() + missed.len()));
            if !case.last {
                return ControlFlow::Continue(());
            }
            report.files += 1;
            report.passed += u64::from(missed.is_empty());
            let told = tell(case, &missed);
            report.failures.append(&mut missed);
            result = progress.aside(|| writeln!(out, "{told}"));
            match result {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        },
    );
    drop(progress);
    result?;

    writeln!(
        out,
        "{}: {} as expected, {} not",
        plural(report.files, "file"),
        report.passed,
        report.files - report.passed
    )?;
    out.flush()?;
    json::write(outputs.json, &report)?;
    Ok(match report.failures.is_empty() {
        true => Status::Ok,
        false => Status::Broken,
    })
}

impl Case<'_> {
    fn missed(&self, got: Verdict) -> Missed {
        Missed {
            file: self.path.to_string_lossy().into_owned(),
            mutant: self.mutant.map(|mutant| mutant.name.to_owned()),
            expected: self.expected.to_string(),
            got: got.to_string(),
        }
    }
}

/// A file that was judged.
fn tell(case: &Case, missed: &[Missed]) -> String {
    if missed.is_empty() {
        return format!("{}   {}", styled(GREEN, "ok"), case.path.display());
    }
    let mut told = format!("{} {}", styled(RED, "FAIL"), case.path.display());
    for missed in missed {
        let on = missed.mutant.as_deref().unwrap_or("the engine");
        told += &format!(
            "\n     on {on}: expected {}, got {}\n     {}",
            missed.expected,
            missed.got,
            files::replay_command(case.path, missed.mutant.as_deref()),
        );
    }
    told
}

/// All of them are read before the first is run: a misspelt one is told at once.
fn read_all(dir: &Path) -> Result<Vec<(PathBuf, SeedFile)>, Error> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        std::fs::read_dir(dir)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    let mut paths = list().map_err(Error::io("read", dir))?;
    paths.retain(|path| path.extension().is_some_and(|end| end == "toml"));
    // The order in which a directory lists its files is chance.
    paths.sort();
    if paths.is_empty() {
        return Err(Error::NoSeedFiles(dir.to_owned()));
    }
    paths
        .into_iter()
        .map(|path| files::read(&path).map(|file| (path, file)))
        .collect()
}

fn cases(files: &[(PathBuf, SeedFile)]) -> Result<Vec<Case<'_>>, Error> {
    let mut cases = Vec::new();
    for (path, file) in files {
        let bad = |what: String| Error::SeedFile {
            path: path.clone(),
            what,
        };
        assert!(!file.expect.is_empty(), "a seed file expects something");
        for (i, expectation) in file.expect.iter().enumerate() {
            let mutant = match &expectation.mutant {
                None => None,
                Some(name) => Some(mutants::find(name).ok_or_else(|| {
                    bad(format!(
                        "unknown mutant `{name}`; `cargo sim list` names them"
                    ))
                })?),
            };
            cases.push(Case {
                path,
                file,
                mutant,
                expected: expectation.verdict,
                last: i + 1 == file.expect.len(),
            });
        }
    }
    Ok(cases)
}
