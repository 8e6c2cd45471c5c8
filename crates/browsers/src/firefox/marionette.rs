//! Marionette, the protocol by which a program drives Firefox: JSON over TCP, each message after its length.

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::BrowserError;

/// The file in the profile in which Firefox names its port.
const PORT_FILE: &str = "MarionetteActivePort";
/// How long Firefox may take to answer: a first start on a busy machine is the longest wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// An answer is a few values; more is not an answer.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// A connection to a Firefox, with a session.
pub struct Marionette {
    stream: BufReader<TcpStream>,
    last_id: u64,
}

impl Marionette {
    /// The port of the Firefox that runs with `profile`, once the file is there.
    pub fn port(profile: &Path) -> Option<u16> {
        fs::read_to_string(profile.join(PORT_FILE)).ok()?.trim().parse().ok()
    }

    /// Removes the file that a Firefox left behind which did not end in order.
    pub fn forget_port(profile: &Path) -> Result<(), BrowserError> {
        let file = profile.join(PORT_FILE);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(BrowserError::io("delete", &file)(error)),
            _ => Ok(()),
        }
    }

    /// Connects and begins a session.
    pub fn connect(port: u16) -> Result<Self, BrowserError> {
        let refused = |error: io::Error| BrowserError::Driver(format!("Firefox takes no driver: {error}"));
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(refused)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(refused)?;
        let mut marionette = Self { stream: BufReader::new(stream), last_id: 0 };
        let _greeting = marionette.read().map_err(refused)?;
        marionette.command("WebDriver:NewSession", &json!({}))?;
        Ok(marionette)
    }

    /// Sends a command and waits for its result.
    pub fn command(&mut self, name: &str, parameters: &Value) -> Result<Value, BrowserError> {
        self.last_id += 1;
        let message = json!([0, self.last_id, name, parameters]).to_string();
        let sent = write!(self.stream.get_mut(), "{}:{message}", message.len());
        let answer = sent.and_then(|()| self.read());
        let answer =
            answer.map_err(|error| BrowserError::Driver(format!("Firefox does not answer {name}: {error}")))?;
        match answer.as_array().map(Vec::as_slice) {
            Some([_, _, Value::Null, result]) => Ok(result.clone()),
            Some([_, _, error, _]) => {
                Err(BrowserError::Driver(format!("{name}: {}: {}", error["error"], error["message"])))
            }
            _ => Err(BrowserError::Driver(format!("{name}: Firefox answers {answer}"))),
        }
    }

    /// Runs a script with the rights of Firefox itself: what it returns.
    pub fn run_in_chrome(&mut self, script: &str, arguments: &Value) -> Result<Value, BrowserError> {
        self.command("Marionette:SetContext", &json!({ "value": "chrome" }))?;
        let script = json!({ "script": script, "args": arguments, "sandbox": null });
        let result = self.command("WebDriver:ExecuteScript", &script)?;
        self.command("Marionette:SetContext", &json!({ "value": "content" }))?;
        Ok(result["value"].clone())
    }

    /// Asks Firefox to end in order.
    pub fn quit(mut self) -> Result<(), BrowserError> {
        self.command("Marionette:Quit", &json!({ "flags": ["eForceQuit"] })).map(drop)
    }

    fn read(&mut self) -> io::Result<Value> {
        let mut length = Vec::new();
        self.stream.read_until(b':', &mut length)?;
        let length = length.strip_suffix(b":").ok_or(ErrorKind::UnexpectedEof)?;
        let length: u64 = std::str::from_utf8(length).map_err(io::Error::other)?.parse().map_err(io::Error::other)?;
        if length > ANSWER_BYTES_MAX {
            return Err(io::Error::other(format!("an answer of {length} bytes")));
        }
        let mut text = Vec::new();
        self.stream.by_ref().take(length).read_to_end(&mut text)?;
        Ok(serde_json::from_slice(&text)?)
    }
}
