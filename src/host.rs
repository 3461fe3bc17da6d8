//! What the system says of itself and of this process: memory, disk, signals.
use crate::{Error, Result};
use std::path::Path;

/// Bytes of memory that can be had without ending other programs, where the system says.
pub fn free_memory() -> Option<u64> {
    let available = kibibytes("/proc/meminfo", "MemAvailable:")?;
    // Under `ulimit -v`.
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max address space")?.split_whitespace().next());
    let limit = limit.and_then(|bytes| bytes.parse::<u64>().ok()).unwrap_or(u64::MAX);
    let taken = kibibytes("/proc/self/status", "VmSize:").unwrap_or(0);
    Some(available.min(limit.saturating_sub(taken)))
}

/// Checks that so many bytes of memory are free, where the system says: memory that was promised may still not be there, and
/// a process that takes it ends without a word.
///
/// # Errors
/// `what` takes more; `remedy` ends the sentence.
pub fn check_memory(bytes: u128, what: &str, remedy: &str) -> Result<()> {
    match free_memory().filter(|&free| bytes > free as u128) {
        None => Ok(()),
        Some(free) => Err(Error::failed(format!("{what} take {bytes} bytes of memory, and {free} are free; {remedy}"))),
    }
}

/// What stands behind a word in a file of the system's, in bytes.
fn kibibytes(file: &str, word: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix(word))?;
    Some(kib.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? << 10)
}

/// Bytes that may still be written to the file system of a directory, where it says.
pub fn free_disk(directory: &Path) -> Option<u64> {
    #[cfg(unix)]
    return rustix::fs::statvfs(directory).ok().map(|at| at.f_bavail.saturating_mul(at.f_frsize));
    #[cfg(not(unix))]
    {
        let _ = directory;
        None
    }
}

/// What the processor is called, where the system says.
pub fn processor() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let name = info.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(name.trim_start_matches([' ', '\t', ':']).trim().to_string()).filter(|name| !name.is_empty())
}

/// The signals that this process was started to ignore, as bits from that of signal 1 on; none where the system does not
/// say.
pub fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
