//! The stream on which Chromium receives (MCS): TLS without ALPN with frames from the first byte on. Written byte by
//! byte, so that no misreading hides in a codec that both ends share.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connector::{Connector, within};
use super::report::Finding;
use super::target::Target;
use super::trust::Verifier;

/// The version of the protocol, which stands before the first frame in both directions.
const VERSION: u8 = 41;
/// The tag of a LoginRequest.
const LOGIN_REQUEST: u8 = 2;
/// The tag of a LoginResponse.
const LOGIN_RESPONSE: u8 = 3;
/// The tag of a Close.
const CLOSE: u8 = 4;

/// The step, where the rest of the service is.
pub(super) async fn check(connector: &Connector) -> Finding {
    let fix = "let the proxy pass TCP through on this port (nginx `stream`, haproxy `mode tcp`) or on another one for \
               --gcm-mcs-endpoint (doorbell serve --listen mcs:ADDR:PORT; examine it with --mcs), and see that the setting `chromium` is on; --no-chromium \
               leaves this out";
    match answered(connector).await {
        Ok([VERSION, LOGIN_RESPONSE]) => Finding::ok("a login with nonsense is answered with a LoginResponse"),
        Ok([VERSION, CLOSE]) => Finding::ok("a login with nonsense is answered with a Close"),
        Ok([VERSION, tag]) => Finding::ok(format!("a login with nonsense is answered with a frame of tag {tag}")),
        Ok([b'H', b'T']) => Finding::failed("HTTP answers where Chromium's stream should begin", fix),
        Ok(bytes) => Finding::failed(format!("the answer is not MCS ({bytes:02x?})"), fix),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Finding::failed(error, fix),
        Err(error) => Finding::failed(format!("the connection is closed on a LoginRequest: {error}"), fix),
    }
}

/// The same at another address.
pub(super) async fn check_at(url: &str, verifier: &Verifier) -> Finding {
    let target = match Target::check(url) {
        Ok((target, _)) => target,
        Err(finding) => return finding,
    };
    let addresses = match target.resolve().await {
        Ok((addresses, _)) => addresses,
        Err(finding) => return finding,
    };
    match Connector::open(target, addresses, verifier.clone()).await {
        Ok((connector, _)) => check(&connector).await,
        Err(finding) => finding,
    }
}

/// The first two bytes of the answer.
async fn answered(connector: &Connector) -> io::Result<[u8; 2]> {
    let mut stream = connector.tls(&[]).await?;
    within(async {
        stream.write_all(&login()).await?;
        stream.flush().await?;
        let mut bytes = [0; 2];
        stream.read_exact(&mut bytes).await?;
        Ok(bytes)
    })
    .await
}

/// A LoginRequest of a device that does not exist.
fn login() -> Vec<u8> {
    let mut body = Vec::new();
    let texts = [(1, "doorbell-doctor"), (2, "mcs.android.com"), (3, "1"), (4, "1"), (5, "1"), (6, "android-1")];
    for (field, text) in texts {
        body.extend([field << 3 | 2, one_byte(text.len())]);
        body.extend(text.as_bytes());
    }
    // As a Chromium has them: no adaptive heartbeat, RMQ ids, ANDROID_ID, on a network of the first kind.
    for (field, number) in [(12_u8, 0), (14, 1)] {
        body.extend([field << 3, number]);
    }
    body.extend([0x80, 0x01, 2]);
    body.extend([0x88, 0x01, 1]);
    let mut frame = vec![VERSION, LOGIN_REQUEST, one_byte(body.len())];
    frame.extend(body);
    frame
}

/// A length as a varint of one byte.
fn one_byte(length: usize) -> u8 {
    u8::try_from(length).ok().filter(|length| *length < 0x80).expect("the texts of the login are short")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_is_one_frame_whose_length_fits_into_one_byte() {
        let frame = login();
        assert_eq!(frame[..2], [0x29, 0x02]);
        assert!(frame[2] < 0x80 && usize::from(frame[2]) == frame.len() - 3, "{frame:02x?}");
        assert_eq!(frame[frame.len() - 10..], [0x60, 0, 0x70, 1, 0x80, 1, 2, 0x88, 1, 1]);
    }
}
