//! One record of a segment: an entry, its place in the chain, and its CRC.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | `len`: header, data and CRC without the padding, in bytes; never 0 |
//! | 4 | 1 | `kind` |
//! | 5 | 1 | `flags`: 0 |
//! | 6 | 2 | `header_crc`: guards `len` before anything is allocated |
//! | 8 | 8 | `index` |
//! | 16 | 8 | `term` |
//! | 24 | 8 | `timestamp`: ms since the epoch |
//! | 32 | 4 | `prev_crc`: the CRC of the record before |
//! | 36 | 4 | `sync_floor_delta`: `index` less the highest index that was known to be durable when this was written |
//! | 40 | n | data |
//! | 40 + n | 0..7 | zeros, so that the frame's length is a multiple of 8 |
//! | | 4 | `crc` over all before, seeded with the segment's nonce |
//!
//! All numbers are little-endian. Since the CRC covers the nonce and the CRC of
//! the record before, neither a stale record of the same file nor one in a
//! block of another file can follow. A record can be checked by itself, which
//! recovery needs to tell a torn tail from rot.

use std::sync::Arc;

use crate::bytes::{Get, Put};
use crate::entry::{Entry, EntryKind};
use crate::ids::{Index, NUMBER_MAX, Term};

pub(crate) const HEADER: usize = 40;
const CRC: usize = 4;
/// The smallest frame: no data.
pub(crate) const FRAME_MIN: usize = frame_len(0);

/// Bytes of the whole frame for this much data.
pub(crate) const fn frame_len(data: usize) -> usize {
    (HEADER + data + CRC).next_multiple_of(8)
}

/// What stands before the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    pub data_len: usize,
    pub kind: EntryKind,
    pub index: Index,
    pub term: Term,
    pub timestamp_ms: i64,
    pub prev_crc: u32,
    /// The highest index known to be durable when this was written.
    pub sync_floor: Index,
}

impl RecordHeader {
    pub fn frame_len(&self) -> usize {
        frame_len(self.data_len)
    }

    /// `None` if these bytes are no record header of the segment with this nonce.
    pub fn decode(bytes: &[u8; HEADER], nonce: u64) -> Option<Self> {
        Self::decode_seeded(bytes, &Seed::new(nonce))
    }

    pub(crate) fn decode_seeded(bytes: &[u8; HEADER], seed: &Seed) -> Option<Self> {
        let header_crc = u16::from_le_bytes([bytes[6], bytes[7]]);
        if header_crc != seed.header_crc(bytes) {
            return None;
        }
        Self::decode_checked(bytes)
    }

    /// Of bytes that some CRC says were written so.
    fn decode_checked(bytes: &[u8; HEADER]) -> Option<Self> {
        let mut get = Get::new(bytes);
        let len = get.u32();
        let [kind, flags] = get.array();
        let _header_crc: [u8; 2] = get.array();
        if len == 0 || flags != 0 {
            return None;
        }
        let index = Index(get.u64());
        if index.0 > NUMBER_MAX {
            return None;
        }
        let term = Term(get.u64());
        let timestamp_ms = get.i64();
        let prev_crc = get.u32();
        let delta = u64::from(get.u32());
        Some(RecordHeader {
            data_len: (len as usize).checked_sub(HEADER + CRC)?,
            kind: EntryKind::from_u8(kind)?,
            index,
            term,
            timestamp_ms,
            prev_crc,
            sync_floor: Index(index.0.checked_sub(delta)?),
        })
    }
}

/// Where all CRCs of a segment begin: behind its nonce.
#[derive(Debug, Clone)]
pub(crate) struct Seed(crc32fast::Hasher);

impl Seed {
    pub fn new(nonce: u64) -> Self {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&nonce.to_le_bytes());
        Seed(crc)
    }

    fn header_crc(&self, header: &[u8; HEADER]) -> u16 {
        // Without the field itself, but in one piece: a short input costs
        // little more than the call.
        let mut rest = [0; HEADER - 2];
        rest[..6].copy_from_slice(&header[..6]);
        rest[6..].copy_from_slice(&header[8..]);
        let mut crc = self.0.clone();
        crc.update(&rest);
        crc.finalize() as u16
    }

    /// The CRC over a frame without its CRC field.
    fn frame_crc(&self, body: &[u8]) -> u32 {
        let mut crc = self.0.clone();
        crc.update(body);
        crc.finalize()
    }
}

