//! CPU and memory of a process, as Linux counts them (proc(5)).

use std::fs;

use crate::Outcome;

/// Clock ticks per second in `/proc/<pid>/stat`: 100 on every Linux that Headwater is built for.
const TICK_US: u64 = 10_000;

/// User and system time of all threads of a process so far, microseconds.
pub fn cpu_us(pid: u32) -> Outcome<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the name in brackets and may hold anything; the rest has no brackets.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // utime and stime are fields 14 and 15; the third is the first here.
    let (Some(user), Some(system)) = (fields.get(11), fields.get(12)) else {
        return Err(format!("/proc/{pid}/stat is not as expected: {stat}").into());
    };
    Ok((user.parse::<u64>()? + system.parse::<u64>()?) * TICK_US)
}

/// The most memory that was resident at once, and what is now; megabytes.
pub fn resident_mb(pid: u32) -> Outcome<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> Outcome<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no memory in /proc")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
    };
    Ok((field("VmHWM:")?, field("VmRSS:")?))
}
