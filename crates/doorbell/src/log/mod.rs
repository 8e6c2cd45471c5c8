//! The log on stderr, of both programs.

mod line;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::ffi::OsStr;
use std::io::{IsTerminal, Write, stderr};
use std::os::fd::AsFd;
use std::panic::{self, PanicHookInfo};
use std::sync::OnceLock;
use std::thread;

use anyhow::{Context, Result, bail};
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::prelude::*;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::{Layer, Registry};

use line::{Form, Lines};

/// What is logged where nothing is asked for.
#[allow(dead_code, reason = "doorbell-desktop is always given a filter")]
pub(crate) const DEFAULT: &str = "info";

/// Parts whose lines are logged only from this level on, unless the filter names them: the access log of the service
/// (`config::ACCESS_LOG` there), and the warnings of rustls, which any client causes as often as it likes.
const QUIET: [(&str, LevelFilter); 2] =
    [("doorbell_service::access", LevelFilter::OFF), ("rustls", LevelFilter::ERROR)];

/// Crates that write what clients send into their debug lines: h2 malformed paths and the text of a GOAWAY, tungstenite
/// whole messages. Those are secrets here (invariant 8), so no --log filter brings these lines back.
const VERBOSE: [&str; 3] = ["h2", "tungstenite", "tokio_tungstenite"];

/// The filter of this process. `tracing` has one log for each process, and so has this.
static FILTER: OnceLock<Handle<Targets, Registry>> = OnceLock::new();

/// How this process writes its lines.
static LINES: Lines = Lines::new(Form::People);

/// Logs what `filter` lets through from now on.
pub(crate) fn to_stderr(filter: &str) -> Result<()> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    LINES.set(text_form());
    // The usual agreement about colors (no-color.org).
    let is_colored = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = tracing_subscriber::fmt::layer().event_format(&LINES).with_writer(stderr).with_ansi(is_colored);
    let lines = lines.log_internal_errors(false).with_filter(filter_fn(keeps_secrets));
    tracing_subscriber::registry().with(filter).with(lines).init();
    let for_people = panic::take_hook();
    panic::set_hook(Box::new(move |info| match LINES.form() {
        Form::People => for_people(info),
        // A program reads the log. Not through `tracing`, whose lines may be what panicked.
        _ => failure(&panicked(info)),
    }));
    FILTER.set(handle).ok().context("the log is set up twice")
}

/// Whether lines are objects of JSON from now on, or text.
#[allow(dead_code, reason = "doorbell-desktop writes text")]
pub(crate) fn set_json(is_json: bool) {
    LINES.set(if is_json { Form::Json } else { text_form() });
}

/// Whether lines are objects of JSON.
#[allow(dead_code, reason = "doorbell-desktop writes text")]
pub(crate) fn is_json() -> bool {
    LINES.form() == Form::Json
}

/// Logs the error that ends the program, whatever the filter is.
pub(crate) fn failure(line: &str) {
    // Nothing is left where it could be reported that stderr is full or closed.
    writeln!(stderr(), "{}", line::failure(LINES.form(), line)).ok();
}

/// What the line about a panic says; with RUST_BACKTRACE also where it came from.
fn panicked(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let place = info.location().map(|place| format!(" at {place}")).unwrap_or_default();
    let thread = thread::current();
    let backtrace = Backtrace::capture();
    let way = match backtrace.status() {
        BacktraceStatus::Captured => format!("; backtrace: {backtrace}"),
        _ => String::new(),
    };
    format!(
        "thread {} panicked{place}: {}; this is a bug, please report it{way}",
        thread.name().unwrap_or("without a name"),
        text.unwrap_or("it gives no reason")
    )
}

/// Text for journald if stderr is a stream of its, otherwise for people.
fn text_form() -> Form {
    match std::env::var_os("JOURNAL_STREAM") {
        Some(stream) if is_stream(stderr(), &stream) => Form::Journal,
        _ => Form::People,
    }
}

/// Whether `file` is the one that JOURNAL_STREAM names as DEVICE:INODE (systemd.exec(5)). A program that inherits the
/// variable may have another stderr.
fn is_stream(file: impl AsFd, stream: &OsStr) -> bool {
    rustix::fs::fstat(file).is_ok_and(|found| stream == OsStr::new(&format!("{}:{}", found.st_dev, found.st_ino)))
}

