//! Parses the arguments of `doorbell send`.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use doorbell_protocol::headers::ttl::Ttl;
use doorbell_sender::origins::{OriginMap, UnmappedChromium};
use doorbell_sender::request::PAYLOAD_MAX;
use doorbell_sender::subscription::{SUBSCRIPTION_JSON_MAX, Subscription};

const STDIN: &str = "-";

/// A file, standard input, or the JSON itself; with its endpoint mapped by `origins`.
pub(super) fn subscription(source: &str, origins: &OriginMap) -> Result<(Subscription, Option<UnmappedChromium>)> {
    let json = if source.trim_start().starts_with('{') {
        source.to_owned()
    } else {
        let bytes = read(Path::new(source), SUBSCRIPTION_JSON_MAX).context("cannot read the subscription")?;
        String::from_utf8(bytes).context("the subscription is not text")?
    };
    Subscription::from_json_mapped(&json, origins).context("the subscription cannot be used")
}

/// An argument, standard input or a file.
pub(super) fn payload(text: Option<&str>, file: Option<&Path>) -> Result<Vec<u8>> {
    match (text, file) {
        (Some(text), _) if text != STDIN => Ok(text.as_bytes().to_vec()),
        (_, Some(file)) => read(file, PAYLOAD_MAX).context("cannot read the message"),
        (_, None) => read(Path::new(STDIN), PAYLOAD_MAX).context("cannot read the message"),
    }
}

/// Whether both would be read from standard input, which has only one end.
pub(super) fn both_stdin(subscription: &str, text: Option<&str>, file: Option<&Path>) -> bool {
    subscription == STDIN && (text == Some(STDIN) || file == Some(Path::new(STDIN)))
}

fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>> {
    let input: Box<dyn Read> = if path == Path::new(STDIN) {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).with_context(|| path.display().to_string())?)
    };
    let mut bytes = Vec::new();
    // One byte more, to see that the input is too long.
    input.take(bytes_max as u64 + 1).read_to_end(&mut bytes).with_context(|| path.display().to_string())?;
    ensure!(bytes.len() <= bytes_max, "it is longer than {bytes_max} bytes");
    Ok(bytes)
}

/// `90`, `90s`, `5m`, `2h` or `1d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (number, secs) = match text.char_indices().next_back() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        Some((at, 'd')) => (&text[..at], 86_400),
        _ => (text, 1),
    };
    let wrong = || "not a time such as 90, 30s, 5m, 2h or 1d".to_owned();
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(secs).map(Duration::from_secs).ok_or_else(wrong)
}

/// The same as a TTL.
pub(super) fn ttl(text: &str) -> Result<Ttl, String> {
    duration(text).map(|time| Ttl::from_secs(u32::try_from(time.as_secs()).unwrap_or(/* the longest */ u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_have_a_unit() {
        for (text, secs) in [("0", 0), ("90", 90), ("30s", 30), ("5m", 300), ("2h", 7200), ("1d", 86_400)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(secs)), "{text}");
            assert_eq!(ttl(text).map(u64::from_ttl), Ok(secs), "{text}");
        }
        assert_eq!(ttl("99999999999d"), Ok(Ttl::MAX));
        for wrong in ["", "s", "-1", "+1", "1.5h", "1w", "h1", "1 h", "é", "99999999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    trait FromTtl {
        fn from_ttl(ttl: Ttl) -> Self;
    }

    impl FromTtl for u64 {
        fn from_ttl(ttl: Ttl) -> Self {
            ttl.as_secs().into()
        }
    }

    #[test]
    fn a_message_is_an_argument_or_a_file_and_has_a_largest_length() {
        assert_eq!(payload(Some("ding"), None).unwrap(), b"ding");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![0; PAYLOAD_MAX]).unwrap();
        assert_eq!(payload(None, Some(file.path())).unwrap().len(), PAYLOAD_MAX);
        std::fs::write(file.path(), vec![0; PAYLOAD_MAX + 1]).unwrap();
        let error = format!("{:#}", payload(None, Some(file.path())).unwrap_err());
        assert!(error.contains("longer than 3993 bytes"), "{error}");
    }

    #[test]
    fn standard_input_is_read_once() {
        assert!(both_stdin("-", Some("-"), None));
        assert!(both_stdin("-", None, Some(Path::new("-"))));
        assert!(!both_stdin("-", Some("ding"), None) && !both_stdin("sub.json", Some("-"), None));
    }
}
