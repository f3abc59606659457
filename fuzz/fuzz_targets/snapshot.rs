#![no_main]
//! A snapshot: its header is made right for half of the inputs.

use afterimage_engine::format::decode_membership;
use afterimage_fuzz::{directory, exercise, head};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((mode, bytes)) = data.split_first() else {
        return;
    };
    let _ = decode_membership(bytes);
    let mut bytes = bytes.to_vec();
    if mode % 2 == 0 {
        head(&mut bytes, b"AFTIMSNP");
    }
    let disk = directory();
    disk.put("/log/snapshot", bytes);
    exercise(&disk);
});