/// Appends the frame of `entry` to `out`; its CRC, for the next record.
pub(crate) fn encode(
    entry: &Entry,
    prev_crc: u32,
    sync_floor: Index,
    seed: &Seed,
    out: &mut Vec<u8>,
) -> u32 {
    assert!(
        sync_floor < entry.index,
        "an entry cannot be durable before it is written"
    );
    let start = out.len();
    let len = HEADER + entry.data.len() + CRC;
    let len_field = u32::try_from(len).expect("the store refuses entries of 4 GiB");
    let mut header = [0; HEADER];
    Put::new(&mut header)
        .u32(len_field)
        .bytes(&[entry.kind as u8, 0, 0, 0])
        .u64(entry.index.0)
        .u64(entry.term.0)
        .i64(entry.timestamp_ms)
        .u32(prev_crc)
        .u32(u32::try_from(entry.index - sync_floor).expect("the writer syncs long before"));
    let header_crc = seed.header_crc(&header);
    header[6..8].copy_from_slice(&header_crc.to_le_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(&entry.data);
    out.resize(start + frame_len(entry.data.len()) - CRC, 0);
    let crc = seed.frame_crc(&out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
    crc
}

/// The CRC of this whole frame, if it is right.
pub(crate) fn verify(frame: &[u8], seed: &Seed) -> Option<u32> {
    let (body, found) = frame.split_last_chunk::<CRC>()?;
    let crc = seed.frame_crc(body);
    (*found == crc.to_le_bytes()).then_some(crc)
}

/// The data in a frame that was verified.
pub(crate) fn data<'a>(header: &RecordHeader, frame: &'a [u8]) -> &'a [u8] {
    &frame[HEADER..HEADER + header.data_len]
}

/// The entry in a frame that was verified.
pub(crate) fn entry(header: &RecordHeader, frame: &[u8]) -> Entry {
    Entry {
        index: header.index,
        term: header.term,
        kind: header.kind,
        timestamp_ms: header.timestamp_ms,
        data: Arc::from(data(header, frame)),
    }
}

/// What stands at the front of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A record that is right by itself.
    Record {
        header: RecordHeader,
        crc: u32,
    },
    /// More bytes are needed to tell: this many in all.
    Need(usize),
    Bad,
}

/// Looks at the front of `bytes`, of which there are `available` in the file
/// all told. Never reads past `bytes`, never allocates.
pub fn parse(bytes: &[u8], available: u64, nonce: u64) -> Parsed {
    parse_seeded(bytes, available, &Seed::new(nonce))
}

pub(crate) fn parse_seeded(bytes: &[u8], available: u64, seed: &Seed) -> Parsed {
    if available < FRAME_MIN as u64 {
        return Parsed::Bad;
    }
    let Some(first) = bytes.first_chunk::<HEADER>() else {
        return Parsed::Need(HEADER);
    };
    let Some(header) = RecordHeader::decode_seeded(first, seed) else {
        return Parsed::Bad;
    };
    let len = header.frame_len();
    if len as u64 > available {
        return Parsed::Bad;
    }
    let Some(frame) = bytes.get(..len) else {
        return Parsed::Need(len);
    };
    match verify(frame, seed) {
        Some(crc) => Parsed::Record { header, crc },
        None => Parsed::Bad,
    }
}

/// As [`parse`], where the record `expected` should stand: quicker if it does.
pub(crate) fn parse_expected(bytes: &[u8], available: u64, seed: &Seed, expected: Index) -> Parsed {
    match whole(bytes, available, seed, expected) {
        Some((header, crc)) => Parsed::Record { header, crc },
        None => parse_seeded(bytes, available, seed),
    }
}

