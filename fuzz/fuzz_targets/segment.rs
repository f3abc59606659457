#![no_main]
//! A segment: its header is made right for half of the inputs.

use afterimage_engine::format::SegmentHeader;
use afterimage_fuzz::{directory, exercise, head};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((mode, bytes)) = data.split_first() else {
        return;
    };
    let mut bytes = bytes.to_vec();
    if mode % 2 == 0 {
        head(&mut bytes, b"AFTIMSEG");
    }
    let header = bytes
        .first_chunk()
        .and_then(|sector| SegmentHeader::decode(sector).ok().flatten());
    let name = match header {
        Some(header) => header.file_name(),
        None => "log-00000000000000000001-0000000000000001.seg".to_owned(),
    };
    let disk = directory();
    disk.put(&format!("/log/{name}"), bytes);
    exercise(&disk);
});
