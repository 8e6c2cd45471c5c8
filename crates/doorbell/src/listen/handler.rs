//! What happens with each message: it is printed, as text or JSON, or a command gets it.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use doorbell_agent::{App, Error, Event, Message};
use doorbell_protocol::base64url;
use serde_json::json;
use tokio::io::{AsyncWriteExt, ErrorKind};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use super::Args;
use crate::browser::status;

/// The application behind `doorbell listen`.
pub(super) struct Handler {
    manner: Manner,
    end: watch::Sender<Option<u8>>,
    handled: usize,
    handled_max: Option<usize>,
    was_connected: bool,
    /// The last error of the connection, as long as there is none: each is reported once.
    last_error: Option<String>,
}

enum Manner {
    /// The data and a line feed; without control characters for a terminal.
    Text {
        terminal: bool,
    },
    Json,
    Exec {
        command: String,
        limit: Duration,
    },
}

impl Handler {
    /// `end` ends listening with an exit status.
    pub(super) fn new(args: &Args, end: watch::Sender<Option<u8>>) -> Self {
        let limit = Duration::from_secs(args.exec_timeout);
        let manner = match &args.exec {
            Some(command) => Manner::Exec { command: command.clone(), limit },
            None if args.json => Manner::Json,
            None => Manner::Text { terminal: std::io::stdout().is_terminal() },
        };
        let handled_max = if args.once { Some(1) } else { args.count.map(Into::into) };
        Self { manner, end, handled: 0, handled_max, was_connected: false, last_error: None }
    }

    /// How many messages were handled.
    pub(super) fn handled(&self) -> usize {
        self.handled
    }

    /// Reports an error of the connection once, however often it is tried again.
    fn disconnected(&mut self, why: &Error) {
        let text = match why {
            Error::Stranger { .. } => {
                format!("{why}. The subscription is kept; add --new for another one if this stays so")
            }
            _ => why.to_string(),
        };
        if self.last_error.as_ref() != Some(&text) {
            status(&format!("{text}; trying again until it works"));
            self.last_error = Some(text);
        }
    }

    /// Prints a line, or stops: then the message was not taken.
    async fn print(&self, line: &[u8]) {
        let mut output = tokio::io::stdout();
        let written = async {
            output.write_all(line).await?;
            output.flush().await
        };
        let Err(why) = written.await else { return };
        // The reader has closed its end: that is a success. After every other error a later message has no better chance.
        if why.kind() == ErrorKind::BrokenPipe {
            return self.stop(0).await;
        }
        status(&format!("cannot write to standard output ({why}): this message and later ones come the next time"));
        self.stop(1).await
    }

    /// Gives the message to the command, or stops if no command can run: then the message was not taken.
    async fn execute(&self, command: &str, limit: Duration, message: &Message) -> Result<(), String> {
        match start(command, message) {
            Ok(child) => finish(child, limit, message).await,
            Err(why) => {
                status(&format!("cannot run sh ({why}): this message and later ones come the next time"));
                self.stop(1).await
            }
        }
    }

    /// Ends listening; does not return, so that this message is neither taken nor refused.
    async fn stop<T>(&self, code: u8) -> T {
        self.end.send_replace(Some(code));
        std::future::pending().await
    }
}

impl App for Handler {
    type Failure = String;

    async fn message(&mut self, message: &Message) -> Result<ControlFlow<()>, String> {
        match &self.manner {
            Manner::Text { terminal } => self.print(&text_line(message, *terminal)).await,
            Manner::Json => self.print(json_line(message).as_bytes()).await,
            Manner::Exec { command, limit } => self.execute(command, *limit, message).await?,
        }
        self.handled += 1;
        let enough = self.handled_max.is_some_and(|max| self.handled >= max);
        Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Connected => {
                status(if self.was_connected { "connected again" } else { "listening" });
                (self.was_connected, self.last_error) = (true, None);
            }
            Event::WithoutPushes => status(
                "a proxy on the way lets no server pushes pass: messages come as events instead. Pushes are tried again \
                 every hour; to have them, the proxy must pass TCP through",
            ),
            Event::Disconnected { why, .. } => self.disconnected(&why),
            Event::Discarded(why) => status(&format!("a message is thrown away: {why}")),
            Event::Refused(why) => status(&format!("ignored {why}")),
            Event::Failed { why, given_up: false } => status(&format!("{why}; the message comes again")),
            Event::Failed { why, given_up: true } => {
                status(&format!(
                    "{why} for the last time: the message is given up, and its sender's receipt is `refused`"
                ));
            }
        }
    }
}

/// The data, which is empty in a message without a body.
fn data(message: &Message) -> &[u8] {
    message.data.as_deref().unwrap_or_default()
}

fn text_line(message: &Message, terminal: bool) -> Vec<u8> {
    let data = data(message);
    let mut line = if terminal {
        // Foreign text must not move the cursor or rename the window.
        let harmless = |c: char| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c };
        String::from_utf8_lossy(data).chars().map(harmless).collect::<String>().into_bytes()
    } else {
        data.to_vec()
    };
    line.push(b'\n');
    line
}

