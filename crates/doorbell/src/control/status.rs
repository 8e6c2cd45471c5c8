//! `doorbell status`.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use futures_util::FutureExt;
use serde_json::{Map, Value, json};

use super::state_dir::Of;
use super::{Problem, Running, Verb};
use crate::output;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES, next_line_help = true)]
pub(crate) struct Args {
    /// Print it as JSON, for a program
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    of: Of,
}

const EXAMPLES: &str = "\
Examples:
  doorbell status
  doorbell status --state-dir /var/lib/doorbell
  doorbell status --json | jq .origin

It shows no user and no message. The exit status is 0 if the service is ready, 1 if it runs and is not ready (also \
while it starts or stops, or does not answer), and 3 if none runs; 2 is for wrong arguments.";

pub(super) const VERB: Verb = Verb { name: "status", run: |running| perform(running).boxed() };

/// The exit status where no service runs: as of `systemctl status`.
const NOT_RUNNING: u8 = 3;

/// Prints the status of the running service.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match args.of.connect()? {
        Ok(client) => {
            let mut status = client.ask(VERB.name)?;
            if let Some(members) = status.as_object_mut() {
                members.insert("running".to_owned(), json!(true));
            }
            output::result(if args.json { format!("{status:#}") } else { lines(&status) })?;
            Ok(if is_ready(&status) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Err(absent) => {
            let path = args.of.path()?;
            let known = on_disk(&path);
            match args.json {
                true => output::result(format!(
                    "{:#}",
                    json!({ "running": absent.is_running, "state_dir": path, "on_disk": known })
                ))?,
                false => {
                    output::result(&absent.text)?;
                    output::result(lines(&known))?;
                }
            }
            Ok(if absent.is_running { ExitCode::FAILURE } else { ExitCode::from(NOT_RUNNING) })
        }
    }
}

async fn perform(running: Arc<Running>) -> Result<Value, Problem> {
    serde_json::to_value(running.service.status().await)
        .map_err(|error| Problem::new(format!("the status cannot be written: {error}"), "please report this bug"))
}

/// Whether the service can do its work.
fn is_ready(status: &Value) -> bool {
    status["readiness"]["is_ready"] == json!(true)
}

/// What the files of a service that does not run show.
fn on_disk(state_dir: &Path) -> Value {
    let bytes = |name: &str| fs::metadata(state_dir.join(name)).map(|file| file.len()).ok();
    let database =
        bytes("doorbell.db").map(|main| [Some(main), bytes("doorbell.db-wal")].into_iter().flatten().sum::<u64>());
    let mut known = Map::new();
    known.insert("database_bytes".to_owned(), json!(database));
    // One that cannot be read is reported by the start.
    if matches!(doorbell_service::cluster_of(state_dir), Ok(Some(_))) {
        known.insert("engine".to_owned(), json!("postgresql"));
    }
    known.insert("capability_keys".to_owned(), json!(bytes("capability.keys").is_some()));
    Value::Object(known)
}

/// What a person reads first; the rest follows by name.
const FIRST: [&str; 7] = ["running", "origin", "version", "uptime_secs", "is_draining", "readiness", "listeners"];

/// The document as aligned lines.
fn lines(status: &Value) -> String {
    let mut rows = Vec::new();
    let mut rest = status.clone();
    for name in FIRST {
        if let Some(value) = rest.as_object_mut().and_then(|members| members.remove(name)) {
            flatten(name, &value, &mut rows);
        }
    }
    flatten("", &rest, &mut rows);
    let width = rows.iter().map(|(name, _)| name.chars().count()).fold(0, usize::max);
    let rows: Vec<String> = rows.into_iter().map(|(name, value)| format!("{name:width$}  {value}")).collect();
    rows.join("\n")
}

/// One row for each value, with its names in front of it.
fn flatten(name: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                let name = format!("{name} {}", member.trim_start_matches("is_"));
                flatten(name.trim_start(), value, rows);
            }
        }
        Value::Array(values) if values.iter().any(Value::is_object) => {
            values.iter().for_each(|value| rows.push(entry(name, value)));
        }
        value => {
            let (name, value) = readable(name, value);
            rows.push((name, value));
        }
    }
}

