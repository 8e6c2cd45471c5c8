//! The program that the extension talks to over native messaging: it keeps the token and the number of windows where the
//! desktop part reads them.
//!
//! Each message is JSON behind its length, four bytes in the machine's order. The first one is the extension's.

use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use doorbell_browsers::chromium::{EXTENSION_ID, process_of};
use doorbell_private_file as private_file;
use serde::{Deserialize, Serialize};

use super::token::{self, WakeToken};
use super::windows::{self, WindowsReport};
use crate::browser::Mode;
use crate::error::DesktopError;
use crate::firefox::{WOKEN, WOKEN_VARIABLE, woken_value};

/// The extension's messages have some hundred bytes.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum Request {
    /// The extension runs.
    Started,
    /// It has this token.
    Token { token: String },
    /// Chromium has so many windows; `null` if the extension does not see all of them.
    Windows { count: Option<u32> },
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Response {
    /// Whether to report windows from now on.
    Welcome { watch: bool },
    /// The token is kept.
    Saved,
}

/// Serves the extension of the Chromium that works with the profile in `folder`, until `input` ends. Chromium names the
/// extension by `origin`.
///
/// # Errors
/// [`DesktopError::Extension`] if something else than our extension is at the other end.
pub fn serve_extension(folder: &Path, origin: &str, input: impl Read, output: impl Write) -> Result<(), DesktopError> {
    if origin != format!("chrome-extension://{EXTENSION_ID}/") {
        return Err(DesktopError::Extension("another extension has started this program".to_owned()));
    }
    let browser = process_of(folder)
        .ok_or_else(|| DesktopError::Extension(format!("no Chromium works with the profile {}", folder.display())))?;
    let watch = std::env::var(WOKEN_VARIABLE).is_ok_and(|value| value == woken_value(Mode::Woken));
    serve(&Host { folder, browser, watch }, input, output)
}

struct Host<'a> {
    folder: &'a Path,
    browser: u32,
    /// Whether the desktop part wants to know of windows.
    watch: bool,
}

fn serve(host: &Host<'_>, mut input: impl Read, mut output: impl Write) -> Result<(), DesktopError> {
    let served = loop {
        match read(&mut input) {
            Ok(Some(request)) => match host.take(request) {
                Ok(None) => {}
                Ok(Some(response)) => write(&mut output, &response)?,
                Err(error) => break Err(error),
            },
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    // From now on windows open and close unseen.
    host.report(None)?;
    served
}

impl Host<'_> {
    fn take(&self, request: Request) -> Result<Option<Response>, DesktopError> {
        match request {
            Request::Started => {
                let file = self.folder.join(WOKEN);
                let process = self.browser.to_string();
                private_file::replace(&file, process.as_bytes()).map_err(DesktopError::io("write", &file))?;
                Ok(Some(Response::Welcome { watch: self.watch }))
            }
            Request::Token { token } => {
                let token = WakeToken::parse(&token)
                    .ok_or_else(|| DesktopError::Extension("it has a token that is none".to_owned()))?;
                token.keep(self.folder).map_err(DesktopError::io("write", &self.folder.join(token::FILE)))?;
                Ok(Some(Response::Saved))
            }
            Request::Windows { count } => self.report(count).map(|()| None),
        }
    }

    fn report(&self, windows: Option<u32>) -> Result<(), DesktopError> {
        if !self.watch {
            return Ok(());
        }
        let report = WindowsReport { browser: self.browser, host: std::process::id(), windows };
        report.write(self.folder).map_err(DesktopError::io("write", &self.folder.join(windows::FILE)))
    }
}

/// The next message; `None` at the end.
fn read(input: &mut impl Read) -> Result<Option<Request>, DesktopError> {
    let broken = |why: std::io::Error| DesktopError::Extension(format!("its message breaks off ({why})"));
    let mut length = [0; 4];
    let mut first = input.take(1);
    loop {
        match first.read(&mut length) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(error)),
        }
    }
    input.read_exact(&mut length[1..]).map_err(broken)?;
    let length = u32::from_ne_bytes(length) as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(DesktopError::Extension(format!("its message of {length} bytes is too long")));
    }
    let mut message = vec![0; length];
    input.read_exact(&mut message).map_err(broken)?;
    serde_json::from_slice(&message)
        .map(Some)
        .map_err(|why| DesktopError::Extension(format!("its message is not one of ours ({why})")))
}

