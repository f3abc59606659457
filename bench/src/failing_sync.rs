//! A sync that fails, once, for all who call libc's: these stand before libc's own.
//!
//! What a kernel does then is done here, too: the pages that were to be synced are
//! clean, and not on the disk. [`Lost`] has them; whoever plays the machine that
//! starts again takes back those that nobody wrote since.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::log::Result;

const PAGE: usize = 4 << 10;

/// `None`: nothing is armed, and nothing is looked at.
static WATCH: Mutex<Option<Watch>> = Mutex::new(None);

struct Watch {
    /// Who syncs a file with these bytes fails.
    marker: Vec<u8>,
    /// Where the lost pages go; `None`: no sync fails.
    lost: Option<PathBuf>,
    fired: bool,
    /// Of files that hold the marker.
    syncs: u64,
    /// Each file as it was synced last.
    durable: BTreeMap<PathBuf, Vec<u8>>,
}

/// From now on syncs are watched; the first one of a file that holds `marker`
/// fails, if there is a file for the pages that it loses.
pub fn arm(marker: &[u8], lost: Option<&Path>) {
    *WATCH.lock().unwrap_or_else(PoisonError::into_inner) = Some(Watch {
        marker: marker.to_vec(),
        lost: lost.map(Path::to_owned),
        fired: false,
        syncs: 0,
        durable: BTreeMap::new(),
    });
}

/// Syncs since then, failed or not, of files that hold the marker.
pub fn syncs() -> u64 {
    let watch = WATCH.lock().unwrap_or_else(PoisonError::into_inner);
    watch.as_ref().map_or(0, |watch| watch.syncs)
}

/// Whether this sync fails.
fn fails(fd: c_int) -> bool {
    let mut watch = WATCH.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(watch) = watch.as_mut() else {
        return false;
    };
    let Ok(path) = fs::read_link(format!("/proc/self/fd/{fd}")) else {
        return false;
    };
    let Ok(now) = fs::read(&path) else {
        return false; // a directory
    };
    let is_marked = holds(&now, &watch.marker);
    watch.syncs += u64::from(is_marked);
    let Some(to) = watch.lost.as_ref().filter(|_| is_marked && !watch.fired) else {
        watch.durable.insert(path, now);
        return false;
    };
    watch.fired = true;
    let before = watch.durable.remove(&path).unwrap_or_default();
    let lost = Lost::between(path, &before, &now);
    lost.write(to).expect("the lost pages are noted");
    true
}

/// Whether some page holds the marker. Files are long, and mostly zeros.
fn holds(bytes: &[u8], marker: &[u8]) -> bool {
    let pages = bytes.chunks(PAGE);
    let mut pages = pages.filter(|page| **page != [0; PAGE][..page.len()]);
    pages.any(|page| page.windows(marker.len()).any(|w| w == marker))
}

macro_rules! stand_before {
    ($name:ident, $number:ident) => {
        #[unsafe(no_mangle)]
        extern "C" fn $name(fd: c_int) -> c_int {
            // SAFETY: as libc does it; `errno` is this thread's own.
            unsafe {
                if fails(fd) {
                    *libc::__errno_location() = libc::EIO;
                    return -1;
                }
                libc::syscall(libc::$number, fd) as c_int
            }
        }
    };
}

stand_before!(fsync, SYS_fsync);
stand_before!(fdatasync, SYS_fdatasync);

/// Pages of one file that a failed sync left clean: what the disk has, and what
/// the cache had.
pub struct Lost {
    path: PathBuf,
    pages: Vec<(usize, Vec<u8>, Vec<u8>)>,
}

impl Lost {
    fn between(path: PathBuf, before: &[u8], now: &[u8]) -> Self {
        let page_of = |bytes: &[u8], at: usize| {
            let end = bytes.len().min(at + PAGE);
            let mut page = bytes.get(at..end).unwrap_or_default().to_vec();
            page.resize(PAGE, 0);
            page
        };
        let pages = (0..now.len()).step_by(PAGE);
        let pages = pages.map(|at| (at, page_of(before, at), page_of(now, at)));
        let pages = pages.filter(|(_, before, now)| before != now);
        Lost {
            path,
            pages: pages.collect(),
        }
    }

    fn write(&self, to: &Path) -> Result<()> {
        let mut file = fs::File::create(to)?;
        writeln!(file, "{}", self.path.display())?;
        for (at, before, now) in &self.pages {
            file.write_all(&(*at as u64).to_le_bytes())?;
            file.write_all(before)?;
            file.write_all(now)?;
        }
        Ok(())
    }

    pub fn read(from: &Path) -> Result<Self> {
        let mut bytes = Vec::new();
        fs::File::open(from)?.read_to_end(&mut bytes)?;
        let end = bytes.iter().position(|&b| b == b'\n').ok_or("no path")?;
        let path = str::from_utf8(&bytes[..end])?.into();
        let pages = bytes[end + 1..].chunks_exact(8 + 2 * PAGE).map(|page| {
            let at = page[..8]
                .iter()
                .rev()
                .fold(0, |n, &b| n << 8 | usize::from(b));
            (at, page[8..8 + PAGE].to_vec(), page[8 + PAGE..].to_vec())
        });
        Ok(Lost {
            path,
            pages: pages.collect(),
        })
    }

    /// The machine starts again: pages that nobody wrote since are what the disk
    /// has. How many there were.
    pub fn take_back(&self) -> Result<usize> {
        let mut bytes = fs::read(&self.path)?;
        let mut taken = 0;
        for (at, before, now) in &self.pages {
            let len = PAGE.min(bytes.len().saturating_sub(*at));
            if bytes[*at..*at + len] == now[..len] {
                bytes[*at..*at + len].copy_from_slice(&before[..len]);
                taken += 1;
            }
        }
        fs::write(&self.path, bytes)?;
        Ok(taken)
    }
}
