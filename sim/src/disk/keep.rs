//! The fate of the pending effects at a power cut, as text.
//!
//! ```text
//! keep    = "none" | item *("," item)
//! item    = op *part
//! op      = [boot "."] n
//! part    = sectors | size | garbage        no part: the name operation itself
//! sectors = "[" ranges "]"                  these sectors' data
//! size    = "#" [index]                     the file's new length
//! garbage = "g[" ranges "]"                 these sectors, new, without their data
//! ranges  = range *("," range)
//! range   = index ["-" index]
//! ```
//! `n` is the number of the mutating operation that caused the effect; `boot`
//! is given for effects of an incarnation that was killed, and counts the
//! incarnations since the last power cut from 1. A sector's index counts from
//! the first sector that the operation touched. So `5,7[0-3]#,2.9g[1]` keeps
//! the rename (say) of operation 5, four sectors and the new length of the
//! write 7, and lets the second sector of the earlier incarnation's write 9
//! show stale bytes. A write that fills several blocks makes the file longer
//! block by block: `7#0` is the length at the end of the first one.
//!
//! A sector is listed by the one version that it takes; older versions are in
//! it, newer ones are lost. The same goes for lengths. Name operations are all
//! listed. What is not listed is lost; what does not apply is ignored.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// The operation that caused an effect. Ordered by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpId {
    /// 0: the incarnation that ran when the power went. Otherwise a killed one,
    /// counted from 1 since the last power cut.
    pub boot: u32,
    /// Number among the incarnation's mutating operations, from 1.
    pub n: u32,
}

impl Ord for OpId {
    fn cmp(&self, other: &Self) -> Ordering {
        // The incarnation without a number is the latest.
        let time = |op: &OpId| (op.boot.wrapping_sub(1), op.n);
        time(self).cmp(&time(other))
    }
}

impl PartialOrd for OpId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.boot > 0 {
            write!(f, "{}.", self.boot)?;
        }
        write!(f, "{}", self.n)
    }
}

/// What of an operation is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The link, unlink or rename.
    Name,
    /// The data of one sector; the index counts from the operation's first.
    Sector(u32),
    /// The length that the file had when a write had filled so many blocks of
    /// 4096 bytes, and one.
    PartialSize(u32),
    /// The new length of the file.
    Size,
    /// One newly allocated sector was given to the file, its data was not
    /// written: it shows what was there before.
    Garbage(u32),
}

/// The smallest thing with a fate of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unit {
    pub op: OpId,
    pub part: Part,
}

/// The fate of the pending effects at a power cut: what is kept; everything
/// else is lost. The text form is at the top of this file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keep {
    units: BTreeSet<Unit>,
}

impl Keep {
    pub fn contains(&self, unit: Unit) -> bool {
        self.units.contains(&unit)
    }

    pub fn insert(&mut self, unit: Unit) {
        self.units.insert(unit);
    }

    pub fn remove(&mut self, unit: Unit) {
        self.units.remove(&unit);
    }

    /// In the order of the operations.
    pub fn units(&self) -> impl Iterator<Item = Unit> + '_ {
        self.units.iter().copied()
    }
}

impl FromIterator<Unit> for Keep {
    fn from_iter<I: IntoIterator<Item = Unit>>(units: I) -> Self {
        Keep {
            units: units.into_iter().collect(),
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.units.is_empty() {
            return f.write_str("none");
        }
        let units: Vec<Unit> = self.units().collect();
        let mut separator = "";
        for of_op in units.chunk_by(|a, b| a.op == b.op) {
            // A name and data of one operation are two items: a part binds to
            // the operation, and a bare operation is the name.
            if of_op[0].part == Part::Name {
                write!(f, "{separator}{}", of_op[0].op)?;
                separator = ",";
            }
            if of_op.iter().any(|unit| unit.part != Part::Name) {
                write!(f, "{separator}{}", of_op[0].op)?;
                separator = ",";
                write_ranges(f, "[", of_op, |part| match part {
                    Part::Sector(index) => Some(index),
                    _ => None,
                })?;
                for unit in of_op {
                    match unit.part {
                        Part::PartialSize(index) => write!(f, "#{index}")?,
                        Part::Size => f.write_str("#")?,
                        Part::Name | Part::Sector(_) | Part::Garbage(_) => (),
                    }
                }
                write_ranges(f, "g[", of_op, |part| match part {
                    Part::Garbage(index) => Some(index),
                    _ => None,
                })?;
            }
        }
        Ok(())
    }
}

/// Writes the indexes that `select` finds, `[0-3,5]` for `open` = `[`; nothing
/// if there are none. The units are sorted, so the indexes are too.
fn write_ranges(
    f: &mut fmt::Formatter<'_>,
    open: &str,
    units: &[Unit],
    select: fn(Part) -> Option<u32>,
) -> fmt::Result {
    let indexes: Vec<u32> = units.iter().filter_map(|unit| select(unit.part)).collect();
    let mut separator = open;
    for run in indexes.chunk_by(|a, b| a + 1 == *b) {
        write!(f, "{separator}{}", run[0])?;
        if run.len() > 1 {
            write!(f, "-{}", run[run.len() - 1])?;
        }
        separator = ",";
    }
    if indexes.is_empty() {
        return Ok(());
    }
    f.write_str("]")
}

impl FromStr for Keep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Keep::default());
        }
        let mut parser = Parser { rest: text };
        let mut keep = Keep::default();
        parser
            .items(&mut keep)
            .map_err(|what| format!("keep={text}: {what}, at {:?}", parser.rest))?;
        Ok(keep)
    }
}