fn write(output: &mut impl Write, response: &Response) -> Result<(), DesktopError> {
    let failed = |why: std::io::Error| DesktopError::Extension(format!("it takes no answer ({why})"));
    let message = serde_json::to_vec(response).map_err(|why| failed(why.into()))?;
    let length = u32::try_from(message.len()).expect("an answer has some dozen bytes");
    output.write_all(&length.to_ne_bytes()).map_err(failed)?;
    output.write_all(&message).and_then(|()| output.flush()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn framed(messages: &[&[u8]]) -> Vec<u8> {
        let frame = |message: &&[u8]| [&u32::try_from(message.len()).unwrap().to_ne_bytes()[..], message].concat();
        messages.iter().flat_map(frame).collect()
    }

    fn served(watch: bool, input: &[u8]) -> (TempDir, Result<(), DesktopError>, Vec<u8>) {
        let (folder, mut output) = (tempfile::tempdir().unwrap(), Vec::new());
        let served = serve(&Host { folder: folder.path(), browser: 7, watch }, input, &mut output);
        (folder, served, output)
    }

    #[test]
    fn the_token_and_the_windows_are_kept_where_the_desktop_part_reads_them() {
        let messages: [&[u8]; 3] =
            [br#"{"type":"started"}"#, br#"{"type":"token","token":"a:b"}"#, br#"{"type":"windows","count":2}"#];
        for watch in [false, true] {
            let (folder, served, output) = served(watch, &framed(&messages));
            served.unwrap();
            let welcome = format!(r#"{{"type":"welcome","watch":{watch}}}"#);
            assert_eq!(output, framed(&[welcome.as_bytes(), br#"{"type":"saved"}"#]));
            assert_eq!(fs::read(folder.path().join(token::FILE)).unwrap(), b"a:b");
            assert!(crate::firefox::takes_pages(folder.path(), 7));
            assert_eq!(folder.path().join(windows::FILE).exists(), watch);
            assert_eq!(windows::windows(folder.path(), 7), None, "its writer has ended");
        }
    }

    #[test]
    fn windows_are_counted_while_the_extension_is_connected() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host { folder: folder.path(), browser: 7, watch: true };
        for count in [Some(2), None, Some(0)] {
            assert_eq!(host.take(Request::Windows { count }).unwrap(), None);
            assert_eq!(windows::windows(folder.path(), 7), count);
        }
    }

    #[test]
    fn hostile_input_is_an_error_and_leaves_nothing() {
        let long = vec![b'['; MESSAGE_BYTES_MAX + 1];
        let deep = vec![b'['; MESSAGE_BYTES_MAX];
        let mut inputs: Vec<Vec<u8>> = vec![
            vec![1],
            vec![0xff; 4],
            framed(&[b"{}"])[..5].to_vec(),
            framed(&[&long]),
            framed(&[&deep]),
            framed(&[b""]),
        ];
        for message in [
            "null",
            r#"{"type":"token"}"#,
            r#"{"type":"token","token":"a b"}"#,
            r#"{"type":"token","token":7}"#,
            r#"{"type":"windows","count":-1}"#,
            r#"{"type":"windows","count":4294967296}"#,
            r#"{"type":"unknown"}"#,
        ] {
            inputs.push(framed(&[message.as_bytes()]));
        }
        for input in inputs {
            let (folder, served, output) = served(false, &input);
            let error = served.unwrap_err();
            assert!(matches!(error, DesktopError::Extension(_)), "{error}");
            assert_eq!((fs::read_dir(folder.path()).unwrap().count(), output.len()), (0, 0));
        }
    }

    #[test]
    fn another_extension_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for origin in ["", EXTENSION_ID, "chrome-extension://mhjfbmdgcfjbbpaeojofohoefgiehjai/"] {
            let error = serve_extension(folder.path(), origin, &[][..], Vec::new()).unwrap_err().to_string();
            assert!(error.contains("another extension"), "{error}");
        }
    }
}
