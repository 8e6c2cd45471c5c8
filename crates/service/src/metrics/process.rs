//! The process, under the names that all programs use for it. What the system does not show has no value.

use std::fmt;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use doorbell_protocol::time::UnixMs;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::writer::Writer;
use crate::locked::Locked;

/// How long a scrape waits for the system.
const READ_MAX: Duration = Duration::from_secs(1);

/// What was seen of the process.
#[derive(Debug)]
pub(super) struct Process {
    /// By the wall clock, once: a clock that is set later is no restart.
    started: UnixMs,
    seen: Arc<Locked<Seen>>,
}

/// Looks at the process: one look at a time, on a thread of its own, because a system with a disk that hangs may let it
/// wait.
#[derive(Debug, Default)]
pub(super) struct Looker {
    seen: Arc<Locked<Seen>>,
    pending: Mutex<Option<JoinHandle<Seen>>>,
}

/// What `/proc/self` has.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    stat: Option<Stat>,
    open_files: Option<u64>,
}

/// What `/proc/self/stat` has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    threads: u64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

impl Looker {
    /// The values of the process, as the looks find them.
    pub(super) fn process(&self, started: UnixMs) -> Process {
        Process { started, seen: self.seen.clone() }
    }

    /// Looks at the process. If the system does not answer in time, the values of the last look stay.
    pub(super) async fn look(&self) {
        let mut pending = self.pending.lock().await;
        // It stays there while it is waited for: a client that leaves must not cause another one.
        let looking = pending.get_or_insert_with(|| spawn_blocking(Seen::now));
        if let Ok(looked) = timeout(READ_MAX, looking).await {
            *pending = None;
            // It fails only when the runtime ends.
            *self.seen.lock() = looked.unwrap_or_default();
        }
    }
}

impl Seen {
    fn now() -> Self {
        let text = fs::read_to_string("/proc/self/stat").ok();
        let stat = text.and_then(|text| Stat::parse(&text, clock_ticks_per_second(), page_size() as u64));
        // One of them is the folder that is being read.
        let open_files = fs::read_dir("/proc/self/fd").ok().map(|files| files.count().saturating_sub(1) as u64);
        Self { stat, open_files }
    }
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> std::result::Result<(), fmt::Error> {
        let (mut to, Seen { stat, open_files }) = (Writer(encoder), *self.seen.lock());
        to.gauge(
            "process_start_time_seconds",
            "When the process started, since 1970. Worry when it changes often: the service restarts.",
            Some(super::seconds(self.started)),
        )?;
        to.counter(
            "process_cpu_seconds",
            "CPU time of the process. Worry when it takes all cores.",
            stat.map_or(0.0, |stat| stat.cpu_seconds),
        )?;
        to.gauge(
            "process_resident_memory_bytes",
            "Memory that the process holds. Worry when it rises for days with the same number of agents.",
            stat.map(|stat| stat.resident_bytes),
        )?;
        to.gauge(
            "process_virtual_memory_bytes",
            "Address space of the process. No reason to worry.",
            stat.map(|stat| stat.virtual_bytes),
        )?;
        to.gauge("process_threads", "Threads of the process. Worry when it rises.", stat.map(|stat| stat.threads))?;
        to.gauge("process_open_fds", "Open files; each connection is one. Worry near process_max_fds.", open_files)?;
        to.gauge(
            "process_max_fds",
            "How many files may be open (LimitNOFILE). Worry when it is less than connections_max.",
            getrlimit(Resource::Nofile).current,
        )
    }
}

impl Stat {
    /// The fields are counted from the end of the program's name, which may contain spaces and brackets (proc(5)).
    fn parse(text: &str, ticks_per_second: u64, page_size: u64) -> Option<Self> {
        let fields: Vec<_> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        // The first of them is field 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) as f64 / ticks_per_second as f64,
            threads: field(20)?,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page_size,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_moves_no_field() {
        let text = "7 (a) b) S 1 7 7 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 12 0 4242 1048576 3 18446744073709551615";
        let stat = Stat { cpu_seconds: 2.0, threads: 12, virtual_bytes: 1_048_576, resident_bytes: 12_288 };
        assert_eq!(Stat::parse(text, 100, 4096), Some(stat));
        assert_eq!(Stat::parse("", 100, 4096), None);
        assert_eq!(Stat::parse("7 (a) S 1 7", 100, 4096), None);
    }
}
