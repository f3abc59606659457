//! Which segments count: the hiding rule, without any I/O.

use crate::ids::Index;
use crate::log::segment::SegmentHeader;

/// Positions in the list of headers that was given.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Live ones, in order of base (and so of generation): each is visible up
    /// to the next one's base.
    pub live: Vec<usize>,
    /// Dead or hidden ones.
    pub garbage: Vec<usize>,
}

/// A segment of generation g and base b hides every index >= b in segments of
/// lower generations. Segments below `min_generation` are dead.
pub(crate) fn hide(headers: &[SegmentHeader], min_generation: u64) -> Chain {
    let mut newest_first: Vec<usize> = (0..headers.len()).collect();
    newest_first.sort_by_key(|&i| std::cmp::Reverse(headers[i].generation));
    let mut hidden_from = Index(u64::MAX);
    let mut chain = Chain {
        live: Vec::new(),
        garbage: Vec::new(),
    };
    for i in newest_first {
        let header = &headers[i];
        if header.generation < min_generation || header.base >= hidden_from {
            chain.garbage.push(i);
        } else {
            hidden_from = header.base;
            chain.live.push(i);
        }
    }
    chain.live.reverse();
    chain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::segment::Link;

    /// Segments as (base, generation); what lives, oldest first.
    fn check(segments: &[(u64, u64)], min_generation: u64, live: &[(u64, u64)]) {
        let headers: Vec<_> = segments
            .iter()
            .map(|&(base, generation)| SegmentHeader {
                log_id: 1,
                base: Index(base),
                generation,
                nonce: 0,
                prev: Link::default(),
                floor: Index(base - 1),
                created_at_ms: 0,
            })
            .collect();
        let chain = hide(&headers, min_generation);
        let found: Vec<_> = chain.live.iter().map(|&i| segments[i]).collect();
        assert_eq!(found, live, "of {segments:?}");
        assert_eq!(chain.live.len() + chain.garbage.len(), segments.len());
    }

    #[test]
    fn a_segment_hides_what_it_replaces() {
        check(&[], 0, &[]);
        check(&[(1, 1), (10, 2), (20, 3)], 0, &[(1, 1), (10, 2), (20, 3)]);
        // A truncation inside the second, and one across both.
        check(&[(1, 1), (10, 2), (15, 3)], 0, &[(1, 1), (10, 2), (15, 3)]);
        check(&[(1, 1), (10, 2), (5, 3)], 0, &[(1, 1), (5, 3)]);
        // To the very front, and a rewrite with the same base.
        check(&[(1, 1), (10, 2), (1, 3)], 0, &[(1, 3)]);
        // Truncated, rolled, truncated again below: the roll is hidden as well.
        check(&[(1, 1), (6, 2), (12, 3), (4, 4)], 0, &[(1, 1), (4, 4)]);
        // The order of the directory means nothing.
        check(&[(4, 4), (12, 3), (1, 1), (6, 2)], 0, &[(1, 1), (4, 4)]);
    }

    #[test]
    fn a_snapshot_that_discards_the_log_kills_lower_generations() {
        check(&[(1, 1), (10, 2)], 3, &[]);
        check(&[(1, 1), (10, 2), (101, 4)], 3, &[(101, 4)]);
        check(&[(1, 1), (10, 2), (101, 3)], 3, &[(101, 3)]);
    }
}
