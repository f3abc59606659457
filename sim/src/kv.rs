//! The state machine that the simulator replicates: keys, values, and padding
//! that makes entries and snapshots as large as a plan wants them.
//!
//! ```text
//! put       key u32, value u64, padding        answer: version u64
//! get       key u32                            answer: version u64, value u64 (0, 0: never written)
//! snapshot  count u64, the slots by key, XXH3-64 of the content u64
//! slot      key u32, version u64, value u64, padding length u32, padding
//! ```
//! All little-endian. A version is the index of the entry that wrote it.

use std::collections::{BTreeMap, btree_map};
use std::sync::Arc;

use afterimage_engine::Index;
use afterimage_engine::node::{RequestKind, StateMachine};
use afterimage_engine::store::SnapshotSource;
use xxhash_rust::xxh3::Xxh3;

use crate::trace::Operation;

const PUT_HEADER: usize = 12;
const SLOT_HEADER: usize = 24;

/// The request for an operation. A put carries `padding` bytes that follow from
/// its value, so that the bytes of one write are never taken for another's.
pub fn encode(operation: &Operation, padding: usize) -> (RequestKind, Vec<u8>) {
    match *operation {
        Operation::Put { key, value } => {
            let mut body = Vec::with_capacity(PUT_HEADER + padding);
            body.extend_from_slice(&key.to_le_bytes());
            body.extend_from_slice(&value.to_le_bytes());
            let mut word = value;
            while body.len() < PUT_HEADER + padding {
                // An odd multiplier and increment: never the same word twice.
                word = word
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let left = PUT_HEADER + padding - body.len();
                body.extend_from_slice(&word.to_be_bytes()[..left.min(8)]);
            }
            (RequestKind::Command, body)
        }
        Operation::Get { key } => (RequestKind::Query, key.to_le_bytes().to_vec()),
    }
}

/// Reads the numbers of a body from its front.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// Panics where the bytes end: no client sent them, so a log, a snapshot or
    /// a message lied, which is what the simulator looks for.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (bytes, rest) = self
            .0
            .split_first_chunk()
            .expect("the state machine got bytes that no client sent");
        self.0 = rest;
        *bytes
    }
    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }
    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

/// A map from keys to values that remembers who wrote them.
#[derive(Debug, Clone, Default)]
pub struct Kv {
    slots: BTreeMap<u32, Slot>,
    restoring: Restoring,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Slot {
    version: u64,
    value: u64,
    /// Shared with the snapshots being written.
    padding: Arc<[u8]>,
}

/// How far a restore came.
#[derive(Debug, Clone, Default)]
struct Restoring {
    /// Bytes of the item under way.
    item: Vec<u8>,
    /// Slots that are still to come, once the count is there.
    left: Option<u64>,
    digest: Option<u64>,
    /// The first thing wrong: [`StateMachine::restore`] can't say it.
    wrong: Option<String>,
}

impl Kv {
    pub fn new() -> Self {
        Self::default()
    }

    /// XXH3-64 of the content: equal for equal states only (as far as a hash can).
    pub fn digest(&self) -> u64 {
        let mut hash = Xxh3::new();
        for (&key, slot) in &self.slots {
            hash.update(&slot.header(key));
            hash.update(&slot.padding);
        }
        hash.digest()
    }

    /// Takes the item that [`Restoring::item`] holds, if it is whole.
    fn end_item(&mut self) -> Result<(), String> {
        let restoring = &mut self.restoring;
        let mut fields = Fields(&restoring.item);
        match restoring.left {
            None => restoring.left = Some(fields.u64()),
            Some(0) => restoring.digest = Some(fields.u64()),
            Some(left) => {
                let key = fields.u32();
                let slot = Slot {
                    version: fields.u64(),
                    value: fields.u64(),
                    padding: fields.0[4..].into(),
                };
                if let Some((&last, _)) = self.slots.last_key_value()
                    && last >= key
                {
                    return Err(format!("key {key} comes after key {last}"));
                }
                self.slots.insert(key, slot);
                restoring.left = Some(left - 1);
            }
        }
        restoring.item.clear();
        Ok(())
    }

