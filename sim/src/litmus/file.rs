//! The form of a litmus file: JSON, with contents as runs of bytes.
//!
//! `A6000 B2192 .10` is 6000 bytes `A`, 2192 bytes `B` and 10 zeros; nothing is
//! an empty file. A test has operations of its `setup`, all durable before it
//! begins, and `steps`, each with a label; `observed[fs][label]` lists the
//! directory's contents found after a power cut when that step was the last one
//! done, `start` before the first. Fields that are not known are left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde::Deserialize;

use super::Error;

/// No file of a test is longer, in bytes.
pub(super) const LEN_MAX: u64 = 1 << 24;

/// The label before the first step.
pub(super) const START: &str = "start";

#[derive(Debug, Clone, Deserialize)]
pub struct Suite {
    pub tests: Vec<Test>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Test {
    pub name: String,
    #[serde(default)]
    pub setup: Vec<Op>,
    pub steps: Vec<Step>,
    /// By filesystem and label.
    pub observed: BTreeMap<String, BTreeMap<String, Vec<BTreeMap<String, String>>>>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Step {
    pub label: String,
    pub ops: Vec<Op>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    Create {
        file: String,
    },
    /// At the end of the file.
    Append {
        file: String,
        byte: char,
        len: u64,
    },
    Write {
        file: String,
        offset: u64,
        byte: char,
        len: u64,
    },
    SetLen {
        file: String,
        len: u64,
    },
    /// Reserves space, and makes the file that long.
    Allocate {
        file: String,
        #[serde(default)]
        offset: u64,
        len: u64,
    },
    Fsync {
        file: String,
    },
    Fdatasync {
        file: String,
    },
    FsyncDir,
    /// Of the whole filesystem.
    Sync,
    Rename {
        from: String,
        to: String,
    },
    Unlink {
        file: String,
    },
}

impl FromStr for Suite {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let suite: Suite = serde_json::from_str(text)?;
        for test in &suite.tests {
            let mut labels = BTreeSet::from([START]);
            for step in &test.steps {
                if !labels.insert(&step.label) {
                    return Err(Error::Test {
                        test: test.name.clone(),
                        what: format!("two steps {:?}", step.label),
                    });
                }
            }
        }
        Ok(suite)
    }
}

/// A content as bytes.
pub(super) fn files(
    content: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let files = content.iter().map(|(name, runs)| {
        let bytes = bytes(runs).ok_or_else(|| format!("not a content: {name:?} {runs:?}"))?;
        Ok((name.clone(), bytes))
    });
    files.collect()
}

fn bytes(runs: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for run in runs.split_whitespace() {
        let byte = run.chars().next()?;
        let len: u64 = run[byte.len_utf8()..].parse().ok()?;
        if bytes.len() as u64 + len > LEN_MAX {
            return None;
        }
        bytes.resize(bytes.len() + len as usize, of(byte)?);
    }
    Some(bytes)
}

/// The byte that a letter stands for; `.` is zero.
pub(super) fn of(letter: char) -> Option<u8> {
    match letter {
        '.' => Some(0),
        letter => u8::try_from(letter).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_runs_of_bytes() {
        fn check(runs: &str, expected: Option<&[u8]>) {
            assert_eq!(bytes(runs).as_deref(), expected, "{runs:?}");
        }
        check("", Some(b""));
        check("A3 .2 B1", Some(b"AAA\0\0B"));
        for wrong in ["A", "3", "A-1", "A3B", "€3", "A99999999999"] {
            check(wrong, None);
        }
    }

    #[test]
    fn what_is_no_suite_is_refused() {
        fn check(text: &str, says: &str) {
            let error = text.parse::<Suite>().map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        check("", "not a litmus file");
        check(r#"{"tests": 1}"#, "not a litmus file");
        let step = r#"{"label": "a", "ops": []}"#;
        let tests = format!(r#"[{{"name": "t", "steps": [{step}, {step}], "observed": {{}}}}]"#);
        check(&format!(r#"{{"tests": {tests}}}"#), "t: two steps \"a\"");
        let step = r#"{"label": "a", "ops": [{"op": "explode"}]}"#;
        let tests = format!(r#"[{{"name": "t", "steps": [{step}], "observed": {{}}}}]"#);
        check(&format!(r#"{{"tests": {tests}}}"#), "explode");
    }
}
