//! What a power cut does not do: rot, files that vanish or were moved about.

use std::path::Path;

use afterimage_engine::fs::Fs;
use afterimage_sim::disk::SimFs;
use afterimage_sim::rng::SimRng;

/// One to three damages to the files of the log; what they were.
pub fn damage(disk: &SimFs, rng: &mut SimRng) -> Vec<String> {
    let fs = disk.boot();
    let count = rng.between(1, 3);
    let done = (0..count).map(|_| one(disk, &*fs, rng)).collect();
    disk.sync_all();
    done
}

fn one(disk: &SimFs, fs: &dyn Fs, rng: &mut SimRng) -> String {
    let files = disk.cached_files();
    let ours = |name: &&String| name.starts_with("raft/") && !name.ends_with("LOCK");
    let names: Vec<&String> = files.keys().filter(ours).collect();
    if names.is_empty() {
        return "nothing is there".to_owned();
    }
    let name = *rng.pick(&names);
    let len = files[name].len() as u64;
    let path = Path::new(name);
    match rng.below(12) {
        0 => {
            fs.unlink(path).expect("it is there");
            format!("removed {name}")
        }
        1 => {
            let len = rng.between(0, len);
            fs.open(path).and_then(|f| f.set_len(len)).expect("shorter");
            format!("cut {name} at {len}")
        }
        2 => {
            let to = match rng.below(2) {
                0 => "raft/log-00000000000000000003-000000000000004f.seg".to_owned(),
                _ => (*rng.pick(&names)).clone(),
            };
            fs.rename(path, Path::new(&to)).expect("it is there");
            format!("renamed {name} to {to}")
        }
        3..5 => {
            // A whole sector is lost, or shows what stands elsewhere.
            let at = rng.below(len.max(1)) / 512 * 512;
            let with = [0, 0xff, 0x5a][rng.below(3) as usize];
            put(fs, path, at, &[with; 512]);
            format!("overwrote {name} @{at}")
        }
        _ => {
            let at = match rng.below(3) {
                0 => rng.below(512),
                _ => rng.below(len.max(1)),
            };
            let byte = files[name].get(at as usize).copied().unwrap_or(0);
            put(fs, path, at, &[byte ^ (1 << rng.below(8))]);
            format!("flipped a bit of {name} @{at}")
        }
    }
}

fn put(fs: &dyn Fs, path: &Path, at: u64, bytes: &[u8]) {
    let file = fs.open(path).expect("it is there");
    let mut done = 0;
    while done < bytes.len() {
        done += file
            .write_at(&bytes[done..], at + done as u64)
            .expect("there is space");
    }
}
