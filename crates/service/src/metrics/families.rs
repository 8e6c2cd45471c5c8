//! The families of the service. Each help text says when to worry, for those who read no handbook.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use doorbell_protocol::receipt::Outcome;
use doorbell_store::{BATCH_WRITES, COMMIT_MICROS, Distribution, Figures};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::Sources;
use super::writer::{Result, Writer};
use crate::counts::{ACKNOWLEDGED_MS, AgentDoor, CLASSES, Door, Handshake};
use crate::status::CellStatus;

/// Reads everything at each scrape.
#[derive(Debug)]
pub(super) struct Families {
    pub(super) sources: Sources,
    pub(super) is_ready: Arc<AtomicBool>,
}

impl Collector for Families {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> std::result::Result<(), fmt::Error> {
        let (mut to, figures) = (Writer(encoder), self.sources.store.figures());
        self.messages(&figures, &mut to)?;
        self.requests(&mut to)?;
        self.connections(&mut to)?;
        self.store(&figures, &mut to)?;
        self.cells(&mut to)?;
        if self.sources.config.get().has_disk() {
            self.disk(&figures, &mut to)?;
        }
        self.health(&mut to)
    }
}

impl Families {
    fn messages(&self, figures: &Figures, to: &mut Writer<'_>) -> Result {
        let counts = &self.sources.counts;
        to.counter(
            "doorbell_messages_accepted",
            "Messages that were accepted. Worry when it stands still while senders send.",
            counts.accepted.get(),
        )?;
        to.counter(
            "doorbell_messages_offered",
            "Messages that were sent to an agent, each repetition too. Worry when it is far more than those delivered: \
             agents do not acknowledge.",
            counts.offered.get(),
        )?;
        let ended = Outcome::ALL
            .map(|outcome| (outcome.as_str(), figures.contents.ended.of(outcome) + counts.transients_ended(outcome)));
        to.counters(
            "doorbell_messages_ended",
            "Messages that ended, by how. Worry about undecryptable (a sender encrypts wrongly), and when expired \
             is most of it (agents do not come back).",
            "outcome",
            ended.into_iter().chain([("replaced", figures.contents.ended.replaced)]),
        )?;
        let (buckets, rest, sum_ms) = counts.acknowledged.read();
        to.histogram(
            "doorbell_message_acknowledgement_seconds",
            "From the acceptance of a message to its acknowledgement, by the clock of the service. Up to 30 s the agent \
             was connected; worry when many of those take more than 2.5 s. More than 30 s: it came back later.",
            1_000.0,
            ACKNOWLEDGED_MS.into_iter().zip(buckets),
            rest,
            sum_ms,
        )?;
        to.gauges(
            "doorbell_agents_connected",
            "Streams to agents that are open, by the way in which they receive. Worry when it drops at once.",
            "door",
            AgentDoor::ALL.map(|door| (door.as_str(), counts.connected(door).get())),
        )?;
        to.counter(
            "doorbell_wakes",
            "Reports to desktops that messages wait for a closed browser. Worry when it rises without messages.",
            counts.wakes.get(),
        )
    }

    fn requests(&self, to: &mut Writer<'_>) -> Result {
        let counts = &self.sources.counts;
        let answers = Door::ALL.into_iter().flat_map(|door| {
            CLASSES.into_iter().zip(counts.answers(door)).map(move |(class, count)| ([door.as_str(), class], count))
        });
        to.counters_by_two(
            "doorbell_requests",
            "Requests that were answered, by what they were for and the class of the status; registrations over a \
             WebSocket count for firefox. Worry about any 5xx.",
            ["door", "code"],
            answers,
        )?;
        let numbers: Vec<_> = counts.refusals().map(|(number, count)| (number.to_string(), count)).collect();
        to.counters(
            "doorbell_requests_refused",
            "Requests that were refused, by errno (docs/errors.md). Worry about 201 (overloaded), 1009 (rates), 1013 \
             (the clock of the service) and 1014 (no room).",
            "errno",
            numbers.iter().map(|(number, count)| (number.as_str(), *count)),
        )
    }

