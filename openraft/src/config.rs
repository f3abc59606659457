//! Which of OpenRaft's type configurations the engine can store, and how its
//! positions are named there.

use afterimage_engine::{Index, Term};
use openraft::RaftTypeConfig;
use openraft::impls::leader_id_std::LeaderId;
use openraft::vote::RaftLeaderId;

/// A type configuration whose log ids are (term, index), with numbers for node
/// ids. Implemented by all that qualify.
pub trait Config: RaftTypeConfig<NodeId = u64, Term = u64, LeaderId = LeaderId<u64, u64>> {}

impl<C> Config for C where C: RaftTypeConfig<NodeId = u64, Term = u64, LeaderId = LeaderId<u64, u64>>
{}

/// The log id of every [`Config`].
pub type LogId = openraft::LogId<<LeaderId<u64, u64> as RaftLeaderId>::Committed>;

/// OpenRaft counts from 0, the engine from 1.
pub(crate) fn to_index(index: u64) -> Index {
    Index(index.saturating_add(1))
}

/// `None` for the position before the first entry.
pub(crate) fn to_log_id((index, term): (Index, Term)) -> Option<LogId> {
    let index = index.0.checked_sub(1)?;
    Some(LogId::new(term.0.into(), index))
}

/// Where an entry with this log id is in the engine's log.
pub(crate) fn position(id: &LogId) -> (Index, Term) {
    (to_index(id.index), Term(id.leader_id.term))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_a_log_id_and_back() {
        assert_eq!(to_log_id((Index(0), Term(0))), None);
        for (index, term) in [(1, 0), (1, 7), (42, 3)] {
            let at = (Index(index), Term(term));
            let id = to_log_id(at).unwrap();
            assert_eq!((id.index, id.leader_id.term), (index - 1, term));
            assert_eq!(position(&id), at);
        }
    }
}
