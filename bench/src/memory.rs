//! How much memory something took, as the kernel counts it (`/proc/self`).

use crate::log::Result;

/// The largest resident set so far, in KiB.
pub fn peak_kib() -> Result<u64> {
    field("VmHWM:")
}

/// What `work` added to the resident set at the most, in KiB.
pub fn peak_growth<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, u64)> {
    // "5": forget the peak.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let before = field("VmRSS:")?;
    let value = work()?;
    Ok((value, peak_kib()?.saturating_sub(before)))
}

fn field(name: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or("the kernel does not say")?.parse()?)
}

/// Takes so much memory, touches all of it and gives it back. A virtual machine may
/// return memory to its host once it was free for a second or two (free page
/// reporting), and who is given that next pays for it: of 2 GiB of page cache, 3 s.
pub fn touch(mib: u64) -> Result<()> {
    let bytes = usize::try_from(mib << 20)?;
    let mut touched: Vec<u8> = Vec::new();
    touched.try_reserve_exact(bytes)?;
    touched.resize(bytes, 1);
    drop(std::hint::black_box(touched));
    Ok(())
}
