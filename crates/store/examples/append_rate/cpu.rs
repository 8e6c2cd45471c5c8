//! The CPU time that processes have used, out of `/proc`.

use std::fs;

/// The system's clock tick, which `/proc` counts in.
const TICKS_A_SECOND: f64 = 100.0;

/// Seconds of this process.
pub(crate) fn own() -> f64 {
    seconds(std::process::id(), 11..13)
}

/// Seconds of a server, its processes, and those that have ended.
pub(crate) fn of_server(pid: u32) -> f64 {
    let all = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let children = all.filter(|child| fields(*child).is_some_and(|fields| fields[1] == pid.to_string()));
    seconds(pid, 11..15) + children.map(|child| seconds(child, 11..13)).sum::<f64>()
}

fn seconds(pid: u32, places: std::ops::Range<usize>) -> f64 {
    let Some(fields) = fields(pid) else { return 0.0 };
    fields[places].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / TICKS_A_SECOND
}

/// What follows the name: the state, the parent and so on.
fn fields(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.split_whitespace().map(str::to_owned).collect())
}
