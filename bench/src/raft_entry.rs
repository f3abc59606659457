//! `eraftpb.Entry` by hand (term = 2, index = 3, data = 4), as TiKV stores it, so
//! that raft-engine runs as it does there without a protobuf compiler.

use std::any::Any;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::log::Payload;
use protobuf::rt::{bytes_size, read_unknown_or_skip_group, value_size};
use protobuf::wire_format::WireTypeVarint;
use protobuf::{CodedInputStream, CodedOutputStream, Message, ProtobufResult, UnknownFields};

#[derive(Clone, Default, PartialEq, Debug)]
pub struct RaftEntry {
    pub term: u64,
    pub index: u64,
    pub data: Data,
    unknown: UnknownFields,
    cached: Cached,
}

impl RaftEntry {
    pub fn of(index: u64, data: Payload) -> Self {
        RaftEntry {
            term: 1,
            index,
            data: Data::Given(data),
            ..RaftEntry::default()
        }
    }
}

/// Neither way copies more than protobuf itself would.
#[derive(Clone, PartialEq, Debug)]
pub enum Data {
    Given(Payload),
    Read(Vec<u8>),
}

impl Default for Data {
    fn default() -> Self {
        Data::Read(Vec::new())
    }
}

impl std::ops::Deref for Data {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Data::Given(data) => data,
            Data::Read(data) => data,
        }
    }
}

/// The size computed last: protobuf asks for it again while it writes.
#[derive(Default, Debug)]
struct Cached(AtomicU32);

impl Clone for Cached {
    fn clone(&self) -> Self {
        Cached(self.0.load(Ordering::Relaxed).into())
    }
}

/// No part of an entry's value.
impl PartialEq for Cached {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl protobuf::Clear for RaftEntry {
    fn clear(&mut self) {
        *self = RaftEntry::default();
    }
}

impl Message for RaftEntry {
    fn descriptor(&self) -> &'static protobuf::reflect::MessageDescriptor {
        unimplemented!("nobody asks for reflection")
    }

    fn is_initialized(&self) -> bool {
        true
    }

    fn merge_from(&mut self, input: &mut CodedInputStream) -> ProtobufResult<()> {
        while !input.eof()? {
            let (field, wire) = input.read_tag_unpack()?;
            match field {
                2 => self.term = input.read_uint64()?,
                3 => self.index = input.read_uint64()?,
                4 => self.data = Data::Read(input.read_bytes()?),
                _ => read_unknown_or_skip_group(field, wire, input, &mut self.unknown)?,
            }
        }
        Ok(())
    }

    fn write_to_with_cached_sizes(&self, out: &mut CodedOutputStream) -> ProtobufResult<()> {
        out.write_uint64(2, self.term)?;
        out.write_uint64(3, self.index)?;
        out.write_bytes(4, &self.data)
    }

    fn compute_size(&self) -> u32 {
        let size = value_size(2, self.term, WireTypeVarint)
            + value_size(3, self.index, WireTypeVarint)
            + bytes_size(4, &self.data);
        self.cached.0.store(size, Ordering::Relaxed);
        size
    }

    fn get_cached_size(&self) -> u32 {
        self.cached.0.load(Ordering::Relaxed)
    }

    fn get_unknown_fields(&self) -> &UnknownFields {
        &self.unknown
    }

    fn mut_unknown_fields(&mut self) -> &mut UnknownFields {
        &mut self.unknown
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn new() -> Self {
        RaftEntry::default()
    }

    fn default_instance() -> &'static Self {
        unimplemented!("nobody asks for the default instance")
    }
}

pub struct RaftEntryExt;

impl raft_engine::MessageExt for RaftEntryExt {
    type Entry = RaftEntry;

    fn index(entry: &RaftEntry) -> u64 {
        entry.index
    }
}