/// Logs what `filter` lets through, in place of what was let through before. If it cannot be used, nothing changes.
#[allow(dead_code, reason = "doorbell-desktop keeps its filter")]
pub(crate) fn set_filter(filter: &str) -> Result<()> {
    let filter = parse(filter)?;
    FILTER.get().context("the log is not set up")?.reload(filter).context("cannot change what is logged")
}

/// A level for everything, and levels for parts of the program: `warn,doorbell_service=debug`. Without any, as where a
/// variable of the environment is empty, what `info` lets through.
fn parse(filter: &str) -> Result<Targets> {
    let directives: Vec<&str> = filter.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    for directive in &directives {
        let level = directive.rsplit_once('=').map_or(*directive, |(_, level)| level);
        if level.parse::<LevelFilter>().is_err() {
            bail!(
                "log {filter}: {level:?} is not a level: use error, warn, info, debug, trace or off, or PART=LEVEL for a \
                 part of the program, with commas between"
            );
        }
    }
    let targets = match directives.join(",") {
        none if none.is_empty() => Targets::new().with_default(LevelFilter::INFO),
        some => some.parse().map_err(|error| {
            anyhow::anyhow!("log {filter}: {error}; give a level, such as info, or PART=LEVEL, with commas between")
        })?,
    };
    let names = |part: &str| directives.iter().any(|directive| directive.split('=').next() == Some(part));
    Ok(targets.with_targets(QUIET.into_iter().filter(|(part, _)| !names(part))))
}

fn keeps_secrets(line: &tracing::Metadata<'_>) -> bool {
    let is_verbose = VERBOSE.iter().any(|name| line.target().starts_with(name));
    !is_verbose || *line.level() <= tracing::Level::INFO
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_panic_is_one_line_with_its_place_in_the_forms_that_programs_read() {
        let (seen, before) = (Arc::new(Mutex::new(Vec::new())), panic::take_hook());
        let lines = seen.clone();
        panic::set_hook(Box::new(move |info| lines.lock().unwrap().push(panicked(info))));
        for ended in [
            thread::Builder::new().name("worker-7".to_owned()).spawn(|| panic!("it broke\n\"{}\"", 7)),
            thread::Builder::new().spawn(|| panic::panic_any(7)),
        ] {
            assert!(ended.unwrap().join().is_err(), "the panic goes on");
        }
        panic::set_hook(before);
        let seen = seen.lock().unwrap();
        let of = |words: &str| seen.iter().find(|text| text.contains(words)).unwrap_or_else(|| panic!("{seen:?}"));
        let (broken, silent) = (of("it broke"), of("it gives no reason"));
        assert!(broken.starts_with("thread worker-7 panicked at ") && broken.contains("log/mod.rs:"), "{broken}");
        assert!(silent.starts_with("thread without a name panicked at "), "{silent}");
        let line = line::failure(Form::Json, broken);
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(!line.contains('\n') && object["message"] == **broken && object["level"] == "ERROR", "{line}");
        let line = line::failure(Form::Journal, broken);
        assert!(!line.contains('\n') && line.starts_with("<3>thread worker-7 panicked"), "{line}");
    }

    #[test]
    fn a_filter_names_levels_and_anything_else_is_refused() {
        for filter in ["info", "off", "WARN", "warn,doorbell_service=debug", "warn, h2=off", "", "info,"] {
            assert!(parse(filter).is_ok(), "{filter}");
        }
        for filter in ["loud", "doorbell_service", "doorbell_service=loud", "info,loud"] {
            assert!(parse(filter).unwrap_err().to_string().contains("is not a level"), "{filter}");
        }
    }

    #[test]
    fn the_access_log_and_the_warnings_of_rustls_are_logged_only_if_the_filter_names_them() {
        let passes = |filter: &str, target| parse(filter).unwrap().would_enable(target, &tracing::Level::WARN);
        for (part, _) in QUIET {
            for filter in ["", "info", "trace", "warn,doorbell_service=debug"] {
                assert!(!passes(filter, part), "{part} with {filter:?}");
            }
            assert!(passes(&format!("error,{part}=info"), part));
        }
        assert!(passes("info", "doorbell_service::doors"));
        assert!(!passes("off", "doorbell_service::doors"));
    }
}
