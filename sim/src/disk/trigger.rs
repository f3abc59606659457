//! Armed crashes and failures: which operation they wait for.

use std::fmt;
use std::str::FromStr;

use super::image::SECTOR;
use super::{CrashPoint, FaultKind, OpKind};

/// Which operations a trigger counts: `write`, `sync:log-*`, `rename:snapshot`
/// (a rename by its new name), `*:log-*`, `*`. Text form as shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    pub kind: Option<OpKind>,
    /// `*` matches any run of characters. A name without a slash is compared
    /// with the last component of the path, one with a slash with all of it.
    pub name: String,
}

impl Pattern {
    /// Every operation.
    pub fn any() -> Self {
        Pattern {
            kind: None,
            name: "*".into(),
        }
    }

    /// Whether the pattern is for this operation on the file of this name.
    pub fn matches(&self, kind: OpKind, name: &str) -> bool {
        if self.kind.is_some_and(|wanted| wanted != kind) {
            return false;
        }
        let name = match name.rsplit_once('/') {
            Some((_, last)) if !self.name.contains('/') => last,
            _ => name,
        };
        glob(self.name.as_bytes(), name.as_bytes())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.map_or("*", OpKind::as_str);
        match self.name.as_str() {
            "*" => f.write_str(kind),
            name => write!(f, "{kind}:{name}"),
        }
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = text.split_once(':').unwrap_or((text, "*"));
        let kind = match kind {
            "*" => None,
            kind => Some(kind.parse()?),
        };
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(format!("not a name in a pattern: {name:?}"));
        }
        Ok(Pattern {
            kind,
            name: name.into(),
        })
    }
}

/// The `nth` (from 1) matching mutating operation from now on, or after the
/// next boot where the plan says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrashTrigger {
    pub pattern: Pattern,
    pub nth: u64,
    pub point: CrashPoint,
}

/// The `nth` (from 1) matching operation (reads included) fails. `Short` counts
/// only reads and writes of two bytes or more, `Lost` and `Misdirected` only
/// syncs of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailTrigger {
    pub pattern: Pattern,
    pub nth: u64,
    pub fault: FaultKind,
}

/// The triggers that have not fired yet, each with the matches still to come.
#[derive(Debug, Clone, Default)]
pub(super) struct Armed {
    crash: Option<CrashTrigger>,
    fails: Vec<FailTrigger>,
}

impl Armed {
    pub fn arm_crash(&mut self, trigger: CrashTrigger) {
        assert!(trigger.nth > 0, "crash points count from 1");
        self.crash = Some(trigger);
    }

    pub fn disarm_crash(&mut self) {
        self.crash = None;
    }

    pub fn arm_fail(&mut self, trigger: FailTrigger) {
        assert!(trigger.nth > 0, "failures count from 1");
        self.fails.push(trigger);
    }

    pub fn disarm_fails(&mut self) -> usize {
        std::mem::take(&mut self.fails).len()
    }

    /// Counts one operation; where in it the power goes, if it does.
    pub fn crash(&mut self, kind: OpKind, name: &str) -> Option<CrashPoint> {
        let trigger = self.crash.as_mut()?;
        if !kind.mutates() || !trigger.pattern.matches(kind, name) {
            return None;
        }
        trigger.nth -= 1;
        if trigger.nth > 0 {
            return None;
        }
        self.crash.take().map(|trigger| trigger.point)
    }

    /// Counts one operation on `len` bytes; the fault that it meets, if any. Of
    /// several that fall on the same operation, the one armed first.
    pub fn fail(&mut self, kind: OpKind, name: &str, at: u64, len: u64) -> Option<FaultKind> {
        let mut fired = None;
        self.fails.retain_mut(|trigger| {
            let applies = match trigger.fault {
                FaultKind::Short => can_be_short(kind, at, len),
                fault => !fault.is_latent() || kind == OpKind::Sync,
            };
            if !applies || !trigger.pattern.matches(kind, name) {
                return true;
            }
            trigger.nth -= 1;
            if trigger.nth == 0 {
                fired = fired.or(Some(trigger.fault));
            }
            trigger.nth > 0
        });
        fired
    }
}

/// Whether an operation on `len` bytes from `at` can stop short. A write of one
/// whole sector cannot: it would leave half of it for a power cut, and that a
/// sector is written whole or not at all is what slots and headers rest on.
pub(super) fn can_be_short(kind: OpKind, at: u64, len: u64) -> bool {
    let sector = SECTOR as u64;
    match kind {
        OpKind::Read => len >= 2,
        OpKind::Write => len >= 2 && (len != sector || !at.is_multiple_of(sector)),
        _ => false,
    }
}

/// Whether `pattern`, in which `*` is any run of bytes, matches all of `name`.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // After the latest star, and where its run ends for now.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                star = Some((p, n));
            }
            Some(byte) if *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star.as_mut() {
                Some((after, end)) => {
                    *end += 1;
                    (p, n) = (*after, *end);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_kind_and_name() {
        fn check(pattern: &str, kind: OpKind, name: &str, expected: bool) {
            let parsed: Pattern = pattern.parse().unwrap();
            assert_eq!(parsed.to_string(), pattern);
            assert_eq!(parsed.matches(kind, name), expected, "{pattern} on {name}");
        }
        check("*", OpKind::Read, "anything", true);
        check("write", OpKind::Write, "log-1.seg", true);
        check("write", OpKind::Sync, "log-1.seg", false);
        check("sync:log-*", OpKind::Sync, "log-1.seg", true);
        check("sync:log-*", OpKind::Sync, "snapshot", false);
        check("*:*.tmp", OpKind::Write, "a.tmp", true);
        check("*:*.tmp", OpKind::Write, "a.tmp2", false);
        check("rename:snapshot", OpKind::Rename, "n1/snapshot", true);
        check("rename:n1/*", OpKind::Rename, "n1/snapshot", true);
        check("rename:n2/*", OpKind::Rename, "n1/snapshot", false);
        check("*:a*b*c", OpKind::Len, "aXbXbYc", true);
        check("*:a*b*c", OpKind::Len, "aXcXb", false);
        check("sync_dir:.", OpKind::SyncDir, ".", true);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "frobnicate", "write:", "write:a b", "Sync"] {
            assert!(text.parse::<Pattern>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn failures_count_each_by_itself() {
        let mut armed = Armed::default();
        let trigger = |pattern: &str, nth, fault| FailTrigger {
            pattern: pattern.parse().unwrap(),
            nth,
            fault,
        };
        armed.arm_fail(trigger("write", 2, FaultKind::Eio));
        armed.arm_fail(trigger("*", 2, FaultKind::Enospc));
        armed.arm_fail(trigger("*", 1, FaultKind::Short));
        let mut ops = [OpKind::Sync, OpKind::Write, OpKind::Write, OpKind::Write].into_iter();
        let mut next = || armed.fail(ops.next().unwrap(), "f", 0, 10);
        assert_eq!(next(), None, "a sync cannot be short");
        assert_eq!(next(), Some(FaultKind::Enospc), "armed before the short");
        assert_eq!(next(), Some(FaultKind::Eio));
        assert_eq!(next(), None);
        assert_eq!(armed.disarm_fails(), 0);
    }
}
