//! Which part of the log can still be reached, without any I/O.
//!
//! The live segments are a chain: each begins where the one before it ends. A
//! bad record, a missing segment or a link that does not hold breaks it into
//! unbroken runs. A log may begin anywhere up to the snapshot's end + 1, and
//! must not have a gap from there on. So what can be kept is the last run that
//! begins there, up to its end.

use crate::ids::Index;

/// A live segment, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub base: Index,
    /// Behind the last record that counts and can be read.
    pub end: Index,
    /// The segment before is the one that this continues.
    pub is_linked: bool,
}

/// Segments without a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// Positions of the first and the last segment.
    pub first: usize,
    pub last: usize,
    pub from: Index,
    /// Behind its last record.
    pub to: Index,
}

pub(super) fn runs(parts: &[Part]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if run.to == part.base && part.is_linked => {
                run.last = at;
                run.to = part.end;
            }
            _ => runs.push(Run {
                first: at,
                last: at,
                from: part.base,
                to: part.end,
            }),
        }
    }
    runs
}

/// The run that can be kept, behind a snapshot that ends at `snapshot_end`.
pub(super) fn keep(runs: &[Run], snapshot_end: Index) -> Option<Run> {
    let reachable = |run: &&Run| run.from <= snapshot_end.next();
    runs.iter().rev().find(reachable).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments as (base, end, is_linked); the segments kept, and the index
    /// behind the last record kept.
    #[track_caller]
    fn check(parts: &[(u64, u64, bool)], snapshot_end: u64, expected: Option<(usize, usize, u64)>) {
        let parts: Vec<_> = parts
            .iter()
            .map(|&(base, end, is_linked)| Part {
                base: Index(base),
                end: Index(end),
                is_linked,
            })
            .collect();
        let kept = keep(&runs(&parts), Index(snapshot_end));
        let kept = kept.map(|run| (run.first, run.last, run.to.0));
        assert_eq!(kept, expected, "of {parts:?}");
    }

    #[test]
    fn what_is_kept_ends_at_the_first_break_behind_the_snapshot() {
        let whole = [(1, 10, false), (10, 20, true), (20, 25, true)];
        check(&[], 0, None);
        check(&whole, 0, Some((0, 2, 25)));
        check(&whole, 12, Some((0, 2, 25)));
        // A bad record in the second: what follows can't be reached, unless
        // the snapshot covers the break.
        let bad = [(1, 10, false), (10, 15, true), (20, 25, true)];
        check(&bad, 0, Some((0, 1, 15)));
        check(&bad, 18, Some((0, 1, 15)));
        check(&bad, 19, Some((2, 2, 25)));
        // The same with a segment that is not there.
        let gap = [(1, 10, false), (20, 25, false)];
        check(&gap, 0, Some((0, 0, 10)));
        check(&gap, 19, Some((1, 1, 25)));
        // Or that cannot be read: it holds nothing.
        let unreadable = [(1, 10, false), (10, 10, false), (20, 25, false)];
        check(&unreadable, 0, Some((0, 0, 10)));
        // The first one is missing.
        check(&[(5, 10, false)], 0, None);
        check(&[(5, 10, false)], 3, None);
        check(&[(5, 10, false)], 4, Some((0, 0, 10)));
        // It ends where the next one begins, but that continues another.
        check(&[(1, 10, false), (10, 20, false)], 0, Some((0, 0, 10)));
        check(&[(1, 10, false), (10, 20, false)], 9, Some((1, 1, 20)));
    }
}
