//! Seeds: how they are read and shown.

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

/// A seed as the user gave it: a number, or any string (a commit hash, say).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seed {
    Number(u64),
    Text(String),
}

impl Seed {
    /// The number that everything is drawn from: XXH3-64 of a string's bytes.
    pub fn value(&self) -> u64 {
        match self {
            Seed::Number(seed) => *seed,
            Seed::Text(text) => xxh3_64(text.as_bytes()),
        }
    }
}

impl FromStr for Seed {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a seed cannot be empty".to_owned());
        }
        // `from_str_radix` would take a sign, and a signed number is no seed.
        let digits = |text: &str, radix| {
            text.chars()
                .all(|c| c.is_digit(radix))
                .then(|| u64::from_str_radix(text, radix).ok())
                .flatten()
        };
        let number = match text.strip_prefix("0x") {
            Some(hex) => digits(hex, 16),
            None => digits(text, 10),
        };
        Ok(number.map_or_else(|| Seed::Text(text.to_owned()), Seed::Number))
    }
}

impl Serialize for Seed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Seed::Number(seed) => number(seed, serializer),
            Seed::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// Above 2^53 a seed is a string, as many readers of JSON would round it.
pub fn number<S: Serializer>(seed: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    if *seed <= 1 << 53 {
        serializer.serialize_u64(*seed)
    } else {
        serializer.collect_str(seed)
    }
}

/// What `replay` is asked to run again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeedOrFile {
    Seed(Seed),
    File(PathBuf),
}

impl FromStr for SeedOrFile {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains(['/', '.']) {
            Ok(SeedOrFile::File(text.into()))
        } else {
            text.parse().map(SeedOrFile::Seed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: SeedOrFile, json: &str) {
        let got: SeedOrFile = text.parse().expect("a seed or a file");
        assert_eq!(got, expected);
        if let SeedOrFile::Seed(seed) = got {
            assert_eq!(serde_json::to_string(&seed).expect("serializes"), json);
        }
    }

    #[test]
    fn numbers_strings_and_files_are_told_apart() {
        use Seed::{Number, Text};
        use SeedOrFile::{File, Seed as S};
        let text = |text: &str| S(Text(text.to_owned()));
        check("42", S(Number(42)), "42");
        check("0x2a", S(Number(42)), "42");
        check("9007199254740992", S(Number(1 << 53)), "9007199254740992");
        check(
            "9007199254740993",
            S(Number((1 << 53) + 1)),
            "\"9007199254740993\"",
        );
        check(
            "0xffffffffffffffff",
            S(Number(u64::MAX)),
            "\"18446744073709551615\"",
        );
        check(
            "18446744073709551616",
            text("18446744073709551616"),
            "\"18446744073709551616\"",
        );
        check("0x", text("0x"), "\"0x\"");
        check("+5", text("+5"), "\"+5\"");
        check("3e1c9a2", text("3e1c9a2"), "\"3e1c9a2\"");
        check("seeds/a.toml", File("seeds/a.toml".into()), "");
        check("a.toml", File("a.toml".into()), "");
        assert!("".parse::<SeedOrFile>().is_err());
    }

    #[test]
    fn the_hash_of_a_string_never_changes() {
        // Seeds in commit messages and bug reports are replayed years later.
        let seed: Seed = "3e1c9a2".parse().expect("a seed");
        assert_eq!(seed.value(), 0xf4dc_3142_2691_d283);
        // XXH3-64 of nothing, as its reference implementation has it.
        assert_eq!(Seed::Text(String::new()).value(), 0x2d06_8005_38d3_94c2);
    }
}
