//! The header's bytes, and where each chunk stands.

use crate::bytes::{Put, SECTOR, Sector, fields, seal};
use crate::entry::Membership;
use crate::ids::{Index, NUMBER_MAX, NodeId, Term};

const MAGIC: &[u8; 8] = b"AFTIMSNP";
/// What is written; all of the format are read.
const VERSION: u32 = 1;
/// A membership's encoding is at most this long, in bytes.
pub(crate) const MEMBERSHIP_BYTES_MAX: usize = 1 << 20;
const CRC: u64 = 4;

/// The first sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub chunk_bytes: u32,
    pub log_id: u64,
    pub last_index: Index,
    pub last_term: Term,
    pub min_generation: u64,
    pub data_len: u64,
    pub data_crc: u32,
    pub membership_len: u32,
    pub membership_crc: u32,
    pub nonce: u64,
}

impl Header {
    pub fn encode(&self) -> Sector {
        let mut sector = [0; SECTOR];
        Put::new(&mut sector)
            .bytes(MAGIC)
            .u32(VERSION)
            .u32(self.chunk_bytes)
            .u64(self.log_id)
            .u64(self.last_index.0)
            .u64(self.last_term.0)
            .u64(self.min_generation)
            .u64(self.data_len)
            .u32(self.data_crc)
            .u32(self.membership_len)
            .u32(self.membership_crc)
            .u32(0)
            .u64(self.nonce);
        seal(&mut sector);
        sector
    }

    /// `Ok(None)`: not a header. `Err`: one of this newer version.
    pub fn decode(sector: &Sector) -> Result<Option<Self>, u32> {
        let Some(mut get) = fields(sector, MAGIC)? else {
            return Ok(None);
        };
        let header = Header {
            chunk_bytes: get.u32(),
            log_id: get.u64(),
            last_index: Index(get.u64()),
            last_term: Term(get.u64()),
            min_generation: get.u64(),
            data_len: get.u64(),
            data_crc: get.u32(),
            membership_len: get.u32(),
            membership_crc: get.u32(),
            nonce: {
                get.u32();
                get.u64()
            },
        };
        let sane = header.chunk_bytes > 0
            && header.last_index.0 <= NUMBER_MAX
            && header.min_generation <= NUMBER_MAX
            && header.membership_len as usize <= MEMBERSHIP_BYTES_MAX;
        Ok(sane.then_some(header))
    }

    pub(crate) fn chunks(&self) -> Chunks {
        Chunks {
            start: chunks_start(self.membership_len as usize),
            chunk_bytes: u64::from(self.chunk_bytes),
            nonce: self.nonce,
        }
    }
}

/// Where the chunks begin.
pub(crate) fn chunks_start(membership_len: usize) -> u64 {
    (SECTOR + membership_len.next_multiple_of(SECTOR)) as u64
}

/// The layout of the chunks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunks {
    pub start: u64,
    pub chunk_bytes: u64,
    pub nonce: u64,
}

impl Chunks {
    /// Where chunk `number` begins in the file; `None` past what a file can hold.
    pub fn offset(&self, number: u64) -> Option<u64> {
        number
            .checked_mul(self.chunk_bytes + CRC)?
            .checked_add(self.start)
    }

    pub fn crc(&self, number: u64, data: &[u8]) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.nonce.to_le_bytes());
        crc.update(&number.to_le_bytes());
        crc.update(data);
        crc.finalize()
    }
}

/// Voters and learners: a count of each, then their ids.
pub(crate) fn encode_membership(membership: &Membership) -> Vec<u8> {
    let mut out = Vec::new();
    for list in [&membership.voters, &membership.learners] {
        let count = u32::try_from(list.len()).expect("checked by the caller: at most 1 MiB of ids");
        out.extend(count.to_le_bytes());
        out.extend(list.iter().flat_map(|id| id.0.to_le_bytes()));
    }
    out
}

/// `None` if these bytes are not a membership.
pub fn decode_membership(bytes: &[u8]) -> Option<Membership> {
    fn list<'a>(bytes: &mut &'a [u8]) -> Option<Vec<NodeId>> {
        let (count, rest) = bytes.split_first_chunk::<4>()?;
        let len = (u32::from_le_bytes(*count) as usize).checked_mul(8)?;
        let ids: &'a [u8] = rest.get(..len)?;
        *bytes = &rest[len..];
        let ids = ids.as_chunks::<8>().0;
        Some(
            ids.iter()
                .map(|id| NodeId(u64::from_le_bytes(*id)))
                .collect(),
        )
    }
    let mut rest = bytes;
    let voters = list(&mut rest)?;
    let learners = list(&mut rest)?;
    rest.is_empty().then_some(Membership { voters, learners })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn memberships_survive_the_round_trip(voters: Vec<u64>, learners: Vec<u64>) {
            let ids = |list: Vec<u64>| list.into_iter().map(NodeId).collect();
            let membership = Membership { voters: ids(voters), learners: ids(learners) };
            prop_assert_eq!(decode_membership(&encode_membership(&membership)), Some(membership));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, sector in proptest::collection::vec(any::<u8>(), SECTOR)) {
            let _ = decode_membership(&bytes);
            let mut sector: Sector = sector.try_into().unwrap();
            sector[..8].copy_from_slice(MAGIC);
            sector[8..12].copy_from_slice(&VERSION.to_le_bytes());
            seal(&mut sector);
            if let Ok(Some(header)) = Header::decode(&sector) {
                let _ = header.chunks().offset(u64::MAX / 2);
                prop_assert_eq!(header.encode()[..72].to_vec(), { let mut s = sector; s[68..72].fill(0); s[..72].to_vec() });
            }
        }
    }
}
