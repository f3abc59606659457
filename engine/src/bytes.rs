//! Fixed-width little-endian fields in a sector.

/// The unit that a disk writes atomically, in bytes.
pub const SECTOR: usize = 512;
pub type Sector = [u8; SECTOR];

/// Writes fields one after the other.
pub(crate) struct Put<'a> {
    buf: &'a mut [u8],
    at: usize,
}
impl<'a> Put<'a> {
    pub fn new(buf: &'a mut [u8]) -> Self {
        Put { buf, at: 0 }
    }
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.buf[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
        self
    }
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }
    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }
}

/// Reads fields one after the other; the caller knows that they are there.
pub(crate) struct Get<'a> {
    buf: &'a [u8],
    at: usize,
}
impl<'a> Get<'a> {
    pub fn new(buf: &'a [u8]) -> Self {
        Get { buf, at: 0 }
    }
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(&self.buf[self.at..self.at + N]);
        self.at += N;
        out
    }
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }
    pub fn i64(&mut self) -> i64 {
        i64::from_le_bytes(self.array())
    }
}

/// Where the first byte stands that is not zero. Quick over long zeros.
pub(crate) fn first_nonzero(bytes: &[u8]) -> Option<usize> {
    // In pieces without an early exit: the compiler makes vectors of those.
    let is_zero = |piece: &[u8]| piece.iter().fold(0, |all, byte| all | byte) == 0;
    let zeros = bytes
        .chunks(PIECE)
        .take_while(|piece| is_zero(piece))
        .count();
    let rest = bytes.get(zeros * PIECE..)?;
    Some(zeros * PIECE + rest.iter().position(|&byte| byte != 0)?)
}

const PIECE: usize = 1 << 10;

/// Puts the CRC of a sector's first 508 bytes into its last four.
pub(crate) fn seal(sector: &mut Sector) {
    let crc = crc32fast::hash(&sector[..SECTOR - 4]);
    sector[SECTOR - 4..].copy_from_slice(&crc.to_le_bytes());
}

/// Whether a sector is as [`seal`] left it.
fn is_sealed(sector: &Sector) -> bool {
    crc32fast::hash(&sector[..SECTOR - 4]).to_le_bytes() == sector[SECTOR - 4..]
}

/// The fields of a sealed sector behind its magic and version. `Ok(None)`: not one
/// of these. `Err`: one of this version, newer than any that is known.
pub(crate) fn fields<'a>(sector: &'a Sector, magic: &[u8; 8]) -> Result<Option<Get<'a>>, u32> {
    if !is_sealed(sector) || !sector.starts_with(magic) {
        return Ok(None);
    }
    let mut get = Get::new(&sector[magic.len()..]);
    let version = get.u32();
    match version > crate::format::VERSION {
        true => Err(version),
        false => Ok(Some(get)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_is_not_zero_is_found() {
        for len in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7] {
            let mut bytes = vec![0; len];
            assert_eq!(first_nonzero(&bytes), None);
            for at in (0..len).rev() {
                bytes[at] = 1;
                assert_eq!(first_nonzero(&bytes), Some(at));
            }
        }
    }
}
