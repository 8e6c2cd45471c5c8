//! The page of the status: plain HTML with drawings in SVG. It has no script and loads nothing else, so that it also
//! works through a tunnel and as a saved file.

use std::fmt::Write;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::chart::{self, Series};
use super::history::{MINUTES, Minute};
use crate::health::{bytes, rfc3339};
use crate::status::{Condition, Connected, DiskStatus, Status};

const STYLE: &str = include_str!("page.css");
/// The query with which the page loads itself again every minute.
pub(super) const REPEAT: &str = "every=60";

/// A page, and the hash of its style for the policy of the answer (CSP).
pub(super) struct Page {
    pub(super) html: String,
    pub(super) style_hash: String,
}

/// What is connected at one door.
type Count = fn(&Connected) -> u64;

/// The names of the doors.
const DOORS: [(&str, Count); 5] = [
    ("HTTP/2 pushes", |connected| connected.pushes),
    ("Events", |connected| connected.events),
    ("Firefox", |connected| connected.firefox),
    ("Chromium", |connected| connected.chromium),
    ("Wake", |connected| connected.wake),
];

/// The page of a status and of the last hour; if it `repeats`, it loads itself again every minute.
pub(super) fn html(status: &Status, minutes: &[Option<Minute>; MINUTES], repeats: bool) -> Page {
    let mut out = String::with_capacity(32 << 10);
    head(&mut out, status, repeats);
    out.push_str("<ul class=\"conditions\">");
    status.readiness.conditions.iter().for_each(|condition| one_condition(&mut out, condition));
    out.push_str("</ul>");
    last_hour(&mut out, status, minutes);
    facts(&mut out, status);
    out.push_str("</main></body></html>\n");
    let hash = digest::digest(&digest::SHA256, STYLE.as_bytes());
    Page { html: out, style_hash: format!("sha256-{}", STANDARD.encode(hash)) }
}

/// Appends text that needs no escaping.
macro_rules! put {
    ($out:expr, $($part:tt)*) => { write!($out, $($part)*).expect("a String takes any text") };
}

fn head(out: &mut String, status: &Status, repeats: bool) {
    let ready = status.readiness.is_ready;
    let (class, word) = match (ready, status.is_draining) {
        (_, true) => ("bad", "Stopping"),
        (true, _) => ("good", "Ready"),
        (false, _) => ("bad", "Not ready"),
    };
    let origin = escaped(&status.origin);
    put!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{word} – {origin} – Doorbell</title>"
    );
    out.push_str(
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><link rel=\"icon\" href=\"data:,\">",
    );
    if repeats {
        out.push_str("<meta http-equiv=\"refresh\" content=\"60\">");
    }
    put!(
        out,
        "<style>{STYLE}</style></head><body><header><h1>{origin}</h1><p class=\"state {class}\">{word}</p></header><main>"
    );
    let again = if repeats {
        "<a href=\"/status\">Stop loading it every minute</a>".to_owned()
    } else {
        format!("<a href=\"/status\">Load it again</a> · <a href=\"/status?{REPEAT}\">every minute</a>")
    };
    put!(
        out,
        "<p class=\"soft about\">Doorbell {}, running for {}. As of <time datetime=\"{time}\">{}</time>. {again}</p>",
        status.version,
        duration(status.uptime_secs),
        shown_time(&status.time),
        time = status.time,
    );
}

fn one_condition(out: &mut String, condition: &Condition) {
    let (class, word) = if condition.ok { ("good", "ok") } else { ("bad", "FAILED") };
    let (name, message) = (condition.name, escaped(&condition.message));
    put!(out, "<li><strong class=\"{class}\">{word}</strong><span>{name}</span><span>{message}</span>");
    if let Some(hint) = &condition.hint {
        put!(out, "<span class=\"hint\">What to do: {}</span>", escaped(hint));
    }
    out.push_str("</li>");
}

fn last_hour(out: &mut String, status: &Status, minutes: &[Option<Minute>; MINUTES]) {
    let series = |value: fn(&Minute) -> u64| minutes.each_ref().map(|minute| minute.as_ref().map(value));
    out.push_str("<h2>The last hour</h2>");
    let measured = minutes.iter().flatten().count();
    if measured == 0 {
        out.push_str("<p class=\"soft\">The first minute is being measured.</p>");
    }
    out.push_str("<div class=\"charts\">");
    flow(out, "Accepted messages", &series(|minute| minute.accepted));
    flow(out, "Delivered messages", &series(|minute| minute.delivered));
    flow(out, "Refused requests", &series(|minute| minute.refused));
    let waiting = series(|minute| minute.stored);
    level(out, "Stored messages", status.stored.messages, &[waiting], "");
    let doors = DOORS.map(|(_, count)| minutes.each_ref().map(|minute| minute.as_ref().map(|it| count(&it.connected))));
    let mut legend = "<ul class=\"legend\">".to_owned();
    for (kind, (name, count)) in DOORS.iter().enumerate() {
        let count = number(count(&status.connected));
        put!(legend, "<li><span class=\"kind-{kind}\"></span>{name}: {count}</li>");
    }
    legend.push_str("</ul>");
    level(out, "Connected agents, by door", status.connected.all(), &doors, &legend);
    out.push_str("</div>");
    table(out, minutes);
}

