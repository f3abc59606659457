//! File names as traces show them: short, and without their random parts.

use std::borrow::Cow;

/// `log-<base>-<generation>.seg` as `log-1.2`, `snapshot-<random>.tmp` as
/// `snapshot.tmp`; a directory in front is left out.
pub fn short(path: &str) -> Cow<'_, str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    if let Some(segment) = segment(name) {
        return Cow::Owned(segment);
    }
    if let Some((kind, _)) = name.strip_suffix(".tmp").and_then(|n| n.split_once('-')) {
        return Cow::Owned(format!("{kind}.tmp"));
    }
    Cow::Borrowed(name)
}

/// The store's files with one name.
const FIXED: [&str; 3] = ["snapshot", "hardstate", "LOCK"];

/// Shortens what looks like one of the store's files in a text for people, and
/// leaves everything else as it is, columns included.
pub fn short_all(text: &str) -> String {
    let part = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let word_ends = rest.find(|c| !part(c)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(word_ends);
        let fixed = word
            .rsplit_once('/')
            .is_some_and(|(_, name)| FIXED.contains(&name));
        if fixed || word.contains(".seg") || word.contains(".tmp") {
            // A full stop or colon behind a name is not part of it.
            let name = word.trim_end_matches(['.', '-']);
            out.push_str(&short(name));
            out.push_str(&word[name.len()..]);
        } else {
            out.push_str(word);
        }
        let word_begins = behind.find(part).unwrap_or(behind.len());
        let (gap, next) = behind.split_at(word_begins);
        out.push_str(gap);
        rest = next;
    }
    out
}

/// Whether this is a file under construction.
pub fn is_temporary(path: &str) -> bool {
    path.ends_with(".tmp")
}

fn segment(name: &str) -> Option<String> {
    let (base, generation) = name
        .strip_prefix("log-")?
        .strip_suffix(".seg")?
        .split_once('-')?;
    let base: u64 = base.parse().ok()?;
    let generation = u64::from_str_radix(generation, 16).ok()?;
    Some(format!("log-{base}.{generation}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_not_random() {
        let check = |path: &str, expected: &str| assert_eq!(short(path), expected);
        check(
            "log-00000000000000000017-00000000000000ff.seg",
            "log-17.255",
        );
        check("n1/hardstate", "hardstate");
        check("snapshot-81f3.tmp", "snapshot.tmp");
        check("n1/segment-00ab-1.tmp", "segment.tmp");
        check("LOCK", "LOCK");
        check("log-x-1.seg", "log-x-1.seg");
    }

    #[test]
    fn texts_keep_everything_else() {
        let check = |text: &str, expected: &str| assert_eq!(short_all(text), expected);
        check(
            "lost  .7 rename  n1/snapshot-81f3.tmp -> n1/snapshot",
            "lost  .7 rename  snapshot.tmp -> snapshot",
        );
        check(
            "kept  .5 sector 1  log-00000000000000000001-0000000000000002.seg @624+400",
            "kept  .5 sector 1  log-1.2 @624+400",
        );
        check("opening segment-1.tmp: no.", "opening segment.tmp: no.");
        check("größer · 1/1..3", "größer · 1/1..3");
        check("", "");
    }
}