/// The record in front, if all of it is there: its CRC covers the header, whose
/// own need not be looked at then.
fn whole(
    bytes: &[u8],
    available: u64,
    seed: &Seed,
    expected: Index,
) -> Option<(RecordHeader, u32)> {
    let header = RecordHeader::decode_checked(bytes.first_chunk()?)?;
    if header.index != expected || header.frame_len() as u64 > available {
        return None;
    }
    let crc = verify(bytes.get(..header.frame_len())?, seed)?;
    Some((header, crc))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry_of(data: Vec<u8>, index: u64, term: u64) -> Entry {
        Entry {
            index: Index(index),
            term: Term(term),
            kind: EntryKind::Command,
            timestamp_ms: 7,
            data: data.into(),
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            data in proptest::collection::vec(any::<u8>(), 0..2000),
            index in 1..=NUMBER_MAX, term in any::<u64>(), prev in any::<u32>(),
            nonce in any::<u64>(), back in 1u64..100,
        ) {
            let e = entry_of(data, index, term);
            let floor = Index(index.saturating_sub(back));
            let mut buf = Vec::new();
            let crc = encode(&e, prev, floor, &Seed::new(nonce), &mut buf);
            let Parsed::Record { header, crc: found } = parse(&buf, buf.len() as u64, nonce) else {
                panic!("not a record");
            };
            prop_assert_eq!(found, crc);
            prop_assert_eq!(header.prev_crc, prev);
            prop_assert_eq!(header.sync_floor, floor);
            let expected = parse_expected(&buf, buf.len() as u64, &Seed::new(nonce), e.index);
            prop_assert_eq!(expected, Parsed::Record { header, crc });
            prop_assert_eq!(entry(&header, &buf), e);
            // Of another segment, or cut short, it is none.
            prop_assert_eq!(parse(&buf, buf.len() as u64, nonce ^ 1), Parsed::Bad);
            prop_assert_eq!(parse(&buf, buf.len() as u64 - 8, nonce), Parsed::Bad);
        }

        #[test]
        fn a_flipped_bit_is_seen(
            data in proptest::collection::vec(any::<u8>(), 0..300),
            at in any::<proptest::sample::Index>(), bit in 0u8..8,
        ) {
            let mut buf = Vec::new();
            encode(&entry_of(data, 9, 3), 1, Index(8), &Seed::new(5), &mut buf);
            let at = at.index(buf.len());
            buf[at] ^= 1 << bit;
            let len = buf.len() as u64;
            for found in [parse(&buf, len, 5), parse_expected(&buf, len, &Seed::new(5), Index(9))] {
                prop_assert!(!matches!(found, Parsed::Record { .. }), "still a record");
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            available in any::<u64>(), nonce in any::<u64>(),
        ) {
            if let Parsed::Need(n) = parse(&bytes, available, nonce) {
                prop_assert!(n as u64 <= available.max(HEADER as u64));
            }
        }

        #[test]
        fn arbitrary_lengths_allocate_nothing(len in any::<u32>(), nonce in any::<u64>()) {
            // A header with a right CRC and any length: more than there is, is bad.
            let mut buf = Vec::new();
            encode(&entry_of(Vec::new(), 1, 1), 0, Index(0), &Seed::new(nonce), &mut buf);
            buf[..4].copy_from_slice(&len.to_le_bytes());
            let header: &[u8; HEADER] = buf[..HEADER].try_into().unwrap();
            let crc = Seed::new(nonce).header_crc(header).to_le_bytes();
            buf[6..8].copy_from_slice(&crc);
            let available = buf.len() as u64;
            prop_assert!(!matches!(parse(&buf, available, nonce), Parsed::Need(n) if n as u64 > available));
        }
    }

    /// With a right CRC, and a field that no build writes so.
    #[test]
    fn a_header_of_another_kind_is_none() {
        let decode = |at: usize, field: &[u8]| {
            let mut buf = Vec::new();
            let seed = Seed::new(5);
            encode(&entry_of(vec![1; 9], 3, 1), 0, Index(2), &seed, &mut buf);
            buf[at..at + field.len()].copy_from_slice(field);
            let mut header: [u8; HEADER] = buf[..HEADER].try_into().unwrap();
            let crc = seed.header_crc(&header).to_le_bytes();
            header[6..8].copy_from_slice(&crc);
            RecordHeader::decode(&header, 5)
        };
        let (len, flags, index) = (0, 5, 8);
        assert!(decode(index, &NUMBER_MAX.to_le_bytes()).is_some());
        assert!(decode(index, &(NUMBER_MAX + 1).to_le_bytes()).is_none());
        assert!(decode(index, &u64::MAX.to_le_bytes()).is_none());
        assert!(decode(flags, &[0]).is_some() && decode(flags, &[1]).is_none());
        assert!(decode(len, &0u32.to_le_bytes()).is_none());
        assert!(decode(len, &44u32.to_le_bytes()).is_some());
        assert!(
            decode(len, &43u32.to_le_bytes()).is_none(),
            "less than an empty one"
        );
    }
}