struct Parser<'a> {
    rest: &'a str,
}

/// More sectors than any write has; keeps `[0-4294967295]` from being built.
const INDEX_MAX: u32 = 1 << 21;

impl Parser<'_> {
    fn items(&mut self, keep: &mut Keep) -> Result<(), &'static str> {
        loop {
            self.item(keep)?;
            if self.rest.is_empty() {
                return Ok(());
            }
            self.expect(",")?;
        }
    }

    fn item(&mut self, keep: &mut Keep) -> Result<(), &'static str> {
        let first = self.number()?;
        let op = if self.eat(".") {
            if first == 0 {
                return Err("incarnations count from 1");
            }
            let n = self.number()?;
            OpId { boot: first, n }
        } else {
            OpId { boot: 0, n: first }
        };
        let mut bare = true;
        loop {
            if self.eat("[") {
                self.ranges(|index| keep.insert(unit(op, Part::Sector(index))))?;
            } else if self.eat("g[") {
                self.ranges(|index| keep.insert(unit(op, Part::Garbage(index))))?;
            } else if self.eat("#") {
                let part = match self.rest.starts_with(|next: char| next.is_ascii_digit()) {
                    true => Part::PartialSize(self.number()?),
                    false => Part::Size,
                };
                keep.insert(unit(op, part));
            } else {
                break;
            }
            bare = false;
        }
        if bare {
            keep.insert(unit(op, Part::Name));
        }
        Ok(())
    }

    fn ranges(&mut self, mut found: impl FnMut(u32)) -> Result<(), &'static str> {
        loop {
            let first = self.number()?;
            let last = if self.eat("-") { self.number()? } else { first };
            if first > last || last > INDEX_MAX {
                return Err("not a range of sectors");
            }
            (first..=last).for_each(&mut found);
            if self.eat("]") {
                return Ok(());
            }
            self.expect(",")?;
        }
    }

    fn number(&mut self) -> Result<u32, &'static str> {
        let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = self.rest.split_at(digits);
        let number = number.parse().map_err(|_| "expected a number")?;
        self.rest = rest;
        Ok(number)
    }

    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &'static str) -> Result<(), &'static str> {
        if self.eat(token) {
            Ok(())
        } else {
            Err("unexpected text")
        }
    }
}

fn unit(op: OpId, part: Part) -> Unit {
    Unit { op, part }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_value_agree() {
        fn check(text: &str, canonical: &str) {
            let keep: Keep = text.parse().unwrap();
            assert_eq!(keep.to_string(), canonical, "from {text}");
            assert_eq!(canonical.parse::<Keep>().unwrap(), keep);
        }
        check("none", "none");
        check("5", "5");
        check("9,5", "5,9");
        check("7[0-3]#", "7[0-3]#");
        check("7#,7[3],7[0,1,2]", "7[0-3]#");
        check("7[0,2-4,9]", "7[0,2-4,9]");
        check("9g[0-1],5,7[0]g[1]", "5,7[0]g[1],9g[0-1]");
        check("2.5,5,1.7#", "1.7#,2.5,5");
        check("7,7#", "7,7#");
        check("7#1[2]#0#", "7[2]#0#1#");
    }

    #[test]
    fn what_is_no_keep_is_refused() {
        for text in [
            "",
            "all",
            "5,",
            ",5",
            "7[",
            "7[]",
            "7[3-1]",
            "7g",
            "0.7",
            "x",
            "5 6",
            "7[0-4294967295]",
            "99999999999",
            "1.",
            "none,5",
        ] {
            assert!(text.parse::<Keep>().is_err(), "{text:?}");
        }
    }
}