/// A figure of what happened in each minute.
fn flow(out: &mut String, title: &str, series: &Series) {
    let all: u64 = series.iter().flatten().sum();
    let most = series.iter().flatten().copied().fold(0, u64::max);
    let (all, most) = (number(all), number(most));
    let label = format!("{title}: {all} in the last hour, at most {most} in a minute");
    let drawing = chart::svg(&[*series], &label);
    put!(
        out,
        "<figure><figcaption><h3>{title}</h3><p class=\"number\">{all} <small>in the last hour</small></p></figcaption>"
    );
    put!(
        out,
        "{drawing}<p class=\"axis soft\"><span>60 min ago</span><span>at most {most} a minute</span><span>now</span></p></figure>"
    );
}

/// A figure of what was there at the end of each minute.
fn level(out: &mut String, title: &str, now: u64, kinds: &[Series], legend: &str) {
    let sums = (0..MINUTES).map(|minute| kinds.iter().filter_map(|series| series[minute]).sum::<u64>());
    let (now, most) = (number(now), number(sums.fold(now, u64::max)));
    let label = format!("{title}: {now} now, at most {most} in the last hour");
    let drawing = chart::svg(kinds, &label);
    let wide = if kinds.len() > 1 { " class=\"wide\"" } else { "" };
    put!(
        out,
        "<figure{wide}><figcaption><h3>{title}</h3><p class=\"number\">{now} <small>now</small></p></figcaption>"
    );
    put!(
        out,
        "{drawing}<p class=\"axis soft\"><span>60 min ago</span><span>at most {most}</span><span>now</span></p>{legend}</figure>"
    );
}

