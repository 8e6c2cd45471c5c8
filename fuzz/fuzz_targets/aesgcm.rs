//! aesgcm fields and bodies for the user agent of the draft's example: it reads that message or nothing.
#![no_main]

use std::sync::LazyLock;

use doorbell_protocol::base64url::decode_array;
use doorbell_protocol::ece::aesgcm::decrypt;
use doorbell_protocol::ece::keys::{AgentKeyParts, AgentKeys};
use libfuzzer_sys::fuzz_target;

static AGENT: LazyLock<AgentKeys> = LazyLock::new(|| {
    let private = decode_array("9FWl15_QUQAWDaD3k3l50ZBZQJ4au27F1V4F0uLSD_M").expect("32 bytes");
    let auth = decode_array("R29vIGdvbyBnJyBqb29iIQ").expect("16 bytes");
    AgentKeys::from_parts(&AgentKeyParts { private: private.into(), auth: auth.into() })
        .expect("the agent of the draft")
});

fuzz_target!(|data: &[u8]| {
    let (headers, body) = doorbell_fuzz::request(data);
    let field = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if let Ok(text) = decrypt(&AGENT, field("encryption"), field("crypto-key"), body) {
        assert_eq!(text, b"I am the walrus");
    }
});
