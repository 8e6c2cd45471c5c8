//! The process, under the names that all programs use for it. What the system does not show has no value.

use std::fmt;
use std::fs;

use doorbell_protocol::time::UnixMs;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::writer::Writer;

/// Reads `/proc/self` at each scrape.
#[derive(Debug)]
pub(super) struct Process {
    /// By the wall clock, once: a clock that is set later is no restart.
    pub(super) started: UnixMs,
}

/// What `/proc/self/stat` has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    threads: u64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> std::result::Result<(), fmt::Error> {
        let mut to = Writer(encoder);
        let text = fs::read_to_string("/proc/self/stat").ok();
        let stat = text.and_then(|text| Stat::parse(&text, clock_ticks_per_second(), page_size() as u64));
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
        // One of them is the folder that is being read.
        let open = fs::read_dir("/proc/self/fd").ok().map(|files| files.count().saturating_sub(1) as u64);
        to.gauge("process_open_fds", "Open files; each connection is one. Worry near process_max_fds.", open)?;
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
