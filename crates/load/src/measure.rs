//! What the system reports about a process, and about its own memory for connections (proc(5)).

use std::fs;
use std::ops::Range;

use rustix::param::{clock_ticks_per_second, page_size};

use crate::error::{Blame, Result};

/// A process that is measured.
#[derive(Clone, Copy)]
pub(super) struct Process(u32);

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    /// Time on a core, in user space and in the kernel, in seconds.
    pub(super) cpu: f64,
    /// Bytes that the kernel wrote to a disk for it, if we may know.
    pub(super) written: Option<u64>,
}

impl Used {
    /// What has been used since `earlier`.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu - earlier.cpu,
            written: self.written.zip(earlier.written).map(|(now, then)| now.saturating_sub(then)),
        }
    }
}

impl Process {
    /// The process with this number.
    pub(super) fn of(pid: u32) -> Self {
        Self(pid)
    }

    /// What it has used.
    pub(super) fn used(self) -> Result<Used> {
        let cpu = cpu_ticks(&self.read("stat")?).blame_generator("/proc/PID/stat has another form than in proc(5)")?;
        // Only the owner of a process may read this; for others the figure is left out.
        let written = self.read("io").ok().and_then(|io| field(&io, "write_bytes:"));
        Ok(Used { cpu: cpu as f64 / clock_ticks_per_second() as f64, written })
    }

    /// Bytes of its own memory that are in RAM: what user space has allocated and touched.
    pub(super) fn memory(self) -> Result<u64> {
        let kib = field(&self.read("status")?, "RssAnon:");
        Ok(kib.blame_generator("/proc/PID/status has no RssAnon")? * 1024)
    }

    fn read(self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.0);
        fs::read_to_string(&path).blame_generator(format_args!("cannot read {path} (does the process still run?)"))
    }
}

/// A server with a process for each connection, as PostgreSQL is: its first process.
#[derive(Clone, Copy)]
pub(super) struct Server(u32);

impl Server {
    /// The server whose first process has this number.
    pub(super) fn of(pid: u32) -> Self {
        Self(pid)
    }

    /// CPU-seconds of its processes so far, also of those that have ended.
    pub(super) fn cpu(self) -> Result<f64> {
        let first = Process(self.0).read("stat")?;
        let form = "/proc/PID/stat has another form than in proc(5)";
        let mut ticks = ticks(&first, 11..15).blame_generator(form)?;
        let entries = fs::read_dir("/proc").blame_generator("cannot list /proc")?;
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        // One that ends meanwhile is counted by the first process the next time.
        for stat in pids.filter_map(|pid| Process(pid).read("stat").ok()) {
            if numbers(&stat, 1..2).is_some_and(|parent| parent == [u64::from(self.0)]) {
                ticks += self::ticks(&stat, 11..13).blame_generator(form)?;
            }
        }
        Ok(ticks as f64 / clock_ticks_per_second() as f64)
    }
}

/// Bytes that the kernel has for TCP's buffers and for all of its small objects, sockets among them. Everything on
/// the machine counts, also the other ends of connections from this machine to itself.
pub(super) fn kernel_memory() -> Result<u64> {
    let sockets = fs::read_to_string("/proc/net/sockstat").blame_generator("cannot read /proc/net/sockstat")?;
    let tcp = sockets.lines().find(|line| line.starts_with("TCP:")).and_then(|line| field(line, "mem"));
    let memory = fs::read_to_string("/proc/meminfo").blame_generator("cannot read /proc/meminfo")?;
    let slab = field(&memory, "Slab:").blame_generator("/proc/meminfo has no Slab")?;
    Ok(tcp.blame_generator("/proc/net/sockstat has no memory of TCP")? * page_size() as u64 + slab * 1024)
}

/// How long the calling thread has waited for a core, in nanoseconds; 0 where the kernel does not count it.
pub(super) fn thread_waited() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok();
    // Kernels without CONFIG_SCHEDSTATS do not have the file.
    text.and_then(|text| text.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

/// The number after `name`.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut words = text.split_whitespace();
    words.find(|word| *word == name)?;
    words.next()?.parse().ok()
}

/// utime and stime, fields 14 and 15.
fn cpu_ticks(stat: &str) -> Option<u64> {
    ticks(stat, 11..13)
}

/// The sum of fields: 11 and 12 are utime and stime, 13 and 14 the same of children that have ended.
fn ticks(stat: &str, places: Range<usize>) -> Option<u64> {
    numbers(stat, places).map(|ticks| ticks.iter().sum())
}

/// Fields after the name, which is in parentheses and may hold anything. The first of them is the state.
fn numbers(stat: &str, places: Range<usize>) -> Option<Vec<u64>> {
    let (_, after) = stat.rsplit_once(')')?;
    let length = places.len();
    let fields = after.split_whitespace().skip(places.start).take(length);
    let numbers: Vec<_> = fields.map_while(|field| field.parse().ok()).collect();
    (numbers.len() == length).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_found_after_a_name_with_spaces_and_parentheses() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 5 6 20 0 1 0 7 8 9";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("7 (a) S 1"), None);
    }

    #[test]
    fn a_server_has_the_time_of_its_children() {
        let own = Server::of(std::process::id());
        let mut child = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let before = own.cpu().unwrap();
        while own.cpu().unwrap() <= before {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(ticks("7 (a) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 5 6 20", 11..15), Some(311));
    }

    #[test]
    fn fields_are_found_by_their_names() {
        assert_eq!(field("Rss:  1 kB\nRssAnon:\t  20480 kB\n", "RssAnon:"), Some(20_480));
        assert_eq!(field("TCP: inuse 4 orphan 0 tw 0 alloc 4 mem 147", "mem"), Some(147));
        assert_eq!(field("TCP: inuse", "mem"), None);
    }

    #[test]
    fn this_process_and_this_machine_can_be_measured() {
        let own = Process::of(std::process::id());
        assert!(own.memory().unwrap() > 1 << 16);
        assert!(own.used().unwrap().since(Used::default()).cpu >= 0.0);
        assert!(kernel_memory().unwrap() > 1 << 20);
        assert!(Process::of(u32::MAX).memory().is_err());
    }
}
