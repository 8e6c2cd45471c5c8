//! A scrape of the metrics, read by their format alone.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use doorbell_service::config::{AdminAddress, Settings};
use http::{Request, StatusCode};

use super::{Answer, TestService, raw, text, within};

/// Settings with an admin listener on a free port.
pub fn observed(settings: Settings) -> Settings {
    Settings { admin_listen: Some("127.0.0.1:0".to_owned()), ..settings }
}

/// The samples of one scrape.
#[derive(Debug)]
pub struct Scrape {
    pub text: String,
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    pub async fn of(service: &TestService) -> Self {
        let answer = metrics(service, &[]).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let text = text(&answer);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        };
        let samples = lines.map(sample).collect();
        Self { text, samples }
    }

    /// The value of a series, such as `name{label="value"}`.
    pub fn get(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("no {series} in\n{}", self.text))
    }

    /// All series.
    pub fn series(&self) -> BTreeSet<&str> {
        self.samples.keys().map(String::as_str).collect()
    }

    /// The families, with the names that queries use, and their types.
    pub fn families(&self) -> BTreeMap<String, String> {
        let types = self.text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let named = |(name, kind): (&str, &str)| match kind {
            "counter" => (format!("{name}_total"), kind.to_owned()),
            "info" => (format!("{name}_info"), "gauge".to_owned()),
            _ => (name.to_owned(), kind.to_owned()),
        };
        types.map(named).collect()
    }
}

/// The answer to a request of a monitor with these fields.
pub async fn metrics(service: &TestService, headers: &[(&str, &str)]) -> Answer {
    let Some(AdminAddress::Tcp(address)) = service.service.as_ref().unwrap().admin_address() else { panic!("no port") };
    let mut request = Request::get(format!("http://{address}/metrics"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    within(raw::http1(*address, request.body(Bytes::new()).unwrap())).await
}

/// Scrapes until a series has this value.
pub async fn until(service: &TestService, series: &str, value: f64) -> Scrape {
    within(async {
        loop {
            let scrape = Scrape::of(service).await;
            if scrape.get(series) == value {
                return scrape;
            }
        }
    })
    .await
}
