//! aes128gcm both ways: what is encrypted opens again, and not if it is cut or changed.
#![no_main]

use std::sync::LazyLock;

use doorbell_protocol::ece::PLAINTEXT_MAX;
use doorbell_protocol::ece::aes128gcm::{Padding, decrypt, encrypt};
use doorbell_protocol::ece::keys::AgentKeys;
use libfuzzer_sys::fuzz_target;

static AGENT: LazyLock<AgentKeys> = LazyLock::new(|| AgentKeys::generate().expect("an agent"));

/// Salt, record size, length of the key and key: behind them the sealed record begins.
const RECORD_AT: usize = 86;

fuzz_target!(|input: (u16, u8, &[u8])| {
    let (place, change, text) = input;
    let sealed = encrypt(text, Padding::None, AGENT.public_key(), AGENT.auth_secret());
    assert_eq!(sealed.is_ok(), text.len() <= PLAINTEXT_MAX);
    let Ok(mut body) = sealed else { return };
    assert_eq!(body.len(), text.len() + 103);
    assert_eq!(decrypt(&AGENT, &body).as_deref(), Ok(text));

    let place = usize::from(place) % body.len();
    assert!(decrypt(&AGENT, &body[..place]).is_err(), "cut after {place} bytes, it still opened");
    if change != 0 && place >= RECORD_AT {
        body[place] ^= change;
        assert!(decrypt(&AGENT, &body).is_err(), "changed at {place}, it still opened");
    }
});
