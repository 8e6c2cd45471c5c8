//! aes128gcm bodies for the user agent of RFC 8291 s5: no input makes it read anything but the message of the RFC.
#![no_main]

use std::sync::LazyLock;

use doorbell_protocol::base64url::decode_array;
use doorbell_protocol::ece::aes128gcm::decrypt;
use doorbell_protocol::ece::keys::{AgentKeyParts, AgentKeys};
use libfuzzer_sys::fuzz_target;

static AGENT: LazyLock<AgentKeys> = LazyLock::new(|| {
    let private = decode_array("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94").expect("32 bytes");
    let auth = decode_array("BTBZMqHH6r4Tts7J_aSIgg").expect("16 bytes");
    AgentKeys::from_parts(&AgentKeyParts { private: private.into(), auth: auth.into() }).expect("the agent of the RFC")
});

fuzz_target!(|body: &[u8]| {
    if let Ok(text) = decrypt(&AGENT, body) {
        assert_eq!(text, b"When I grow up, I want to be a watermelon");
    }
});
