//! Marionette, the way in which Firefox lets itself be driven: JSON over TCP, each message after its length.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// The file in the profile in which Firefox names its port.
const PORT_FILE: &str = "MarionetteActivePort";
/// How long Firefox may take to answer: a first start on a busy machine is the longest wait.
const PATIENCE: Duration = Duration::from_secs(120);
/// An answer is a few values; more is no answer.
const ANSWER_OCTETS_MAX: u64 = 16 << 20;

/// A connection to a Firefox, with a session.
pub(crate) struct Marionette {
    stream: BufReader<TcpStream>,
    last_id: u64,
}

impl Marionette {
    /// The port of the Firefox that runs with `profile`, once it has named it.
    pub(crate) fn port(profile: &Path) -> Option<u16> {
        std::fs::read_to_string(profile.join(PORT_FILE)).ok()?.trim().parse().ok()
    }

    /// Removes what a Firefox that did not end in order left behind.
    pub(crate) fn forget_port(profile: &Path) -> std::io::Result<()> {
        match std::fs::remove_file(profile.join(PORT_FILE)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Connects and begins a session.
    pub(crate) fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("Firefox takes no driver")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut marionette = Self { stream: BufReader::new(stream), last_id: 0 };
        let _greeting = marionette.read()?;
        marionette.command("WebDriver:NewSession", json!({}))?;
        Ok(marionette)
    }

    /// Sends a command and waits for its result.
    pub(crate) fn command(&mut self, name: &str, parameters: Value) -> Result<Value> {
        self.last_id += 1;
        let message = json!([0, self.last_id, name, parameters]).to_string();
        write!(self.stream.get_mut(), "{}:{message}", message.len())?;
        let answer = self.read().with_context(|| format!("Firefox does not answer {name}"))?;
        match answer.as_array().map(Vec::as_slice) {
            Some([_, _, Value::Null, result]) => Ok(result.clone()),
            Some([_, _, error, _]) => bail!("{name}: {}: {}", error["error"], error["message"]),
            _ => bail!("{name}: Firefox answers {answer}"),
        }
    }

    /// Runs a script with the rights of Firefox itself: what it returns.
    pub(crate) fn run_in_chrome(&mut self, script: &str, arguments: &Value) -> Result<Value> {
        self.command("Marionette:SetContext", json!({ "value": "chrome" }))?;
        let script = json!({ "script": script, "args": arguments, "sandbox": null });
        let result = self.command("WebDriver:ExecuteScript", script)?;
        self.command("Marionette:SetContext", json!({ "value": "content" }))?;
        Ok(result["value"].clone())
    }

    /// Asks Firefox to end in order.
    pub(crate) fn quit(mut self) -> Result<()> {
        self.command("Marionette:Quit", json!({ "flags": ["eForceQuit"] })).map(drop)
    }

    fn read(&mut self) -> Result<Value> {
        let mut length = Vec::new();
        self.stream.read_until(b':', &mut length)?;
        let length = length.strip_suffix(b":").context("the connection is closed")?;
        let length: u64 = std::str::from_utf8(length)?.parse()?;
        if length > ANSWER_OCTETS_MAX {
            bail!("an answer of {length} octets");
        }
        let mut text = Vec::new();
        self.stream.by_ref().take(length).read_to_end(&mut text)?;
        serde_json::from_slice(&text).context("an answer is not JSON")
    }
}
