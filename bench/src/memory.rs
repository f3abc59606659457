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
