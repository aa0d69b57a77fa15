//! What a process has used, as `/proc` tells it (proc(5)).

use std::fs;

use anyhow::{Context, Result};

/// Seconds of CPU that a process has used, in user and system mode, all its threads together. Counted in ticks, mostly of
/// 10 ms.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("a process that is measured has ended")?;
    // The second field is the program's name in brackets and can hold spaces; user time is field 14, system time 15.
    let (_, fields) = stat.rsplit_once(')').context("a line of /proc/PID/stat")?;
    let ticks: Vec<f64> = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    Ok(ticks.iter().sum::<f64>() / rustix::param::clock_ticks_per_second() as f64)
}

/// MiB of memory that a process holds now, and the most that it ever held.
pub fn memory_mib(pid: u32) -> Result<(f64, f64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("a process that is measured has ended")?;
    let of = |name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").trim().parse::<f64>().map(|kib| kib / 1024.0)
    };
    Ok((of("VmRSS:").context("VmRSS")?, of("VmHWM:").context("VmHWM")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_can_be_read() {
        let own = std::process::id();
        let (now, most) = memory_mib(own).expect("it lives");
        assert!(now > 0.0 && most >= now);
        assert!(cpu_seconds(own).expect("it lives") >= 0.0);
        assert!(cpu_seconds(u32::MAX).is_err());
    }
}
