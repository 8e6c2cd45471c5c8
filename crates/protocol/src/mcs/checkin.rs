//! Check-in: the POST by which Chromium gets its id and secret, and every day or two shows them again. As captured.

use super::device::{Device, DeviceId, DeviceSecret};
use super::wire::{Fields, WireError, Writer};
use crate::time::UnixMs;

/// The content type of the question and of the answer.
pub const CONTENT_TYPE: &str = "application/x-protobuf";

/// The longest question, in bytes. Chromium's has about 100, and some more for each account that is signed in.
pub const REQUEST_MAX: usize = 16 * 1024;

/// The longest text that is read from a request, in bytes: a version, a digest.
pub const TEXT_MAX: usize = 64;

/// A check-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckinRequest {
    /// The credentials of an earlier check-in; `None` the first time. If they are wrong, 401 makes Chromium forget
    /// them, with all its subscriptions.
    pub device: Option<Device>,
    /// The version of the questions; 3 from Chromium 156.
    pub version: Option<u32>,
    /// A digest of the settings that it holds, as it makes them itself.
    pub digest: Option<String>,
    /// The browser's version ("156.0.8078.108").
    pub chrome_version: Option<String>,
}

impl CheckinRequest {
    /// Reads a question. Fields: 2 id, 3 digest, 4 {13 {2 the browser's version}}, 13 secret, 14 version. Chromium
    /// sends the id and the secret as 0 the first time; one without the other is refused.
    pub fn parse(body: &[u8]) -> Result<Self, WireError> {
        let (mut id, mut secret) = (0, 0);
        let mut read = Self { device: None, version: None, digest: None, chrome_version: None };
        for field in Fields::new(body) {
            let field = field?;
            match field.number {
                2 => id = field.varint()?,
                3 => read.digest = Some(field.text(TEXT_MAX)?.to_owned()),
                4 => read.chrome_version = chrome_version(field.bytes()?)?,
                13 => secret = field.fixed64()?,
                14 => read.version = Some(field.u32()?),
                _ => {}
            }
        }
        read.device = match (DeviceId::new(id), DeviceSecret::new(secret)) {
            (Some(id), Some(secret)) => Some(Device { id, secret }),
            (None, None) => None,
            (None, Some(_)) => return Err(WireError::Missing(2)),
            (Some(_), None) => return Err(WireError::Missing(13)),
        };
        Ok(read)
    }
}

/// Field 2 of field 13 of the inner message.
fn chrome_version(checkin: &[u8]) -> Result<Option<String>, WireError> {
    let mut version = None;
    for field in Fields::new(checkin) {
        let field = field?;
        if field.number != 13 {
            continue;
        }
        for inner in Fields::new(field.bytes()?) {
            let inner = inner?;
            if inner.number == 2 {
                version = Some(inner.text(TEXT_MAX)?.to_owned());
            }
        }
    }
    Ok(version)
}

/// The answer.
#[derive(Clone, PartialEq, Eq)]
pub struct CheckinResponse<'a> {
    /// What the device shall use from now on. A device with valid credentials gets them again.
    pub device: Device,
    /// The server's time.
    pub now: UnixMs,
    /// Where the browser finds us; without it, it keeps what its switches or an earlier answer contained.
    pub settings: Option<Settings<'a>>,
}

/// Settings that replace all that Chromium holds. It keeps them in the profile, so that its next start needs no switch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Settings<'a> {
    /// The URL of check-in.
    pub checkin_url: &'a str,
    /// The URL of registration.
    pub registration_url: &'a str,
    /// The host of the stream.
    pub mcs_host: &'a str,
    /// The port of the stream.
    pub mcs_port: u16,
    /// How often to check in, in seconds. Chromium reads less than 12 hours as 12 hours; the default is 48 hours.
    pub checkin_interval_s: Option<u32>,
}

impl CheckinResponse<'_> {
    /// The bytes of the answer. Fields: 1 all is well, 3 our time, 5 setting {1 name, 2 value} (repeated), 7 id,
    /// 8 secret, 9 whether the settings are a difference only.
    pub fn encode(&self) -> Vec<u8> {
        let mut answer = Writer::new().varint(1, 1).varint(3, self.now.as_millis().max(0).unsigned_abs());
        if let Some(settings) = &self.settings {
            for (name, value) in settings.pairs() {
                answer = answer.bytes(5, Writer::new().bytes(1, name).bytes(2, value).finish());
            }
        }
        answer = answer.fixed64(7, self.device.id.get()).fixed64(8, self.device.secret.get());
        if self.settings.is_some() { answer.varint(9, 0).finish() } else { answer.finish() }
    }
}

