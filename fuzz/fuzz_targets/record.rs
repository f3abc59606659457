#![no_main]
//! One record, of a nonce of the input's choice.

use afterimage_engine::format::{Parsed, parse_record};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((nonce, rest)) = data.split_first_chunk::<8>() else {
        return;
    };
    let nonce = u64::from_le_bytes(*nonce);
    let mut bytes = rest.to_vec();
    for repaired in [false, true] {
        if repaired && bytes.len() >= 44 {
            repair(&mut bytes, nonce);
        }
        let available = bytes.len() as u64;
        match parse_record(&bytes, available, nonce) {
            Parsed::Record { header, .. } => assert!(header.frame_len() <= bytes.len()),
            Parsed::Need(n) => assert!(n as u64 <= available.max(40)),
            Parsed::Bad => {}
        }
    }
});

/// Right checksums for what the header says.
fn repair(bytes: &mut [u8], nonce: u64) {
    bytes[5] = 0;
    let crc = |parts: [&[u8]; 2]| {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&nonce.to_le_bytes());
        parts.into_iter().for_each(|part| crc.update(part));
        crc.finalize()
    };
    let header = crc([&bytes[..6], &bytes[8..40]]) as u16;
    bytes[6..8].copy_from_slice(&header.to_le_bytes());
    let len = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    let end = len.next_multiple_of(8);
    if (44..=bytes.len()).contains(&end) {
        let whole = crc([&bytes[..end - 4], &[]]);
        bytes[end - 4..end].copy_from_slice(&whole.to_le_bytes());
    }
}
