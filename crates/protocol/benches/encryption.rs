//! What encryption costs the application server, and decryption the user agent.
//!
//! `cargo bench -p doorbell-protocol --bench encryption`

#![allow(clippy::unwrap_used, missing_docs, reason = "a measurement that cannot go on has failed")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use doorbell_protocol::ece::aes128gcm::{Padding, decrypt, encrypt};
use doorbell_protocol::ece::keys::AgentKeys;

const TEXT: [u8; 921] = [7; 921];

fn aes128gcm(c: &mut Criterion) {
    let keys = AgentKeys::generate().unwrap();
    let encrypted = || encrypt(black_box(&TEXT), Padding::None, keys.public_key(), keys.auth_secret()).unwrap();
    let body = encrypted();
    assert_eq!(body.len(), 1024);
    c.bench_function("aes128gcm encrypt to 1,024 bytes", |b| b.iter(encrypted));
    c.bench_function("aes128gcm decrypt 1,024 bytes", |b| b.iter(|| decrypt(&keys, black_box(&body)).unwrap()));
}

criterion_group!(benches, aes128gcm);
criterion_main!(benches);
