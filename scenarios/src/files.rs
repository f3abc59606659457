//! Seed files: read, written, and the command that replays one.

use std::fs;
use std::path::{Path, PathBuf};

use afterimage_sim::disk::Profile;
use afterimage_sim::mutants::MutantInfo;
use afterimage_sim::plan::Plan;
use afterimage_sim::plan::seed_file::{Expectation, SeedFile};
use afterimage_sim::verdict::Verdict;

use crate::error::{Error, one_line};

/// Where the plans of failing runs go unless `--out` says otherwise.
pub const DEFAULT_DIR: &str = "target/afterimage";

#[allow(clippy::disallowed_methods)] // The command line's own files are real.
pub fn read(path: &Path) -> Result<SeedFile, Error> {
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    SeedFile::parse(&text).map_err(|error| Error::SeedFile {
        path: path.to_owned(),
        what: error.to_string(),
    })
}

/// Creates the directory if needed and proves that a file can be written to it.
pub fn prepare_dir(dir: &Path) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
    tempfile::tempfile_in(dir).map_err(Error::io("write to", dir))?;
    Ok(())
}

/// Writes the resolved plan of a failing run, to replay as it is and to become a
/// regression seed. One file a (scenario, seed, profile, planted bug): a rerun replaces it.
pub fn write(
    dir: &Path,
    resolved: &Plan,
    mutant: Option<&MutantInfo>,
    verdict: Verdict,
    detail: &str,
) -> Result<PathBuf, Error> {
    let path = dir.join(format!("{}.toml", stem(resolved, mutant)));
    write_as(&path, &failing(resolved, mutant, verdict, detail))
}

/// The name, without its end, of the file for a failure of this plan.
pub fn stem(plan: &Plan, mutant: Option<&MutantInfo>) -> String {
    let Plan { scenario, seed, .. } = plan;
    let mut stem = format!("{scenario}-{seed:#x}");
    if plan.disk.profile != Profile::default() {
        stem += &format!("-{}", plan.disk.profile);
    }
    if let Some(mutant) = mutant {
        stem += &format!("-{}", mutant.name);
    }
    stem
}

/// A seed file that expects what was found.
pub fn failing(
    resolved: &Plan,
    mutant: Option<&MutantInfo>,
    verdict: Verdict,
    detail: &str,
) -> SeedFile {
    let Plan { scenario, seed, .. } = resolved;
    SeedFile {
        about: one_line(&format!("{scenario}, seed {seed:#x}: {verdict}: {detail}")),
        expect: vec![Expectation {
            mutant: mutant.map(|mutant| mutant.name.to_owned()),
            verdict,
        }],
        plan: resolved.clone(),
    }
}

/// Writes a seed file.
#[allow(clippy::disallowed_methods)] // The command line's own files are real.
pub fn write_as(path: &Path, file: &SeedFile) -> Result<PathBuf, Error> {
    fs::write(path, file.to_string()).map_err(Error::io("write", path))?;
    Ok(path.to_owned())
}

/// The command that replays a seed file.
pub fn replay_command(file: &Path, mutant: Option<&str>) -> String {
    let mut command = format!("cargo sim replay {}", quoted(&file.to_string_lossy()));
    if let Some(mutant) = mutant {
        command += &format!(" --mutant {mutant}");
    }
    command
}

/// A path as a shell takes it for one word.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=+:,@%".contains(c);
    // What looks like an option is none with a directory in front.
    let path = match path.starts_with('-') {
        true => format!("./{path}"),
        false => path.to_owned(),
    };
    match path.chars().all(plain) {
        true => path,
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(file: &str, mutant: Option<&str>, expected: &str) {
        assert_eq!(replay_command(Path::new(file), mutant), expected);
    }

    #[test]
    fn the_command_can_be_pasted_into_a_shell() {
        check(
            "target/afterimage/raft-3-0x2a.toml",
            None,
            "cargo sim replay target/afterimage/raft-3-0x2a.toml",
        );
        check(
            "my seeds/it's.toml",
            Some("vote-twice"),
            r"cargo sim replay 'my seeds/it'\''s.toml' --mutant vote-twice",
        );
        check("-x/a.toml", None, "cargo sim replay ./-x/a.toml");
    }
}
