//! A reload: which settings it changes, and which ones only a restart does.

use serde::{Deserialize, Serialize};

use super::Config;
use super::error::ConfigError;

/// The settings that only a restart changes: where the service is found, who vouches for it, and the files that it holds.
/// Every other one takes effect at a reload. A setting belongs here if something reads it at the start alone.
const AT_START: [&str; 21] = [
    "state_dir",
    "database",
    "database_password_file",
    "allow_single_copy",
    "cells",
    "listen",
    "public_url",
    "admin_listen",
    "domain",
    "acme_directory",
    "acme_ca",
    "acme_contact",
    "acme_profile",
    "acme_binding_id",
    "acme_binding_key_file",
    "tls_cert",
    "tls_key",
    "plain",
    "disk_reserve_bytes",
    "proxy_protocol_from",
    "forwarded_for_from",
];

/// What a reload did, by the names of the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// They have new values from now on.
    pub changed: Vec<String>,
    /// They have other values in the configuration than in the service, until it is restarted.
    pub needs_restart: Vec<String>,
}

impl Config {
    /// What is in force after a reload of `next`: its settings, except those that need a restart.
    ///
    /// # Errors
    /// [`ConfigError::NotBeforeRestart`] if the two parts do not fit together. Then nothing changes.
    pub(crate) fn reloaded(&self, next: &Self) -> Result<(Self, Changes), ConfigError> {
        let mut differing = self.settings.differing(&next.settings);
        // Its default depends on other settings.
        differing.retain(|name| *name != "listen" || self.place.listen != next.place.listen);
        let (at_start, changed): (Vec<&str>, Vec<&str>) =
            differing.into_iter().partition(|name| AT_START.contains(name));
        let settings = next.settings.clone().with(&AT_START, &self.settings);
        let config = Self::from_settings(settings)
            .map_err(|source| ConfigError::NotBeforeRestart { names: at_start.join(", "), source: Box::new(source) })?;
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        Ok((config, Changes { changed: owned(changed), needs_restart: owned(at_start) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Limits, LogSettings, Settings};

    /// Another value than the default for each setting, with those that it needs.
    const SAMPLES: &str = "
        state_dir = '/elsewhere'
        database = 'postgres://doorbell@db1/doorbell'
        database_password_file = 'PASSWORD_FILE'; database = 'postgres://doorbell@db1/doorbell'
        allow_single_copy = true; database = 'postgres://doorbell@db1/doorbell'
        cells = ['disk2']
        listen = '127.0.0.1:1'
        public_url = 'https://push.example.org'
        admin_listen = '127.0.0.1:9'
        domain = 'push.example.org'
        acme_directory = 'https://acme.example.org/directory'; domain = 'push.example.org'
        acme_ca = '/ca.pem'; domain = 'push.example.org'
        acme_contact = 'admin@example.org'; domain = 'push.example.org'
        acme_profile = 'shortlived'; domain = 'push.example.org'
        acme_binding_id = 'id'; acme_binding_key_file = '/key'; domain = 'push.example.org'
        acme_binding_key_file = '/key'; acme_binding_id = 'id'; domain = 'push.example.org'
        tls_cert = '/cert.pem'; tls_key = '/key.pem'
        tls_key = '/key.pem'; tls_cert = '/cert.pem'
        plain = true
        trust_proxy = true
        subscribe_redirect = 'https://b.example.org/subscribe'
        alt_svc = 'h2=\":1001\"'
        ttl_max_secs = 7
        body_max = 5000
        compat = 'mozilla'
        ack_timeout_secs = 7
        strict_audience = true
        gone_status = 410
        vapid_status = 401
        messages_per_agent_max = 7
        bytes_per_agent_max = 7
        subscriptions_per_agent_max = 7
        rate_per_subscription = 7
        rate_per_key = 7
        agents_max = 7
        unused_agents_max = 7
        new_agents_per_minute = 7
        new_agents_per_source = 7
        subscriptions_max = 7
        stored_bytes_max = 7
        disk_reserve_bytes = 0
        disk_floor_bytes = 7
        connections_max = 7
        connections_per_source_max = 7
        trusted_proxies = ['10.0.0.0/8']
        proxy_protocol_from = ['10.0.0.1']
        forwarded_for_from = ['10.0.0.1']; plain = true
        idle_expiry_days = 7
        idle_timeout_secs = 7
        drain_timeout_secs = 7
        receipts_per_subscription_max = 7
        receipt_subscriptions_max = 7
        unused_receipt_subscriptions_max = 7
        new_receipt_subscriptions_per_minute = 7
        new_receipt_subscriptions_per_source = 7
        keepalive_secs = 7
        firefox = false
        firefox_path = '/push'
        firefox_ping_secs = 7
        firefox_broadcasts = ['a=b']
        chromium = false
        chromium_mcs_port = 5228
        chromium_heartbeat_secs = 77
        chromium_enrolments_per_minute = 7
        chromium_enrolments_per_source = 7
        log = 'warn'
        log_format = 'json'
        access_log = true";

    fn config(toml: &str) -> Config {
        let settings: Settings = toml::from_str(toml).unwrap_or_else(|error| panic!("{toml}: {error}"));
        let state_dir = settings.state_dir.clone().or_else(|| Some("/state".into()));
        Config::from_settings(Settings { state_dir, ..settings }).unwrap_or_else(|error| panic!("{toml}: {error}"))
    }

    /// Everything that a running service reads of its configuration.
    fn in_force(config: &Config) -> [String; 2] {
        let Config {
            place,
            state_dir,
            database,
            cells,
            admin,
            limits,
            sources,
            http,
            firefox,
            chromium,
            log,
            new_ca,
            strict_audience,
            settings: _,
        } = config;
        let disk_reserve_bytes = limits.disk_reserve_bytes;
        let limits = Limits { disk_reserve_bytes: 0, ..*limits };
        let LogSettings { filter, format } = log;
        [
            format!("{place:?} {state_dir:?} {database:?} {cells:?} {admin:?} {disk_reserve_bytes} {new_ca}"),
            format!("{limits:?} {sources:?} {http:?} {firefox:?} {chromium:?} {filter} {format:?} {strict_audience}"),
        ]
    }

    #[test]
    fn every_setting_takes_effect_at_a_reload_or_is_named_as_one_that_needs_a_restart() {
        // Its file is read with the setting.
        let password = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(password.path(), "secret\n").unwrap();
        let samples = SAMPLES.replace("PASSWORD_FILE", &password.path().display().to_string());
        let samples: Vec<(&str, String)> = samples
            .lines()
            .filter_map(|line| Some((line.split_once('=')?.0.trim(), line.trim().replace("; ", "\n"))))
            .collect();
        let running = config("");
        for name in Settings::NAMES {
            let (_, sample) =
                samples.iter().find(|(of, _)| of == name).unwrap_or_else(|| panic!("{name} has no sample"));
            let next = config(sample);
            let (reloaded, changes) = running.reloaded(&next).unwrap();
            let named = if AT_START.contains(name) { &changes.needs_restart } else { &changes.changed };
            assert!(named.iter().any(|named| named == name), "{name}: {changes:?}");
            let ([at_start, live], [_, live_next]) = (in_force(&reloaded), in_force(&next));
            assert_eq!(at_start, in_force(&running)[0], "{name} changes what only a restart may");
            assert_eq!(live, live_next, "{name}");
            assert_eq!(live != in_force(&running)[1], !AT_START.contains(name), "{name}");
        }
        assert_eq!(samples.len(), Settings::NAMES.len(), "each has one");
    }

    #[test]
    fn a_value_that_is_the_default_is_no_change_and_one_that_was_not_taken_over_is_named_again() {
        let running = config("ttl_max_secs = 60\nlisten = '127.0.0.1:8443'");
        let (reloaded, changes) =
            running.reloaded(&config("ttl_max_secs = 60\nbody_max = 4096\nfirefox = true")).unwrap();
        assert_eq!(changes.needs_restart, <[&str; 0]>::default());
        assert_eq!(changes.changed, ["body_max"], "it has no fixed default");
        let next = config("ttl_max_secs = 61\nlisten = '127.0.0.1:1'");
        let (reloaded, changes) = reloaded.reloaded(&next).unwrap();
        assert_eq!(
            (changes.changed, changes.needs_restart),
            (vec!["ttl_max_secs".to_owned(), "body_max".to_owned()], vec!["listen".to_owned()])
        );
        let (_, changes) = reloaded.reloaded(&next).unwrap();
        assert_eq!((changes.changed.len(), changes.needs_restart), (0, vec!["listen".to_owned()]));
    }

    #[test]
    fn settings_that_fit_together_only_after_a_restart_change_nothing() {
        let running =
            config("listen = '0.0.0.0:80'\nplain = true\ntrust_proxy = true\npublic_url = 'https://push.example.org'");
        let error = running.reloaded(&config("listen = '127.0.0.1:80'\nplain = true")).unwrap_err().to_string();
        assert!(error.contains("loopback") && error.ends_with("need: listen, public_url"), "{error}");
    }
}