fn json_line(message: &Message) -> String {
    let mut object = match message.data.as_deref().map(|data| (std::str::from_utf8(data), data)) {
        None => json!({ "text": null }),
        Some((Ok(text), _)) => json!({ "text": text }),
        Some((Err(_), data)) => json!({ "base64url": base64url::encode(data) }),
    };
    if let Some(kind) = &message.content_type {
        object["contentType"] = json!(kind);
    }
    let mut line = String::new();
    for c in object.to_string().chars() {
        match c {
            // JSON leaves these as they are; a terminal may take them for commands.
            '\u{7f}'..='\u{9f}' => line += &format!("\\u{:04x}", u32::from(c)),
            c => line.push(c),
        }
    }
    line + "\n"
}

/// How long after a signal ended a command our own is awaited. A terminal and a service manager signal both processes:
/// then the message was not refused, and comes again the next time.
const SIGNAL_GRACE: Duration = Duration::from_secs(2);

/// Starts the command. An error is never the message's fault: it is far shorter than the system allows.
fn start(command: &str, message: &Message) -> std::io::Result<Child> {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).stdin(Stdio::piped()).kill_on_drop(true).env_remove("DOORBELL_CONTENT_TYPE");
    if let Some(kind) = &message.content_type {
        shell.env("DOORBELL_CONTENT_TYPE", kind);
    }
    shell.spawn()
}

/// Writes the message to the command and waits for it; success is exit status 0 in time. Dropped, it ends the command.
async fn finish(mut child: Child, limit: Duration, message: &Message) -> Result<(), String> {
    let input = child.stdin.take();
    let run = async {
        if let Some(mut input) = input {
            // A command may exit without having read everything; its status decides whether that was right.
            let _ = input.write_all(data(message)).await;
        }
        child.wait().await
    };
    match timeout(limit, run).await {
        Ok(Ok(end)) if end.success() => Ok(()),
        Ok(Ok(end)) => {
            if is_signalled(end) {
                tokio::time::sleep(SIGNAL_GRACE).await;
            }
            Err(format!("the command failed ({end})"))
        }
        Ok(Err(e)) => Err(format!("the command cannot be waited for: {e}")),
        Err(_) => Err(format!("the command took longer than {} s", limit.as_secs())),
    }
}

/// Whether a signal ended the command. A shell reports that of its own child as 128 and the number.
fn is_signalled(end: ExitStatus) -> bool {
    end.code().is_none_or(|code| code > 128)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    async fn execute(command: &str, limit: Duration, message: &Message) -> Result<(), String> {
        finish(start(command, message).unwrap(), limit, message).await
    }

    fn message(data: Option<&'static [u8]>, kind: Option<&str>) -> Message {
        let endpoint = "https://push.example/p/1".parse().unwrap();
        Message { endpoint, data: data.map(Into::into), content_type: kind.map(str::to_owned) }
    }

    #[test]
    fn a_terminal_gets_text_without_control_characters_and_a_pipe_gets_every_byte() {
        let hostile = message(Some(b"a\x1b[2J\tb\xff\nc"), None);
        assert_eq!(text_line(&hostile, true), "a\u{fffd}[2J\tb\u{fffd}\nc\n".as_bytes());
        assert_eq!(text_line(&hostile, false), b"a\x1b[2J\tb\xff\nc\n");
        assert_eq!(text_line(&message(None, None), false), b"\n");
    }

    #[test]
    fn json_holds_text_or_bytes_or_nothing_in_one_line() {
        assert_eq!(json_line(&message(Some(b"a\nb"), None)), "{\"text\":\"a\\nb\"}\n");
        assert_eq!(json_line(&message(Some(b"\xff"), None)), "{\"base64url\":\"_w\"}\n");
        assert_eq!(json_line(&message(Some("\u{9b}2J\u{7f}ü".as_bytes()), None)), "{\"text\":\"\\u009b2J\\u007fü\"}\n");
        assert_eq!(json_line(&message(None, Some("x/y"))), "{\"contentType\":\"x/y\",\"text\":null}\n");
    }

    #[tokio::test]
    async fn a_command_gets_the_message_and_its_type_and_its_status_decides() {
        let hello = message(Some(b"hello"), Some("text/x"));
        let check = "test \"$(cat)\" = hello && test \"$DOORBELL_CONTENT_TYPE\" = text/x";
        assert_eq!(execute(check, LIMIT, &hello).await, Ok(()));
        assert!(execute("exit 3", LIMIT, &hello).await.unwrap_err().contains("exit status: 3"));
        let large = message(Some(&[b'x'; 1 << 20]), None);
        assert_eq!(execute("true", LIMIT, &large).await, Ok(()), "a command need not read");
    }

    #[tokio::test]
    async fn a_command_that_takes_too_long_is_ended_and_has_failed() {
        let limit = Duration::from_millis(20);
        let why = execute("exec sleep 1000", limit, &message(None, None)).await.unwrap_err();
        assert!(why.contains("took longer"), "{why}");
    }
}