    fn connections(&self, to: &mut Writer<'_>) -> Result {
        let Sources { counts, config, clock, certificate, .. } = &self.sources;
        to.gauge(
            "doorbell_connections_open",
            "Connections that are open on the public addresses. Worry near the limit.",
            Some(counts.connections.get()),
        )?;
        to.gauge(
            "doorbell_connections_limit",
            "How many connections may be open (connections_max).",
            Some(config.get().limits.connections_max as u64),
        )?;
        to.counter(
            "doorbell_connections_accepted",
            "Connections that were accepted. Worry when it rises much faster than the requests.",
            counts.entered.get(),
        )?;
        to.counters(
            "doorbell_connections_refused",
            "Connections that the service closed: their source had too many (source), or they were idle without a \
             subscription and made room for others (room). Worry when it rises: an attack, or limits that are too low.",
            "reason",
            [("source", counts.refused_of_source.get()), ("room", counts.closed_for_room.get())],
        )?;
        to.counters(
            "doorbell_tls_handshakes",
            "TLS handshakes, by how they ended. Scans of the internet fail all the time; worry when most fail: the \
             certificate is not accepted.",
            "result",
            Handshake::ALL.map(|how| (how.as_str(), counts.handshakes(how))),
        )?;
        let until = certificate.as_ref().and_then(|resolver| resolver.valid_until());
        let left = until.map(|until| super::seconds(until) - super::seconds(clock.plausible_wall()));
        to.gauge(
            "doorbell_certificate_remaining_seconds",
            "Time to the end of the certificate that is presented; negative after it. No value: there is none, or TLS \
             does not end here. Worry below a week, or below a fifth of its life.",
            left,
        )?;
        let attempts = certificate.as_ref().map(|resolver| resolver.attempts());
        let count = |of: fn(&crate::accept::tls::Attempts) -> u64| attempts.map_or(0, of);
        to.counters(
            "doorbell_certificate_attempts",
            "Attempts to get another certificate: from an authority by ACME, from files that changed, or of its own. \
             Worry when one fails: the log has the reason.",
            "outcome",
            [("ok", count(|all| all.succeeded.get())), ("failed", count(|all| all.failed.get()))],
        )
    }

    fn store(&self, figures: &Figures, to: &mut Writer<'_>) -> Result {
        let (contents, commits, limits) = (&figures.contents, &figures.commits, self.sources.config.get().limits);
        let bounded = [
            ("agents", contents.agents, limits.agents_max),
            ("subscriptions", contents.subscriptions, limits.subscriptions_max),
            ("receipt_subscriptions", contents.receipt_subscriptions, limits.receipt_subscriptions_max),
        ];
        to.gauge(
            "doorbell_store_messages",
            "Messages that are stored and wait for their agents. Worry when it rises for days.",
            Some(contents.messages),
        )?;
        to.gauge(
            "doorbell_store_receipts",
            "Receipts that no application server has fetched. Worry when it rises for days.",
            Some(contents.receipts),
        )?;
        to.gauge(
            "doorbell_store_bytes",
            "What messages and receipts take in the store. Worry near the limit: then new messages get 429.",
            Some(contents.bytes),
        )?;
        to.gauge(
            "doorbell_store_bytes_limit",
            "What messages and receipts may take (stored_bytes_max).",
            Some(limits.stored_bytes_max),
        )?;
        to.gauges(
            "doorbell_store_entries",
            "Agents, subscriptions and receipt subscriptions that are stored. Worry near the limit: then new ones get 429.",
            "kind",
            bounded.map(|(kind, count, _)| (kind, count)),
        )?;
        to.gauges(
            "doorbell_store_entries_limit",
            "How many agents, subscriptions and receipt subscriptions may be stored.",
            "kind",
            bounded.map(|(kind, _, max)| (kind, u64::from(max))),
        )?;
        to.gauge(
            "doorbell_store_queued_writes",
            "Writes that wait for a commit. Worry in the thousands: at 16384 senders get 429.",
            Some(figures.queued_writes),
        )?;
        distribution(
            to,
            "doorbell_store_commit_seconds",
            "How long a commit took, with its sync to the disk. Worry above 0.1 s: the disk is slow or busy.",
            1_000_000.0,
            &COMMIT_MICROS,
            &commits.duration_micros,
        )?;
        distribution(
            to,
            "doorbell_store_commit_writes",
            "How many writes shared a commit. Worry when most are large and commits are slow.",
            1.0,
            &BATCH_WRITES,
            &commits.batch_writes,
        )?;
        to.counter(
            "doorbell_store_rollbacks",
            "Batches of writes that were rolled back: the disk is full or fails, or the database was away. Worry at the first.",
            commits.rolled_back,
        )?;
        let resolved = figures.contents.resolved;
        to.counters(
            "doorbell_store_resolved_batches",
            "Batches of writes whose answer from the database was lost, by what it showed later. Worry when it rises \
             steadily: the connection to the database is bad.",
            "outcome",
            [("committed", resolved.happened), ("not_committed", resolved.not_happened)],
        )?;
        let counts = &self.sources.counts;
        to.counters(
            "doorbell_store_damaged_records",
            "Reads that found a damaged record. Worry at the first: check the disk.",
            "record",
            [("message", counts.damaged_messages.get()), ("key", counts.damaged_keys.get())],
        )
    }

