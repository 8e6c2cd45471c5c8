//! What it costs to sign a VAPID token, to verify it, and to read one that is remembered.
//!
//! `cargo bench -p doorbell-protocol --bench vapid`

#![allow(clippy::unwrap_used, missing_docs, reason = "a measurement that cannot go on has failed")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use doorbell_protocol::time::UnixMs;
use doorbell_protocol::vapid::header::Credentials;
use doorbell_protocol::vapid::sign::SigningKey;
use doorbell_protocol::vapid::verify::verify;
use http::{HeaderMap, HeaderValue, header};

const ORIGIN: &str = "https://push.example.net";
const NOW: UnixMs = UnixMs::from_secs(1_800_000_000);
const LATER: UnixMs = UnixMs::from_secs(1_800_003_600);

fn vapid(c: &mut Criterion) {
    let key = SigningKey::generate().unwrap();
    let token = || key.sign(black_box(ORIGIN), LATER, Some("mailto:push@app.example.net")).unwrap();
    let value = format!("vapid t={}, k={}", token(), key.public_key().to_base64url());
    let value = HeaderValue::from_str(&value).unwrap();
    let headers: HeaderMap = [(header::AUTHORIZATION, value)].into_iter().collect();
    let credentials = || Credentials::parse(black_box(&headers)).unwrap().unwrap();
    c.bench_function("vapid sign", |b| b.iter(token));
    c.bench_function("vapid parse", |b| b.iter(credentials));
    c.bench_function("vapid parse and verify", |b| b.iter(|| verify(&credentials(), &[ORIGIN], NOW).unwrap()));
}

criterion_group!(benches, vapid);
criterion_main!(benches);
