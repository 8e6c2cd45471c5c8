//! Every setting, once: the flag, the environment variable and the TOML key have the same name.
//!
//! Help shows them in groups and hides the environment variables: their names follow from the flags.

use std::path::PathBuf;

use serde::Deserialize;

use super::compat::Compat;
use super::database::DatabaseUrl;
use super::listen::{self, ListenAddress};
use super::log::LogFormat;

/// Declares the settings, their defaults, and how one layer (flags and environment) overrides another (the file).
macro_rules! settings {
    ($($(#[$meta:meta])* $name:ident: $type:ty $(= $default:expr)?,)*) => {
        /// The settings of one layer; `None` leaves the value to the layer below.
        #[derive(Clone, Debug, Default, clap::Args, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Settings {
            $($(#[$meta])* pub $name: Option<$type>,)*
        }

        impl Settings {
            /// The names in the TOML file.
            pub const NAMES: &[&str] = &[$(stringify!($name)),*];

            /// These settings; where one is missing, the one of `below`.
            #[must_use]
            pub fn over(self, below: Self) -> Self {
                Self { $($name: self.$name.or(below.$name),)* }
            }

            /// The names of the settings that have another value in `other`. Where none is set, the default counts.
            pub(super) fn differing(&self, other: &Self) -> Vec<&'static str> {
                let mut names = Vec::new();
                $({
                    let (ours, theirs) = (self.$name.clone(), other.$name.clone());
                    $(let (ours, theirs) = (ours.or(Some($default)), theirs.or(Some($default)));)?
                    if ours != theirs {
                        names.push(stringify!($name));
                    }
                })*
                names
            }

            /// These settings, with those of `other` under these names.
            pub(super) fn with(self, names: &[&str], other: &Self) -> Self {
                Self { $($name: if names.contains(&stringify!($name)) { other.$name.clone() } else { self.$name },)* }
            }
        }

        /// The settings that have a default: the value, or the default if no layer sets it.
        impl Settings {
            $($(
                pub(super) fn $name(&self) -> $type {
                    self.$name.unwrap_or($default)
                }
            )?)*
        }
    };
}

/// The groups of the help.
const DATABASE: &str = "Database";
const ADDRESS: &str = "Address and TLS";
const MESSAGES: &str = "Messages";
const LIMITS: &str = "Limits";
const RECEIPTS: &str = "Receipts and events";
const FIREFOX: &str = "Firefox";
const CHROMIUM: &str = "Chromium";
const LOG: &str = "Log";

settings! {
    /// The directory of messages, keys and the self-signed CA [default: $XDG_STATE_HOME/doorbell or ~/.local/state/doorbell]
    #[arg(long, env = "DOORBELL_STATE_DIR", hide_env = true, value_name = "DIR")]
    state_dir: PathBuf,

    /// Store messages in PostgreSQL: `postgres://USER@HOST/DATABASE` [default: a file in the state directory]
    #[arg(long, env = "DOORBELL_DATABASE", hide_env = true, help_heading = DATABASE, value_name = "URL")]
    database: DatabaseUrl,

    /// A file with the password of the database's user: in the URL of a flag, other users of this machine could read it
    #[arg(
        long, env = "DOORBELL_DATABASE_PASSWORD_FILE", hide_env = true, help_heading = DATABASE, value_name = "FILE"
    )]
    database_password_file: PathBuf,

    /// Accept a server without synchronous standbys: each message is on one server alone [default: false]
    #[arg(
        long, env = "DOORBELL_ALLOW_SINGLE_COPY", hide_env = true, help_heading = DATABASE,
        num_args = 0..=1, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL"
    )]
    allow_single_copy: bool = false,

    /// Address and port to listen on; port 0 takes a free one. May be repeated; `tls:`, `plain:` (without TLS) or `mcs:`
    /// (Chromium's stream only, with TLS) before the address says what is served there [default: 127.0.0.1:8443]
    #[arg(
        long, env = "DOORBELL_LISTEN", hide_env = true, help_heading = ADDRESS, value_delimiter = ',',
        value_name = "[tls:|plain:|mcs:]ADDR:PORT"
    )]
    #[serde(deserialize_with = "listen::one_or_more")]
    listen: Vec<ListenAddress>,

    /// The origin that push URLs begin with, as clients outside reach it: `https://push.example.org` [default: from --listen]
    #[arg(long, env = "DOORBELL_PUBLIC_URL", hide_env = true, help_heading = ADDRESS, value_name = "URL")]
    public_url: String,

    /// The name of this host on the Internet: serves it on port 443 of every address, with a certificate by ACME
    #[arg(long, env = "DOORBELL_DOMAIN", hide_env = true, help_heading = ADDRESS, value_name = "NAME")]
    domain: String,

    /// The directory of the certificate authority; to use it agrees to its terms of service [default: Let's Encrypt's]
    #[arg(long, env = "DOORBELL_ACME_DIRECTORY", hide_env = true, help_heading = ADDRESS, value_name = "URL")]
    acme_directory: String,

    /// The CA (PEM) of the directory's own certificate, if this machine does not trust it
    #[arg(long, env = "DOORBELL_ACME_CA", hide_env = true, help_heading = ADDRESS, value_name = "FILE")]
    acme_ca: PathBuf,

    /// A mail address for the certificate authority
    #[arg(long, env = "DOORBELL_ACME_CONTACT", hide_env = true, help_heading = ADDRESS, value_name = "ADDRESS")]
    acme_contact: String,

    /// The kind of certificate, such as shortlived, if the authority offers several
    #[arg(long, env = "DOORBELL_ACME_PROFILE", hide_env = true, help_heading = ADDRESS, value_name = "NAME")]
    acme_profile: String,

    /// The key identifier of an account at the authority (external account binding)
    #[arg(long, env = "DOORBELL_ACME_BINDING_ID", hide_env = true, help_heading = ADDRESS, value_name = "ID")]
    acme_binding_id: String,

    /// The file with the HMAC key of that account, in base64url
    #[arg(long, env = "DOORBELL_ACME_BINDING_KEY_FILE", hide_env = true, help_heading = ADDRESS, value_name = "FILE")]
    acme_binding_key_file: PathBuf,

    /// Certificate chain (PEM); without it a self-signed CA in the state directory signs one for localhost
    #[arg(long, env = "DOORBELL_TLS_CERT", hide_env = true, help_heading = ADDRESS, value_name = "FILE")]
    tls_cert: PathBuf,

    /// Private key of --tls-cert (PEM)
    #[arg(long, env = "DOORBELL_TLS_KEY", hide_env = true, help_heading = ADDRESS, value_name = "FILE")]
    tls_key: PathBuf,

    /// Serve without TLS where --listen names nothing else: on a loopback address, or anywhere with --trust-proxy
    #[arg(
        long, env = "DOORBELL_PLAIN", hide_env = true, help_heading = ADDRESS,
        num_args = 0..=1, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL"
    )]
    plain: bool = false,

    /// A reverse proxy in front ends TLS; needs --public-url
    #[arg(
        long, env = "DOORBELL_TRUST_PROXY", hide_env = true, help_heading = ADDRESS,
        num_args = 0..=1, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL"
    )]
    trust_proxy: bool = false,

    /// Networks of proxies that pass TCP through and name their client by the PROXY protocol (version 1 or 2), such as
    /// '127.0.0.1,10.0.0.0/8'; each connection from there must begin with its header [default: none]
    #[arg(
        long, env = "DOORBELL_PROXY_PROTOCOL_FROM", hide_env = true, help_heading = ADDRESS,
        value_delimiter = ',', value_name = "NETWORK"
    )]
    proxy_protocol_from: Vec<String>,

    /// Networks of proxies for HTTP that end X-Forwarded-For with their client's address: what one source may create counts
    /// for that address [default: none]
    #[arg(
        long, env = "DOORBELL_FORWARDED_FOR_FROM", hide_env = true, help_heading = ADDRESS,
        value_delimiter = ',', value_name = "NETWORK"
    )]
    forwarded_for_from: Vec<String>,

    /// Redirect agents that want to subscribe (307, RFC 8030 s7.1): the URL of another subscribe resource
    #[arg(long, env = "DOORBELL_SUBSCRIBE_REDIRECT", hide_env = true, help_heading = ADDRESS, value_name = "URL")]
    subscribe_redirect: String,

    /// Offer another place for the same URLs (RFC 7838), such as 'h2=":1001"' for the port that IANA assigned to Web Push
    #[arg(long, env = "DOORBELL_ALT_SVC", hide_env = true, help_heading = ADDRESS, value_name = "VALUE")]
    alt_svc: String,

    /// Another address, for metrics, health and status, on loopback only: 127.0.0.1:9191 or unix:/PATH [default: none]
    #[arg(long, env = "DOORBELL_ADMIN_LISTEN", hide_env = true, help_heading = ADDRESS, value_name = "ADDR")]
    admin_listen: String,

    /// The longest time a message is kept, in seconds; longer TTLs are shortened [default: 2592000, 30 days]
    #[arg(long, env = "DOORBELL_TTL_MAX_SECS", hide_env = true, help_heading = MESSAGES, value_name = "SECS")]
    ttl_max_secs: u32 = 2_592_000,

    /// The largest message body, in bytes, at least 4096 (RFC 8030 s7.2) [default: 4096; 5630 with --compat mozilla]
    #[arg(long, env = "DOORBELL_BODY_MAX", hide_env = true, help_heading = MESSAGES, value_name = "BYTES")]
    body_max: usize,

    /// `mozilla`: answer as Mozilla's push service does, for senders that expect it: 410 with Cache-Control, 401 for wrong
    /// VAPID credentials, bodies of 5630 bytes, errors for broadcasts that are not there [default: rfc]
    #[arg(
        long, env = "DOORBELL_COMPAT", hide_env = true, help_heading = MESSAGES, hide_possible_values = true,
        value_name = "rfc|mozilla"
    )]
    compat: Compat = Compat::Rfc,

    /// A message that was pushed and not acknowledged is offered again after this time [default: 30]
    #[arg(long, env = "DOORBELL_ACK_TIMEOUT_SECS", hide_env = true, help_heading = MESSAGES, value_name = "SECS")]
    ack_timeout_secs: u64 = 30,

    /// Reject VAPID tokens whose `aud` is the service's origin without its port; otherwise they pass, with a log line [default: false]
    #[arg(
        long, env = "DOORBELL_STRICT_AUDIENCE", hide_env = true, help_heading = MESSAGES,
        num_args = 0..=1, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL"
    )]
    strict_audience: bool = false,

    /// The answer to a push to a removed subscription: 404 (RFC 8030) or 410 (as Mozilla, Google and Apple answer) [default: 404;
    /// 410 with --compat mozilla]
    #[arg(long, env = "DOORBELL_GONE_STATUS", hide_env = true, help_heading = MESSAGES, value_name = "STATUS")]
    gone_status: u16,

    /// The answer to wrong VAPID credentials: 403 (RFC 8292) or 401 (as Mozilla answers) [default: 403; 401 with --compat mozilla]
    #[arg(long, env = "DOORBELL_VAPID_STATUS", hide_env = true, help_heading = MESSAGES, value_name = "STATUS")]
    vapid_status: u16,

    /// Messages kept for one user agent, at most half of them for one subscription; above it senders get 429 [default: 20000]
    #[arg(long, env = "DOORBELL_MESSAGES_PER_AGENT_MAX", hide_env = true, help_heading = LIMITS, value_name = "N")]
    messages_per_agent_max: u32 = 20_000,

    /// Bytes of bodies kept for one user agent, at most half of them for one subscription [default: 33554432]
    #[arg(long, env = "DOORBELL_BYTES_PER_AGENT_MAX", hide_env = true, help_heading = LIMITS, value_name = "BYTES")]
    bytes_per_agent_max: u64 = 32 << 20,

    /// Subscriptions of one user agent; above it subscribing gets 429 [default: 1000]
    #[arg(long, env = "DOORBELL_SUBSCRIPTIONS_PER_AGENT_MAX", hide_env = true, help_heading = LIMITS, value_name = "N")]
    subscriptions_per_agent_max: u32 = 1000,

    /// Messages to one subscription per minute, 0 for no limit; above it senders get 429 [default: 1200]
    #[arg(long, env = "DOORBELL_RATE_PER_SUBSCRIPTION", hide_env = true, help_heading = LIMITS, value_name = "N")]
    rate_per_subscription: u32 = 1200,

    /// Messages from one application server key per minute, 0 for no limit; above it the sender gets 429 [default: 120000]
    #[arg(long, env = "DOORBELL_RATE_PER_KEY", hide_env = true, help_heading = LIMITS, value_name = "N")]
    rate_per_key: u32 = 120_000,

    /// User agents in the whole store; above it new ones get 429 [default: 200000]
    #[arg(long, env = "DOORBELL_AGENTS_MAX", hide_env = true, help_heading = LIMITS, value_name = "N")]
    agents_max: u32 = 200_000,

    /// Of these, agents that were never sent a message nor seen again; near it, those not seen for 7 days are removed [default: 50000]
    #[arg(long, env = "DOORBELL_UNUSED_AGENTS_MAX", hide_env = true, help_heading = LIMITS, value_name = "N")]
    unused_agents_max: u32 = 50_000,

    /// New user agents per minute, from all clients together, 0 for no limit; above it they get 429 [default: 3000]
    #[arg(long, env = "DOORBELL_NEW_AGENTS_PER_MINUTE", hide_env = true, help_heading = LIMITS, value_name = "N")]
    new_agents_per_minute: u32 = 3_000,

    /// The same from one source, an IPv4 address or an IPv6 /64, 0 for no limit [default: 600]
    #[arg(long, env = "DOORBELL_NEW_AGENTS_PER_SOURCE", hide_env = true, help_heading = LIMITS, value_name = "N")]
    new_agents_per_source: u32 = 600,

    /// Subscriptions in the whole store; above it new ones get 429 [default: 500000]
    #[arg(long, env = "DOORBELL_SUBSCRIPTIONS_MAX", hide_env = true, help_heading = LIMITS, value_name = "N")]
    subscriptions_max: u32 = 500_000,

    /// Bytes of messages and receipts in the whole store, with 256 more for each message; above it senders get 429 [default: 4294967296]
    #[arg(long, env = "DOORBELL_STORED_BYTES_MAX", hide_env = true, help_heading = LIMITS, value_name = "BYTES")]
    stored_bytes_max: u64 = 4 << 30,

    /// A file of this size is given up when the disk is full, so that room can be freed; 0 for none [default: 16777216]
    #[arg(long, env = "DOORBELL_DISK_RESERVE_BYTES", hide_env = true, help_heading = LIMITS, value_name = "BYTES")]
    disk_reserve_bytes: u64 = 16 << 20,

    /// With less free disk than this, new messages get 429, and new agents with less than twice as much; 0 for no limit [default: 134217728]
    #[arg(long, env = "DOORBELL_DISK_FLOOR_BYTES", hide_env = true, help_heading = LIMITS, value_name = "BYTES")]
    disk_floor_bytes: u64 = 128 << 20,

    /// Connections open at once; above it idle ones without a subscription are closed, then new ones wait [default: 16384]
    #[arg(long, env = "DOORBELL_CONNECTIONS_MAX", hide_env = true, help_heading = LIMITS, value_name = "N")]
    connections_max: usize = 16_384,

    /// Connections of one source, an IPv4 address or an IPv6 /64, 0 for no limit; more are closed at once [default: a quarter of --connections-max]
    #[arg(
        long, env = "DOORBELL_CONNECTIONS_PER_SOURCE_MAX", hide_env = true, help_heading = LIMITS, value_name = "N"
    )]
    connections_per_source_max: usize,

    /// Networks of proxies, whose connections come from many sources and are not counted, such as '127.0.0.1,10.0.0.0/8' [default: with
    /// --trust-proxy, all connections without TLS]
    #[arg(
        long, env = "DOORBELL_TRUSTED_PROXIES", hide_env = true, help_heading = LIMITS,
        value_delimiter = ',', value_name = "NETWORK"
    )]
    trusted_proxies: Vec<String>,

    /// Agents and receipt subscriptions that were not used for this long are removed [default: 90]
    #[arg(long, env = "DOORBELL_IDLE_EXPIRY_DAYS", hide_env = true, help_heading = LIMITS, value_name = "DAYS")]
    idle_expiry_days: u32 = 90,

    /// An HTTP/2 connection without a request is closed after this time; one of HTTP/1.1 after 10 s [default: 120]
    #[arg(long, env = "DOORBELL_IDLE_TIMEOUT_SECS", hide_env = true, help_heading = LIMITS, value_name = "SECS")]
    idle_timeout_secs: u64 = 120,

    /// How long stopping may take: requests in progress are finished, then the rest is cut [default: 10]
    #[arg(long, env = "DOORBELL_DRAIN_TIMEOUT_SECS", hide_env = true, help_heading = LIMITS, value_name = "SECS")]
    drain_timeout_secs: u64 = 10,

    /// Receipts kept for an application server that does not fetch them; above it, asking for more gets 429 [default: 10000]
    #[arg(
        long, env = "DOORBELL_RECEIPTS_PER_SUBSCRIPTION_MAX", hide_env = true, help_heading = RECEIPTS,
        value_name = "N"
    )]
    receipts_per_subscription_max: u32 = 10_000,

    /// Receipt subscriptions in the whole store; above it new ones get 429 [default: 50000]
    #[arg(long, env = "DOORBELL_RECEIPT_SUBSCRIPTIONS_MAX", hide_env = true, help_heading = RECEIPTS, value_name = "N")]
    receipt_subscriptions_max: u32 = 50_000,

    /// Of these, those from which no receipt was ever fetched; near it, those unused for 2 days are removed [default: 20000]
    #[arg(
        long, env = "DOORBELL_UNUSED_RECEIPT_SUBSCRIPTIONS_MAX", hide_env = true, help_heading = RECEIPTS,
        value_name = "N"
    )]
    unused_receipt_subscriptions_max: u32 = 20_000,

    /// New receipt subscriptions per minute, from all senders together, 0 for no limit; above it they get 429 [default: 3000]
    #[arg(
        long, env = "DOORBELL_NEW_RECEIPT_SUBSCRIPTIONS_PER_MINUTE", hide_env = true, help_heading = RECEIPTS,
        value_name = "N"
    )]
    new_receipt_subscriptions_per_minute: u32 = 3_000,

    /// The same from one source, an IPv4 address or an IPv6 /64, 0 for no limit [default: 600]
    #[arg(
        long, env = "DOORBELL_NEW_RECEIPT_SUBSCRIPTIONS_PER_SOURCE", hide_env = true, help_heading = RECEIPTS,
        value_name = "N"
    )]
    new_receipt_subscriptions_per_source: u32 = 600,

    /// A quiet event stream sends a comment this often, so that proxies keep it open [default: 30]
    #[arg(long, env = "DOORBELL_KEEPALIVE_SECS", hide_env = true, help_heading = RECEIPTS, value_name = "SECS")]
    keepalive_secs: u64 = 30,

    /// Serve Firefox and others with its WebSocket protocol, at `/` [default: true]
    #[arg(
        long, env = "DOORBELL_FIREFOX", hide_env = true, help_heading = FIREFOX,
        num_args = 0..=1, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL"
    )]
    firefox: bool = true,

    /// Another path at which Firefox's protocol is served, for a proxy that routes by path [default: none]
    #[arg(long, env = "DOORBELL_FIREFOX_PATH", hide_env = true, help_heading = FIREFOX, value_name = "PATH")]
    firefox_path: String,

    /// Ping quiet WebSockets this often, where a proxy cuts idle connections; 0: never, since clients do [default: 0]
    #[arg(long, env = "DOORBELL_FIREFOX_PING_SECS", hide_env = true, help_heading = FIREFOX, value_name = "SECS")]
    firefox_ping_secs: u64 = 0,

    /// Broadcasts that Firefox gets, such as 'remote-settings/monitor_changes="1689160823"' [default: none]
    #[arg(
        long, env = "DOORBELL_FIREFOX_BROADCASTS", hide_env = true, help_heading = FIREFOX,
        value_delimiter = ',', value_name = "ID=VERSION"
    )]
    firefox_broadcasts: Vec<String>,

    /// Serve Chromium that was started with its `--gcm-…` switches: check-in, registration and MCS [default: true]
    #[arg(
        long, env = "DOORBELL_CHROMIUM", hide_env = true, help_heading = CHROMIUM,
        num_args = 0..=1, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL"
    )]
    chromium: bool = true,

    /// How long a connection may be quiet before Chromium sends a heartbeat, 30 to 1740 [default: 240]
    #[arg(
        long, env = "DOORBELL_CHROMIUM_HEARTBEAT_SECS", hide_env = true, help_heading = CHROMIUM,
        value_name = "SECS"
    )]
    chromium_heartbeat_secs: u64 = 240,

    /// New Chromium devices per minute, 0 for no limit; above it they get 429 [default: 600]
    #[arg(
        long, env = "DOORBELL_CHROMIUM_ENROLMENTS_PER_MINUTE", hide_env = true, help_heading = CHROMIUM,
        value_name = "N"
    )]
    chromium_enrolments_per_minute: u32 = 600,

    /// The same from one source, an IPv4 address or an IPv6 /64 [default: 60]
    #[arg(
        long, env = "DOORBELL_CHROMIUM_ENROLMENTS_PER_SOURCE", hide_env = true, help_heading = CHROMIUM,
        value_name = "N"
    )]
    chromium_enrolments_per_source: u32 = 60,

    /// What to log to stderr: error, warn, info, debug, trace, off, or a filter such as `warn,doorbell_service=debug` [default: info]
    #[arg(long, env = "DOORBELL_LOG", hide_env = true, help_heading = LOG, value_name = "FILTER")]
    log: String,

    /// How to log: lines for people, or one JSON object in each line [default: text]
    #[arg(
        long, env = "DOORBELL_LOG_FORMAT", hide_env = true, help_heading = LOG, hide_possible_values = true,
        value_name = "text|json"
    )]
    log_format: LogFormat = LogFormat::Text,

    /// Log each request: its id, door, status, errno and duration, without URLs and addresses [default: false]
    #[arg(
        long, env = "DOORBELL_ACCESS_LOG", hide_env = true, help_heading = LOG,
        num_args = 0..=1, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL"
    )]
    access_log: bool = false,
}
