#![no_main]
//! The two slots of the hard state: the first is made right for half of the inputs.

use afterimage_fuzz::{Memory, exercise, head};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((mode, bytes)) = data.split_first() else {
        return;
    };
    let mut bytes = bytes.to_vec();
    if mode % 2 == 0 {
        head(&mut bytes, b"AFTIM-HS");
    }
    let disk = Memory::default();
    disk.put("/log/hardstate", bytes);
    exercise(&disk);
});