impl Settings<'_> {
    fn pairs(&self) -> impl Iterator<Item = (&'static str, String)> {
        let always = [
            ("checkin_url", self.checkin_url.to_owned()),
            ("gcm_hostname", self.mcs_host.to_owned()),
            ("gcm_secure_port", self.mcs_port.to_string()),
            ("gcm_registration_url", self.registration_url.to_owned()),
        ];
        always.into_iter().chain(self.checkin_interval_s.map(|interval| ("checkin_interval", interval.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcs::hex;
    use proptest::prelude::*;

    /// The first of a new profile; Chromium 156.0.8078.108.
    const FIRST: &str = "\
        10001a2a312d64613339613365653565366234623064333235356266656639353630313839306166643830373039221860\
        036a140803120e3135362e302e383037382e31303818056900000000000000007003b00100";

    #[test]
    fn the_first_check_in_as_captured_has_no_device() {
        let first = CheckinRequest::parse(&hex(FIRST)).unwrap();
        assert_eq!((first.device, first.version), (None, Some(3)));
        assert_eq!(first.digest.as_deref(), Some("1-da39a3ee5e6b4b0d3255bfef95601890afd80709"));
        assert_eq!(first.chrome_version.as_deref(), Some("156.0.8078.108"));
    }

    #[test]
    fn the_answer_has_the_bytes_that_chromium_took() {
        let device = Device::parse("3571252552137967365", "3535566535892729245").unwrap();
        let answer = CheckinResponse { device, now: UnixMs::from_millis(1_795_744_909_812), settings: None };
        assert_eq!(answer.encode(), hex("0801 18f493f3d5a134 390507645d46a38f31 419dfda43b08db1031"));
    }

    #[test]
    fn settings_come_as_names_with_values_and_replace_all() {
        let settings = Settings {
            checkin_url: "https://h/checkin",
            registration_url: "https://h/r",
            mcs_host: "h",
            mcs_port: 5228,
            checkin_interval_s: Some(43_200),
        };
        let device = Device::parse("1", "2").unwrap();
        let bytes = CheckinResponse { device, now: UnixMs::from_millis(-5), settings: Some(settings) }.encode();
        let mut found = Vec::new();
        for field in Fields::new(&bytes).map(Result::unwrap) {
            if field.number == 5 {
                let pair: Vec<_> = Fields::new(field.bytes().unwrap()).map(|f| f.unwrap().text(99).unwrap()).collect();
                found.push((pair[0], pair[1]));
            }
        }
        let expected = [
            ("checkin_url", "https://h/checkin"),
            ("gcm_hostname", "h"),
            ("gcm_secure_port", "5228"),
            ("gcm_registration_url", "https://h/r"),
            ("checkin_interval", "43200"),
        ];
        assert_eq!(found, expected);
        let difference = Fields::new(&bytes).map(Result::unwrap).find(|field| field.number == 9);
        assert_eq!(difference.map(|field| field.varint()), Some(Ok(0)));
    }

    #[test]
    fn an_id_without_a_secret_and_the_reverse_are_refused() {
        for (bytes, error) in [
            (Writer::new().varint(2, 1), WireError::Missing(13)),
            (Writer::new().varint(2, 1).fixed64(13, 0), WireError::Missing(13)),
            (Writer::new().fixed64(13, 1), WireError::Missing(2)),
            (Writer::new().bytes(2, "1"), WireError::Type(2)),
            (Writer::new().varint(13, 1), WireError::Type(13)),
            (Writer::new().bytes(3, "d".repeat(TEXT_MAX + 1)), WireError::Value(3)),
            (Writer::new().bytes(4, [0x6a, 9]), WireError::Truncated),
        ] {
            assert_eq!(CheckinRequest::parse(&bytes.finish()), Err(error));
        }
    }

    #[test]
    fn a_question_cut_anywhere_is_an_error_or_has_no_device() {
        let whole = hex(FIRST);
        for cut in 0..whole.len() {
            let device = CheckinRequest::parse(&whole[..cut]).map(|request| request.device);
            assert!(matches!(device, Ok(None) | Err(WireError::Truncated)), "{cut}: {device:?}");
        }
    }

    proptest! {
        #[test]
        fn a_device_that_is_written_is_read(id in 1u64.., secret in 1u64..) {
            let bytes = Writer::new().fixed64(13, secret).bytes(99, "?").varint(2, id).finish();
            let device = CheckinRequest::parse(&bytes).unwrap().device;
            prop_assert_eq!(device.map(|device| (device.id.get(), device.secret.get())), Some((id, secret)));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = CheckinRequest::parse(&bytes);
        }
    }
}
