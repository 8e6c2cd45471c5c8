//! One event as one line: for people, for journald (sd-daemon(3)), or as a JSON object.
//!
//! Whatever an event contains, it is one line without control characters: a client whose bytes are in a message can
//! neither add a line of its own nor send escape sequences to a terminal.

use std::fmt::{self, Debug, Write};
use std::sync::atomic::{AtomicU8, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::registry::LookupSpan;

/// The field with the text of an event.
const MESSAGE: &str = "message";
/// What `log` (rustls uses it) adds as fields: its real target is among them.
const OF_LOG: &str = "log.";
const TARGET_OF_LOG: &str = "log.target";

/// What lines look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Form {
    /// Time, level, text and fields.
    People,
    /// The level as journald reads it, text and fields. journald adds the time.
    Journal,
    /// A JSON object.
    Json,
}

/// Writes lines in a form that can change.
#[derive(Debug)]
pub(super) struct Lines(AtomicU8);

impl Lines {
    pub(super) const fn new(form: Form) -> Self {
        Self(AtomicU8::new(form as u8))
    }

    pub(super) fn set(&self, form: Form) {
        self.0.store(form as u8, Ordering::Relaxed);
    }

    pub(super) fn form(&self) -> Form {
        [Form::People, Form::Journal, Form::Json][usize::from(self.0.load(Ordering::Relaxed))]
    }
}

impl<S, N> FormatEvent<S, N> for &'static Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let is_colored = line.has_ansi_escapes();
        let level = event.metadata().level();
        match self.form() {
            Form::People if is_colored => {
                line.write_str("\x1b[2m")?;
                SystemTime.format_time(&mut line)?;
                write!(line, "\x1b[0m \x1b[{}m{level:>5}\x1b[0m ", color(*level))?;
                text(&mut line, event, true)?;
            }
            Form::People => {
                SystemTime.format_time(&mut line)?;
                write!(line, " {level:>5} ")?;
                text(&mut line, event, false)?;
            }
            Form::Journal => {
                write!(line, "<{}>", priority(*level))?;
                text(&mut line, event, false)?;
            }
            Form::Json => {
                line.write_str("{\"time\":\"")?;
                SystemTime.format_time(&mut line)?;
                write!(line, "\",\"level\":\"{level}\"")?;
                json(&mut line, event)?;
            }
        }
        line.write_char('\n')
    }
}

/// The message and the fields of an event.
fn text(line: &mut Writer<'_>, event: &Event<'_>, is_colored: bool) -> fmt::Result {
    let mut fields = Text { line, is_colored, is_message: true, done: Ok(()) };
    // The message comes first, wherever it is in the event.
    event.record(&mut fields);
    fields.is_message = false;
    event.record(&mut fields);
    fields.done
}

/// The rest of an object, after time and level.
fn json(line: &mut Writer<'_>, event: &Event<'_>) -> fmt::Result {
    let mut target = Target(event.metadata().target().to_owned());
    event.record(&mut target);
    line.write_str(",\"target\":")?;
    quoted(line, format_args!("{}", target.0))?;
    let mut fields = Json { line, done: Ok(()) };
    event.record(&mut fields);
    fields.done?;
    line.write_char('}')
}

/// The line of an error that ends the program.
pub(super) fn failure(form: Form, error: &str) -> String {
    let mut line = String::new();
    // Nothing that is formatted here can fail, and a `String` takes everything.
    let written = match form {
        Form::People => write!(line, "doorbell: {error}"),
        Form::Journal => write!(Escaped { to: &mut line, in_json: false }, "<{}>{error}", priority(Level::ERROR)),
        Form::Json => {
            let time = SystemTime.format_time(&mut Writer::new(&mut line));
            let time = time.map(|()| std::mem::take(&mut line)).unwrap_or_default();
            write!(line, "{{\"time\":\"{time}\",\"level\":\"ERROR\",\"target\":\"doorbell\",\"message\":")
                .and_then(|()| quoted(&mut line, format_args!("{error}")))
                .and_then(|()| line.write_char('}'))
        }
    };
    debug_assert!(written.is_ok(), "a string takes every line");
    line
}

/// The level of a line for journald.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

fn color(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    }
}

/// Writes either the message, or ` name=value` for every other field.
struct Text<'a, 'w> {
    line: &'a mut Writer<'w>,
    is_colored: bool,
    is_message: bool,
    done: fmt::Result,
}

impl Text<'_, '_> {
    fn write(&mut self, field: &Field, value: &dyn Debug) -> fmt::Result {
        let name = field.name();
        if (name == MESSAGE) != self.is_message || name.starts_with(OF_LOG) {
            return Ok(());
        }
        match (self.is_message, self.is_colored) {
            (true, _) => {}
            (false, true) => write!(self.line, " \x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m")?,
            (false, false) => write!(self.line, " {name}=")?,
        }
        write!(Escaped { to: self.line, in_json: false }, "{value:?}")
    }
}

impl Visit for Text<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if self.done.is_ok() {
            self.done = self.write(field, value);
        }
    }
}

/// Writes each field as a member of an object.
struct Json<'a, 'w> {
    line: &'a mut Writer<'w>,
    done: fmt::Result,
}

