//! The metrics of the service: one family for each number of `counts`, the store, the clock, the certificate, the disk
//! and the process, read when a monitor asks.
//!
//! No label depends on users: doors, outcomes, statuses and error numbers are fixed lists, and each of their values is
//! always there. So are the cells of the store, of which there are [`doorbell_store::CELLS_MAX`] at most. A name that is in `docs/hosting.md` never changes its meaning.

mod families;
mod process;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use doorbell_protocol::time::UnixMs;
use doorbell_store::Store;
use http::HeaderMap;
use http::header::ACCEPT;
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;

use crate::accept::tls::CertificateResolver;
use crate::clock::Clock;
use crate::config::Live;
use crate::counts::Counts;
use crate::status::StoreStatus;
use families::Families;
use process::Looker;

/// The media type of OpenMetrics.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is measured.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    is_ready: Arc<AtomicBool>,
    process: Looker,
}

/// Where the numbers are.
pub(crate) struct Sources {
    pub(crate) counts: Arc<Counts>,
    pub(crate) store: Store,
    pub(crate) storage: StoreStatus,
    pub(crate) clock: Clock,
    pub(crate) config: Arc<Live>,
    /// `None` where TLS does not end here.
    pub(crate) certificate: Option<Arc<CertificateResolver>>,
}

/// The text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    OpenMetrics,
    /// The older one of Prometheus, which is plain text to a browser too.
    Text,
}

impl Metrics {
    pub(crate) fn new(sources: Sources) -> Self {
        let (is_ready, started) = (Arc::new(AtomicBool::new(false)), sources.clock.wall());
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Families { sources, is_ready: is_ready.clone() }));
        let process = Looker::default();
        registry.register_collector(Box::new(process.process(started)));
        Self { registry, is_ready, process }
    }

    /// Looks at what the values cannot be read from at once; call it before them. The caller knows whether the service is
    /// ready.
    pub(crate) async fn look(&self, is_ready: bool) {
        self.is_ready.store(is_ready, Ordering::Relaxed);
        self.process.look().await;
    }

    /// The values now, in the format that a client accepts, with its media type.
    pub(crate) fn encode_for(&self, headers: &HeaderMap) -> (&'static str, String) {
        match Format::of(headers) {
            Format::OpenMetrics => (OPENMETRICS, self.encode()),
            Format::Text => (prometheus_text::CONTENT_TYPE, self.encode_text()),
        }
    }

    /// The values now, as OpenMetrics text.
    pub(crate) fn encode(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("a String takes any text");
        out
    }

    fn encode_text(&self) -> String {
        let mut out = String::new();
        prometheus_text::encode(&mut out, &self.registry).expect("a String takes any text");
        out
    }
}

impl Format {
    /// OpenMetrics, unless the client accepts text and does not name it.
    fn of(headers: &HeaderMap) -> Self {
        let accepts = |what: &str| {
            let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).any(|range| range.trim().to_ascii_lowercase().starts_with(what))
        };
        if accepts("text/") && !accepts("application/openmetrics-text") { Self::Text } else { Self::OpenMetrics }
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// A moment as Prometheus writes it.
fn seconds(moment: UnixMs) -> f64 {
    // Exact for the next 200,000 years.
    moment.as_millis() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_client_gets_openmetrics_unless_it_accepts_text_alone() {
        let format = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            Format::of(&headers)
        };
        assert_eq!(Format::of(&HeaderMap::new()), Format::OpenMetrics);
        assert_eq!(format("*/*"), Format::OpenMetrics);
        let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(format(prometheus), Format::OpenMetrics);
        assert_eq!(format("text/plain"), Format::Text);
        assert_eq!(format("text/plain;version=0.0.4"), Format::Text);
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        assert_eq!(format(browser), Format::Text, "a browser shows it");
    }
}