    fn cells(&self, to: &mut Writer<'_>) -> Result {
        let cells = CellStatus::all(&self.sources.store);
        let numbers: Vec<_> = cells.iter().map(|status| status.cell.to_string()).collect();
        let each = |of: fn(&CellStatus) -> u64| numbers.iter().map(String::as_str).zip(cells.iter().map(of));
        to.gauges(
            "doorbell_store_cell_messages",
            "Messages that are stored in each cell, numbered from 1. Worry when one has far more than the others of its \
             age.",
            "cell",
            each(|cell| cell.messages),
        )?;
        to.gauges(
            "doorbell_store_cell_bytes",
            "What messages and receipts take in each cell. Worry when one grows and the others do not.",
            "cell",
            each(|cell| cell.bytes),
        )?;
        to.counters(
            "doorbell_store_cell_commits",
            "Commits of each cell. Worry when one stands still while its agents get 503.",
            "cell",
            each(|cell| cell.commits),
        )
    }

    fn disk(&self, figures: &Figures, to: &mut Writer<'_>) -> Result {
        let config = self.sources.config.get();
        to.gauge(
            "doorbell_disk_available_bytes",
            "What is free for the store, on its disk and in its files. Worry below twice the floor: then new agents get 429.",
            figures.contents.disk_available_bytes,
        )?;
        to.gauge(
            "doorbell_disk_floor_bytes",
            "What stays free on the disk (disk_floor_bytes): below it new messages get 429.",
            Some(config.limits.disk_floor_bytes),
        )?;
        to.gauge(
            "doorbell_disk_reserve_held_bytes",
            "The reserve on the disk. Worry at 0 with another size configured: the disk is full.",
            Some(figures.contents.reserve_bytes),
        )?;
        to.gauge(
            "doorbell_disk_reserve_configured_bytes",
            "The size of the reserve that is configured (disk_reserve_bytes).",
            Some(config.limits.disk_reserve_bytes),
        )
    }

    fn health(&self, to: &mut Writer<'_>) -> Result {
        let clock = &self.sources.clock;
        to.gauge(
            "doorbell_ready",
            "1 when the service can do its work, as /readyz says, 0 otherwise. Worry at 0.",
            Some(u64::from(self.is_ready.load(Ordering::Relaxed))),
        )?;
        to.gauge(
            "doorbell_clock_doubted",
            "1 while the wall clock is plainly wrong, and for an hour after it jumped: senders who sign may get 429. \
             Worry when it stays 1: set the clock, and use NTP.",
            Some(u64::from(clock.doubts_wall())),
        )?;
        to.counter(
            "doorbell_clock_jumps",
            "Jumps of the wall clock by more than 5 s. Worry when it rises: NTP does not work.",
            clock.jumps(),
        )?;
        let engine = [("engine", self.sources.storage.engine)];
        to.info("doorbell_store", "What stores the messages: sqlite or postgresql.", &engine)?;
        to.info("doorbell_build", "The version of this program.", &[("version", env!("CARGO_PKG_VERSION"))])
    }
}

fn distribution<const BUCKETS: usize>(
    to: &mut Writer<'_>,
    name: &str,
    help: &str,
    scale: f64,
    bounds: &[u64; BUCKETS],
    values: &Distribution<BUCKETS>,
) -> Result {
    let rest = values.count - values.buckets.iter().sum::<u64>();
    to.histogram(name, help, scale, bounds.iter().copied().zip(values.buckets), rest, values.sum)
}