    fn take_piece(&mut self, mut piece: &[u8]) -> Result<(), String> {
        while !piece.is_empty() {
            let Some(needed) = self.restoring.item_len() else {
                return Err("there is more after the end".into());
            };
            let missing = needed - self.restoring.item.len();
            let (taken, rest) = piece.split_at(missing.min(piece.len()));
            self.restoring.item.extend_from_slice(taken);
            piece = rest;
            if taken.len() == missing && self.restoring.item_len() == Some(needed) {
                self.end_item()?;
            }
        }
        Ok(())
    }
}

impl Slot {
    fn header(&self, key: u32) -> [u8; SLOT_HEADER] {
        let padding = u32::try_from(self.padding.len()).expect("a plan's padding is small");
        let mut header = [0; SLOT_HEADER];
        header[..4].copy_from_slice(&key.to_le_bytes());
        header[4..12].copy_from_slice(&self.version.to_le_bytes());
        header[12..20].copy_from_slice(&self.value.to_le_bytes());
        header[20..].copy_from_slice(&padding.to_le_bytes());
        header
    }
}

impl Restoring {
    /// The length of the item under way as far as it is known; `None` after
    /// the last one.
    fn item_len(&self) -> Option<usize> {
        match (self.left, self.digest) {
            (None, _) | (Some(0), None) => Some(8),
            (Some(0), Some(_)) => None,
            (Some(_), _) if self.item.len() < SLOT_HEADER => Some(SLOT_HEADER),
            (Some(_), _) => {
                let padding = Fields(&self.item[SLOT_HEADER - 4..]).u32();
                Some(SLOT_HEADER + padding as usize)
            }
        }
    }
}

impl StateMachine for Kv {
    fn apply(&mut self, index: Index, command: &[u8]) -> Vec<u8> {
        let mut fields = Fields(command);
        let key = fields.u32();
        let slot = Slot {
            version: index.0,
            value: fields.u64(),
            padding: fields.0.into(),
        };
        let old = self.slots.insert(key, slot);
        assert!(old.is_none_or(|old| old.version < index.0));
        index.0.to_le_bytes().to_vec()
    }

    fn query(&self, request: &[u8]) -> Vec<u8> {
        let mut fields = Fields(request);
        let slot = self.slots.get(&fields.u32());
        assert!(fields.0.is_empty(), "a get is a key and nothing else");
        let (version, value) = slot.map_or((0, 0), |slot| (slot.version, slot.value));
        let mut answer = version.to_le_bytes().to_vec();
        answer.extend_from_slice(&value.to_le_bytes());
        answer
    }

    fn snapshot(&self) -> Box<dyn SnapshotSource> {
        Box::new(Frozen {
            count: Some(self.slots.len() as u64),
            slots: self.slots.clone().into_iter(),
            digest: Some(self.digest()),
        })
    }

    fn reset(&mut self) {
        *self = Kv::default();
    }

    fn restore(&mut self, piece: &[u8]) {
        if self.restoring.wrong.is_none() {
            self.restoring.wrong = self.take_piece(piece).err();
        }
    }

