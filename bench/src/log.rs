//! What every contestant can do, or says that it cannot.

use std::io;
use std::sync::Arc;

pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T> = std::result::Result<T, Error>;

/// What is handed over: shared, as a replica has it that also sends it out.
pub type Payload = Arc<[u8]>;

/// A log under measurement. Entries have numbers from 1 on.
pub trait Log: Sync {
    /// Appends these entries; they are durable on return. Called by several
    /// writers at once.
    fn append_durable(&self, writer: usize, entries: &[Payload]) -> Result<()>;

    /// Appends without waiting for the disk.
    fn append(&self, _entries: &[Payload]) -> Result<()> {
        Err(unsupported())
    }

    /// What was appended is in the files on return, where that is not so at once.
    fn write_out(&self) -> Result<()> {
        Ok(())
    }

    /// All that was appended is durable on return.
    fn sync(&self) -> Result<()> {
        Err(unsupported())
    }

    /// The last `count` entries, all as long as this one, are replaced by it;
    /// durable on return.
    fn replace_last(&self, _count: usize, _entry: &Payload) -> Result<()> {
        Err(unsupported())
    }

    /// One entry by its number, checked against its CRC.
    fn read(&self, _number: u64, _visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        Err(unsupported())
    }

    /// The entries from 1 to `last`, each checked against its CRC.
    fn scan(&self, _last: u64, _visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        Err(unsupported())
    }
}

pub fn unsupported() -> Error {
    io::Error::from(io::ErrorKind::Unsupported).into()
}

/// Payloads that don't compress and carry their number in front.
pub struct Payloads {
    pool: Vec<u8>,
    size: usize,
}

const POOL: usize = 1 << 20;

impl Payloads {
    pub fn new(size: usize) -> Self {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let pool = std::iter::repeat_with(|| random.next().to_le_bytes())
            .flatten()
            .take(size + POOL)
            .collect();
        Payloads { pool, size }
    }

    pub fn get(&self, number: u64) -> Payload {
        let at = number.wrapping_mul(0x9e37_79b9) as usize % POOL;
        let mut data: Payload = self.pool[at..at + self.size].into();
        let own = Arc::get_mut(&mut data).expect("nobody has it yet");
        own[..8].copy_from_slice(&number.to_le_bytes());
        data
    }

    pub fn batch(&self, first: u64, count: usize) -> Vec<Payload> {
        (first..).take(count).map(|n| self.get(n)).collect()
    }
}

/// The number that a payload carries.
pub fn number_of(data: &[u8]) -> u64 {
    data.first_chunk().map_or(0, |n| u64::from_le_bytes(*n))
}

/// xorshift64*.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
