//! A snapshot of 256 MiB takes the place of one as large.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use afterimage_engine::store::SnapshotSource;

use crate::log::{Log, Payloads, Result};
use crate::ours::Ours;
use crate::raw_segments::write_back;
use crate::rounds::{interleave, print, timed};
use crate::settings::Settings;

const MIB: usize = 256;
/// Written at once, as our chunks are.
const PIECE: usize = 256 << 10;
/// Between two calls for the disk to begin.
const AHEAD: u64 = 8 << 20;
/// What was replaced is freed meanwhile, and nobody pays for another's.
const PAUSE: Duration = Duration::from_millis(300);

pub fn run(settings: &Settings) -> Result<()> {
    let names = [
        "raw, syncing as it goes",
        "raw",
        "raw, as it goes, name new",
        "ours",
    ];
    let dir = tempfile::tempdir_in(&settings.dir)?;
    let ours = dir.path().join("ours");
    std::fs::create_dir(&ours)?;
    let ours = Ours::open(&ours)?;
    let data = Payloads::new(PIECE).get(1);
    let entry = Payloads::new(16).batch(1, 1);
    let rows = interleave(&names, 2, settings.rounds.min(11), |who| {
        std::thread::sleep(PAUSE);
        let raw = |name, ahead| timed(|| write(&dir.path().join(name), &data, ahead));
        match who {
            0 => raw("ahead", true),
            1 => raw("plain", false),
            2 => {
                let fresh = dir.path().join("fresh");
                let took = timed(|| write(&fresh, &data, true))?;
                std::fs::remove_file(fresh)?;
                Ok(took)
            }
            _ => {
                ours.append_durable(0, &entry)?;
                let source = Source {
                    piece: data.to_vec(),
                    left: MIB << 20,
                };
                timed(|| ours.save_snapshot(Box::new(source)))
            }
        }
    })?;
    let title = format!("snapshot of {MIB} MiB over an existing one");
    print(&title, "MiB/s", MIB as f64, &rows);
    Ok(())
}

/// A temporary file, synced, renamed over what is there; the directory synced.
fn write(path: &Path, piece: &[u8], ahead: bool) -> Result<()> {
    let tmp = path.with_extension("tmp");
    let file = File::create(&tmp)?;
    let mut begun = 0;
    for at in (0..(MIB as u64) << 20).step_by(PIECE) {
        file.write_all_at(piece, at)?;
        let end = at + PIECE as u64;
        if ahead && end >= begun + AHEAD {
            write_back(&file, begun, end - begun)?;
            begun = end;
        }
    }
    file.sync_all()?;
    std::fs::rename(&tmp, path)?;
    File::open(path.parent().ok_or("no directory")?)?.sync_all()?;
    Ok(())
}

struct Source {
    piece: Vec<u8>,
    left: usize,
}

impl SnapshotSource for Source {
    fn read(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        let n = max.min(self.left).min(self.piece.len());
        out.extend_from_slice(&self.piece[..n]);
        self.left -= n;
        self.left > 0
    }
}