    fn restored(&mut self) -> Result<(), String> {
        let restoring = std::mem::take(&mut self.restoring);
        if let Some(wrong) = restoring.wrong {
            return Err(wrong);
        }
        match restoring.digest {
            None => Err("the key-value state is cut off".into()),
            Some(digest) if digest != self.digest() => {
                Err("the key-value state is not what was saved".into())
            }
            Some(_) => Ok(()),
        }
    }
}

/// A frozen state on its way into a snapshot.
struct Frozen {
    count: Option<u64>,
    slots: btree_map::IntoIter<u32, Slot>,
    digest: Option<u64>,
}

impl SnapshotSource for Frozen {
    fn read(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        let begin = out.len();
        if let Some(count) = self.count.take() {
            out.extend_from_slice(&count.to_le_bytes());
        }
        while out.len() - begin < max {
            if let Some((key, slot)) = self.slots.next() {
                out.extend_from_slice(&slot.header(key));
                out.extend_from_slice(&slot.padding);
            } else {
                if let Some(digest) = self.digest.take() {
                    out.extend_from_slice(&digest.to_le_bytes());
                }
                break;
            }
        }
        self.digest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put(kv: &mut Kv, index: u64, key: u32, value: u64, padding: usize) -> Vec<u8> {
        let (kind, body) = encode(&Operation::Put { key, value }, padding);
        assert_eq!(kind, RequestKind::Command);
        assert_eq!(body.len(), PUT_HEADER + padding);
        kv.apply(Index(index), &body)
    }

    /// What a get of `key` says: version and value.
    fn check(kv: &Kv, key: u32, expected: (u64, u64)) {
        let (kind, body) = encode(&Operation::Get { key }, 0);
        assert_eq!(kind, RequestKind::Query);
        let answer = kv.query(&body);
        let mut fields = Fields(&answer);
        assert_eq!(
            (fields.u64(), fields.u64(), fields.0.len()),
            (expected.0, expected.1, 0)
        );
    }

    fn saved(kv: &Kv, max: usize) -> Vec<u8> {
        let (mut source, mut out) = (kv.snapshot(), Vec::new());
        while source.read(&mut out, max) {}
        out
    }

    fn restore(bytes: &[u8], split: usize) -> Result<Kv, String> {
        let mut kv = Kv::new();
        put(&mut kv, 1, 99, 99, 9);
        kv.reset();
        bytes.chunks(split).for_each(|piece| kv.restore(piece));
        kv.restored().map(|()| kv)
    }

    #[test]
    fn a_get_says_what_the_last_put_wrote() {
        let mut kv = Kv::new();
        check(&kv, 7, (0, 0));
        assert_eq!(put(&mut kv, 3, 7, 70, 5), 3u64.to_le_bytes());
        put(&mut kv, 4, 8, 80, 0);
        put(&mut kv, 9, 7, 71, 0);
        check(&kv, 7, (9, 71));
        check(&kv, 8, (4, 80));
    }

    #[test]
    fn the_digest_sees_everything() {
        let digest = |index, key, value, padding| {
            let mut kv = Kv::new();
            put(&mut kv, index, key, value, padding);
            kv.digest()
        };
        let mut all = vec![
            Kv::new().digest(),
            digest(1, 1, 1, 1),
            digest(2, 1, 1, 1),
            digest(1, 2, 1, 1),
            digest(1, 1, 2, 1),
            digest(1, 1, 1, 2),
        ];
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 6);
    }

    #[test]
    fn a_damaged_state_is_refused() {
        let mut kv = Kv::new();
        put(&mut kv, 1, 1, 10, 9);
        put(&mut kv, 2, 2, 20, 0);
        let good = saved(&kv, 7);
        assert!(restore(&good, 5).is_ok());
        for at in 0..good.len() {
            assert!(restore(&good[..at], 5).is_err(), "cut at {at}");
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(restore(&bad, 5).is_err(), "flipped at {at}");
        }
        assert!(restore(&[&good[..], &[0]].concat(), 5).is_err());
    }

    #[test]
    #[should_panic(expected = "no client sent")]
    fn a_command_that_nobody_sent_is_noticed() {
        Kv::new().apply(Index(1), b"short");
    }

    proptest! {
        #[test]
        fn a_snapshot_brings_the_state_back(
            puts in prop::collection::vec((0u32..6, any::<u64>(), 0usize..40), 0..30),
            max in 1usize..100,
            split in 1usize..60,
        ) {
            let mut kv = Kv::new();
            for (index, &(key, value, padding)) in (1..).zip(&puts) {
                put(&mut kv, index, key, value, padding);
            }
            let source = kv.snapshot();
            let restored = restore(&saved(&kv, max), split).unwrap();
            prop_assert_eq!(&restored.slots, &kv.slots);
            prop_assert_eq!(restored.digest(), kv.digest());
            // Frozen: later commands do not reach a snapshot taken before.
            let (mut source, mut before) = (source, Vec::new());
            put(&mut kv, 1000, 3, 3, 3);
            while source.read(&mut before, max) {}
            prop_assert_eq!(restore(&before, split).unwrap().digest(), restored.digest());
        }
    }
}