/// A row for an entry of a list. The conditions of readiness have a name, and say whether they hold and what to do.
fn entry(name: &str, value: &Value) -> (String, String) {
    let text = |member: &str| value[member].as_str().unwrap_or_default();
    if let Some(ok) = value["ok"].as_bool() {
        let verdict = if ok { "ok" } else { "NOT OK" };
        let hint = if text("hint").is_empty() { String::new() } else { format!("; {}", text("hint")) };
        // The list is a member of what is judged.
        let of = name.split(' ').next().expect("a text has a first part");
        return (format!("{of} {}", text("name")), format!("{verdict}: {}{hint}", text("message")));
    }
    let members = value.as_object().into_iter().flatten();
    if let Some(cell) = value["cell"].as_u64() {
        let counts = members.filter(|(member, _)| *member != "cell").map(|(member, value)| readable(member, value));
        let counts: Vec<String> = counts.map(|(name, count)| format!("{count} {name}")).collect();
        return (format!("cell {cell}"), counts.join(", "));
    }
    let texts: Vec<String> = members.map(|(member, value)| readable(member, value).1).collect();
    (readable(name, &Value::Null).0, texts.join(" "))
}

/// The name in words, and the value in units that a person reads.
fn readable(name: &str, value: &Value) -> (String, String) {
    let in_words = |name: &str| name.trim_start_matches("is_").replace('_', " ");
    if let (Some(name), Some(secs)) = (name.strip_suffix("_secs"), value.as_u64()) {
        return (in_words(name), span(secs));
    }
    if let (Some(name), Some(bytes)) = (name.strip_suffix("_bytes"), value.as_u64()) {
        return (in_words(name), size(bytes));
    }
    let value = match value {
        Value::Null => "-".to_owned(),
        Value::Bool(is) => if *is { "yes" } else { "no" }.to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => "-".to_owned(),
        Value::Array(values) => {
            let texts = values.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            texts.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    };
    (in_words(name), value)
}

fn span(secs: u64) -> String {
    match (secs / 86_400, secs / 3_600 % 24, secs / 60 % 60, secs % 60) {
        (0, 0, 0, secs) => format!("{secs} s"),
        (0, 0, minutes, secs) => format!("{minutes} min {secs} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, ..) => format!("{days} d {hours} h"),
    }
}

fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut tenths = bytes.saturating_mul(10);
    let mut unit = "bytes";
    for larger in units {
        if tenths < 10_240 {
            break;
        }
        (tenths, unit) = (tenths / 1024, larger);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{}.{} {unit}", tenths / 10, tenths % 10) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_aligned_and_in_units_that_a_person_reads() {
        let status = json!({
            "running": true,
            "origin": "https://push.example.org",
            "uptime_secs": 90_061,
            "store": { "stored_bytes": 5_242_880, "messages": 7, "reasons": ["a", "b"], "none": null, "list": [] },
            "is_draining": false,
            "cells": [{ "cell": 1, "agents": 3, "queued_writes": 0 }],
            "listeners": [{ "address": "127.0.0.1:1", "serves": "tls" }],
            "readiness": { "conditions": [
                { "name": "store", "ok": true, "message": "writable", "hint": null },
                { "name": "disk", "ok": false, "message": "full", "hint": "free some room" },
            ] },
        });
        let expected = "\
            running          yes\n\
            origin           https://push.example.org\n\
            uptime           1 d 1 h\n\
            draining         no\n\
            readiness store  ok: writable\n\
            readiness disk   NOT OK: full; free some room\n\
            listeners        127.0.0.1:1 tls\n\
            cell 1           3 agents, 0 queued writes\n\
            store list       -\n\
            store messages   7\n\
            store none       -\n\
            store reasons    a, b\n\
            store stored     5.0 MiB";
        assert_eq!(lines(&status), expected);
        assert_eq!((span(59), span(61), span(3_660)), ("59 s".into(), "1 min 1 s".into(), "1 h 1 min".into()));
        assert_eq!((size(1023), size(1024)), ("1023 bytes".into(), "1.0 KiB".into()));
    }
}