impl Json<'_, '_> {
    fn member(&mut self, field: &Field, write: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        let name = field.name();
        if self.done.is_err() || name.starts_with(OF_LOG) {
            return;
        }
        // A name of ours is not written twice: parsers disagree about which one counts (RFC 8259 s4).
        let after = if matches!(name, "time" | "level" | "target") { "_" } else { "" };
        let line = &mut *self.line;
        self.done = line
            .write_char(',')
            .and_then(|()| quoted(line, format_args!("{name}{after}")))
            .and_then(|()| line.write_char(':'))
            .and_then(|()| write(line));
    }
}

impl Visit for Json<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.member(field, |line| quoted(line, format_args!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, |line| quoted(line, format_args!("{value}")));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinity and no NaN.
        self.member(field, |line| if value.is_finite() { write!(line, "{value}") } else { write!(line, "null") });
    }
}

/// The target of an event, which is a field if it comes from `log`.
struct Target(String);

impl Visit for Target {
    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == TARGET_OF_LOG {
            value.clone_into(&mut self.0);
        }
    }
}

/// A string of JSON.
fn quoted(to: &mut dyn Write, value: fmt::Arguments<'_>) -> fmt::Result {
    to.write_char('"')?;
    Escaped { to, in_json: true }.write_fmt(value)?;
    to.write_char('"')
}

/// Replaces what must not be in a line by the escapes of Rust or of JSON.
struct Escaped<'a> {
    to: &'a mut dyn Write,
    in_json: bool,
}

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(|c: char| is_unsafe(c) || (self.in_json && matches!(c, '"' | '\\'))) {
            let (before, after) = rest.split_at(at);
            self.to.write_str(before)?;
            let mut chars = after.chars();
            if let Some(c) = chars.next() {
                self.escape(c)?;
            }
            rest = chars.as_str();
        }
        self.to.write_str(rest)
    }
}

impl Escaped<'_> {
    fn escape(&mut self, c: char) -> fmt::Result {
        match c {
            '"' | '\\' => write!(self.to, "\\{c}"),
            '\n' => self.to.write_str("\\n"),
            '\r' => self.to.write_str("\\r"),
            '\t' => self.to.write_str("\\t"),
            // All that are escaped are below U+10000.
            c if self.in_json => write!(self.to, "\\u{:04x}", u32::from(c)),
            c => write!(self.to, "{}", c.escape_unicode()),
        }
    }
}

/// Control characters (C0, DEL, C1), the other two ends of lines, and what changes the order in which a line is shown.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::prelude::*;

    use super::*;

    /// What a client could put into a message: a second line, escapes of a terminal, a line that runs backwards.
    const HOSTILE: &str = "a\nFORGED\r\u{1b}[2J\u{9b}2J\u{7f}\u{2028}\u{202e}\u{61c}\"\\\tb";

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(form: Form, event: impl FnOnce()) -> String {
        let (written, lines): (_, &'static Lines) = (Written::default(), Box::leak(Box::new(Lines::new(form))));
        let writer = written.clone();
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).event_format(lines);
        let layer = layer.with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), event);
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_hostile_message_is_one_line_without_control_characters_in_every_form() {
        for form in [Form::People, Form::Journal, Form::Json] {
            let line = written(form, || {
                tracing::warn!(shown = %HOSTILE, debugged = ?HOSTILE, text = HOSTILE, "{HOSTILE}");
            });
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert!(line.ends_with('\n') && !line.trim_end_matches('\n').contains(is_unsafe), "{line:?}");
            let failure = failure(form, HOSTILE);
            assert!(form == Form::People || !failure.contains(is_unsafe), "{failure:?}");
        }
    }

    #[test]
    fn an_object_has_its_fields_flat_and_with_their_types() {
        let line = written(Form::Json, || {
            tracing::warn!(target: "a::b", text = HOSTILE, n = 7, below = -1, yes = true, half = 0.5, level = "x", "{HOSTILE}");
        });
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(object["time"].as_str().unwrap().ends_with('Z'), "{line}");
        assert_eq!((&object["level"], &object["target"]), (&"WARN".into(), &"a::b".into()));
        assert_eq!((&object["message"], &object["text"]), (&HOSTILE.into(), &HOSTILE.into()));
        assert_eq!((&object["n"], &object["below"], &object["yes"]), (&7.into(), &(-1).into(), &true.into()));
        assert_eq!((&object["half"], &object["level_"]), (&0.5.into(), &"x".into()));
        let ended: serde_json::Value = serde_json::from_str(&failure(Form::Json, HOSTILE)).unwrap();
        assert_eq!((&ended["level"], &ended["message"]), (&"ERROR".into(), &HOSTILE.into()));
    }

    #[test]
    fn text_has_time_level_message_and_fields_and_for_journald_a_priority_only() {
        let event = || tracing::info!(n = 7, text = "x y", error = %"it fails", "it happened");
        let line = written(Form::People, event);
        assert!(line.ends_with("Z  INFO it happened n=7 text=\"x y\" error=it fails\n"), "{line}");
        assert_eq!(written(Form::Journal, event), "<6>it happened n=7 text=\"x y\" error=it fails\n");
        assert_eq!(written(Form::Journal, || tracing::error!("x")), "<3>x\n");
        assert_eq!(written(Form::Journal, || tracing::warn!("x")), "<4>x\n");
        assert_eq!(written(Form::Journal, || tracing::trace!("x")), "<7>x\n");
    }
}
