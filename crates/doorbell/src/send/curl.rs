//! `--curl`: the same request as a command for a POSIX shell, to see what goes over the wire.

use std::path::PathBuf;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use doorbell_sender::clock;
use doorbell_sender::request::{self, Message};

use crate::shell::quoted;

/// The command. It contains a token: everyone who runs it within 12 hours sends this message in our name.
pub(super) fn command(message: &Message<'_>, ca_files: &[PathBuf]) -> Result<String> {
    let request = request::build(message, clock::now())?;
    // curl takes one file. The one that the user named comes first; curl then ignores the system's authorities.
    let ca = match ca_files.first() {
        Some(file) => format!(" --cacert {}", quoted(&file.to_string_lossy())),
        None => String::new(),
    };
    let mut lines = vec![format!("printf %s {} | base64 -d |", quoted(&STANDARD.encode(request.body())))];
    lines.push(format!("  curl --silent --show-error --include --globoff{ca} \\"));
    for (name, value) in request.headers() {
        let value = value.to_str().context("a header that is not text")?;
        lines.push(format!("  --header {} \\", quoted(&format!("{name}: {value}"))));
    }
    lines.push(format!("  --data-binary @- {}", quoted(message.subscription.endpoint.as_str())));
    Ok(lines.join("\n"))
}