/// The same as a table, the newest minute first.
fn table(out: &mut String, minutes: &[Option<Minute>; MINUTES]) {
    out.push_str(
        "<details><summary>The last hour as a table</summary><div class=\"scroll\" tabindex=\"0\" role=\"region\" ",
    );
    out.push_str("aria-label=\"The last hour as a table\"><table><thead><tr><th scope=\"col\">Minute until (UTC)</th>");
    let columns = ["Accepted", "Delivered", "Refused", "Stored"].into_iter().chain(DOORS.map(|(name, _)| name));
    columns.for_each(|name| put!(out, "<th scope=\"col\">{name}</th>"));
    out.push_str("</tr></thead><tbody>");
    for minute in minutes.iter().rev().flatten() {
        let end = rfc3339(minute.end);
        put!(out, "<tr><th scope=\"row\">{}</th>", end.get(11..16).unwrap_or(&end));
        let doors = DOORS.map(|(_, count)| count(&minute.connected));
        let values = [minute.accepted, minute.delivered, minute.refused, minute.stored].into_iter().chain(doors);
        values.for_each(|value| put!(out, "<td>{}</td>", number(value)));
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div></details>");
}

fn facts(out: &mut String, status: &Status) {
    let (stored, since) = (&status.stored, &status.since_start);
    section(
        out,
        "In the store",
        &[
            ("User agents", number(stored.agents)),
            ("Subscriptions", number(stored.subscriptions)),
            ("Messages that wait", number(stored.messages)),
            ("Messages and receipts", bytes(stored.bytes)),
            ("Receipt subscriptions", number(stored.receipt_subscriptions)),
            ("Receipts to fetch", number(stored.receipts)),
            ("Writes that wait", number(stored.queued_writes)),
        ],
    );
    section(
        out,
        "Since the start",
        &[
            ("Accepted", number(since.accepted)),
            ("Delivered", number(since.delivered)),
            ("Ended undelivered", number(since.undelivered)),
            ("Requests refused", number(since.refused)),
        ],
    );
    let listeners = status.listeners.iter().map(|listener| format!("{} ({})", listener.address, listener.serves));
    let certificate = match &status.certificate {
        None => "TLS does not end here".to_owned(),
        Some(it) => match &it.not_after {
            None => format!("none yet ({})", it.source),
            Some(end) => format!("until {} ({})", shown_time(end), it.source),
        },
    };
    let store = match &status.store.database {
        Some(database) => format!("{}, {database}", status.store.engine),
        None => status.store.engine.to_owned(),
    };
    let reached = match status.limits_reached.as_slice() {
        [] => "none".to_owned(),
        names => names.join(", "),
    };
    let mut facts = vec![
        ("Listens on", listeners.collect::<Vec<_>>().join(", ")),
        ("Certificate", certificate),
        ("Stores in", store),
    ];
    facts.extend(status.disk.iter().flat_map(disk_facts));
    facts.extend([("Wall clock", status.clock.state.to_owned()), ("Limits that are reached", reached)]);
    section(out, "Around it", &facts);
}

fn disk_facts(disk: &DiskStatus) -> [(&'static str, String); 3] {
    let reserve = match (disk.reserve_bytes, disk.is_reserve_held) {
        (0, _) => "none".to_owned(),
        (size, true) => bytes(size),
        (_, false) => "given up: the disk is full".to_owned(),
    };
    [
        ("Free disk", disk.available_bytes.map_or_else(|| "not known".to_owned(), bytes)),
        ("Disk to keep free", bytes(disk.floor_bytes)),
        ("Reserve for a full disk", reserve),
    ]
}

fn section(out: &mut String, title: &str, facts: &[(&str, String)]) {
    put!(out, "<h2>{title}</h2><dl class=\"facts\">");
    for (name, value) in facts {
        put!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", escaped(value));
    }
    out.push_str("</dl>");
}

/// Text for HTML, also inside an attribute.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// `2026-09-21 14:13 UTC`.
fn shown_time(rfc3339: &str) -> String {
    match (rfc3339.get(..10), rfc3339.get(11..16)) {
        (Some(day), Some(minute)) => format!("{day} {minute} UTC"),
        _ => escaped(rfc3339),
    }
}

/// A number with its thousands apart.
fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

fn duration(secs: u64) -> String {
    let count = |n: u64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let (minutes, hours, days) = (secs / 60, secs / 3600, secs / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => count(secs, "second"),
        (0, 0, _) => count(minutes, "minute"),
        (0, _, _) => format!("{} {}", count(hours, "hour"), count(minutes % 60, "minute")),
        _ => format!("{} {}", count(days, "day"), count(hours % 24, "hour")),
    }
}

#[cfg(test)]
mod tests {
    use doorbell_protocol::time::UnixMs;

    use super::*;
    use crate::status::{ClockStatus, ListenerStatus, Readiness, SinceStart, StoreStatus, Stored};

    #[test]
    fn numbers_and_times_are_written_for_people() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([1, 60, 3_660, 90_000].map(duration), ["1 second", "1 minute", "1 hour 1 minute", "1 day 1 hour"]);
        assert_eq!(shown_time("2026-09-21T14:13:20Z"), "2026-09-21 14:13 UTC");
    }

    fn status() -> Status {
        Status {
            version: "1.2.3",
            origin: "https://push.example.org".to_owned(),
            listeners: vec![ListenerStatus { address: "[::]:443".to_owned(), serves: "tls" }],
            time: "2026-09-21T15:13:20Z".to_owned(),
            uptime_secs: 277_300,
            is_draining: false,
            readiness: Readiness::of(vec![Condition::holds("store", "a commit succeeded")]),
            connected: Connected { firefox: 1_302, ..Connected::default() },
            store: StoreStatus { engine: "sqlite", database: None },
            stored: Stored { messages: 3_410, ..Stored::default() },
            cells: Vec::new(),
            since_start: SinceStart::default(),
            certificate: None,
            disk: Some(DiskStatus {
                available_bytes: None,
                floor_bytes: 128 << 20,
                reserve_bytes: 16 << 20,
                is_reserve_held: false,
            }),
            clock: ClockStatus { state: "right" },
            limits_reached: vec!["agents_max"],
        }
    }

    #[test]
    fn what_fails_stands_out_with_what_to_do_and_the_state_is_in_the_title() {
        let page = |status: &Status| html(status, &[None; MINUTES], false).html;
        assert!(page(&status()).contains("<title>Ready – https://push.example.org – Doorbell</title>"));
        let failing = vec![Condition::fails("disk", "<full>", "free some room")];
        let failing = Status { readiness: Readiness::of(failing), ..status() };
        let shown = page(&failing);
        assert!(shown.contains("<title>Not ready") && shown.contains("What to do: free some room"), "{shown}");
        assert!(shown.contains("&lt;full&gt;") && shown.contains("given up: the disk is full"), "{shown}");
        assert!(page(&Status { is_draining: true, ..status() }).contains(">Stopping<"));
        let store = StoreStatus { engine: "postgresql", database: Some("push at db1".into()) };
        let shown = page(&Status { store, disk: None, ..status() });
        assert!(shown.contains("postgresql, push at db1") && !shown.contains("Free disk"), "{shown}");
    }

    #[test]
    fn a_gap_in_the_hour_is_no_bar_and_no_row() {
        let minute = Minute {
            end: UnixMs::from_secs(1_790_000_000),
            accepted: 8,
            delivered: 7,
            refused: 6,
            stored: 5,
            connected: Connected { wake: 4, ..Connected::default() },
        };
        let mut minutes = [None; MINUTES];
        (minutes[10], minutes[20]) = (Some(minute), Some(minute));
        let shown = html(&status(), &minutes, false).html;
        assert_eq!(
            shown.matches("<tr><th scope=\"row\">14:13</th><td>8</td><td>7</td><td>6</td><td>5</td>").count(),
            2
        );
        assert_eq!(shown.matches("d=\"M10 20.00V0.00h0.8V20.00zM20 20.00V0.00h0.8V20.00z\"").count(), 5, "{shown}");
        assert!(shown.contains("Accepted messages: 16 in the last hour, at most 8 in a minute"), "{shown}");
    }

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escaped("<a href='x' title=\"&\">"), "&lt;a href=&#39;x&#39; title=&quot;&amp;&quot;&gt;");
    }
}
