//! How Chromium's protocol is served.

use std::time::Duration;

use super::error::ConfigError;
use super::settings::Settings;

/// The door of unmodified Chromium: check-in, registration and MCS.
#[derive(Clone, Copy, Debug)]
pub struct ChromiumSettings {
    /// Whether it is open.
    pub enabled: bool,
    /// The port at which browsers reach the stream (MCS), if it is not that of [`Place::mcs_port`](super::Place::mcs_port).
    pub mcs_port: Option<u16>,
    /// How long a connection may be quiet before Chromium sends a heartbeat.
    pub heartbeat: Duration,
    /// New devices per minute, 0 for no limit: a client needs no credentials to create one.
    pub enrolments_per_minute: u32,
    /// The same from one source, so that none uses up what is for all.
    pub enrolments_per_source: u32,
}

/// Shorter heartbeats keep a mobile radio awake for nothing. With longer ones, most NATs forget the connection after
/// half an hour, and Chromium does not notice that it receives nothing.
const HEARTBEAT_SECS: std::ops::RangeInclusive<u64> = 30..=1740;

impl ChromiumSettings {
    pub(super) fn from_settings(s: &Settings) -> Result<Self, ConfigError> {
        let heartbeat_secs = s.chromium_heartbeat_secs();
        if !HEARTBEAT_SECS.contains(&heartbeat_secs) {
            let (least, most) = (HEARTBEAT_SECS.start(), HEARTBEAT_SECS.end());
            return Err(ConfigError::Unfit(format!(
                "chromium_heartbeat_secs must be between {least} (more often drains batteries) and {most} (NATs forget \
                 connections that are quiet for half an hour)"
            )));
        }
        if s.chromium_mcs_port == Some(0) {
            return Err(ConfigError::Unfit(
                "chromium_mcs_port is the port that browsers connect to, 1 to 65535: leave it out for the port that the \
                 service listens on"
                    .to_owned(),
            ));
        }
        Ok(Self {
            mcs_port: s.chromium_mcs_port,
            enabled: s.chromium(),
            heartbeat: Duration::from_secs(heartbeat_secs),
            enrolments_per_minute: s.chromium_enrolments_per_minute(),
            enrolments_per_source: s.chromium_enrolments_per_source(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_that_would_drain_batteries_or_come_too_late_is_refused() {
        let with = |secs| {
            ChromiumSettings::from_settings(&Settings { chromium_heartbeat_secs: Some(secs), ..Settings::default() })
        };
        for secs in [0, 29, 1741, u64::MAX] {
            assert!(with(secs).is_err(), "{secs}");
        }
        assert_eq!(with(30).unwrap().heartbeat, Duration::from_secs(30));
    }

    #[test]
    fn a_port_that_no_browser_can_connect_to_is_refused() {
        let with =
            |port| ChromiumSettings::from_settings(&Settings { chromium_mcs_port: Some(port), ..Settings::default() });
        assert!(with(0).unwrap_err().to_string().contains("1 to 65535"));
        assert_eq!(with(5228).unwrap().mcs_port, Some(5228));
    }
}
