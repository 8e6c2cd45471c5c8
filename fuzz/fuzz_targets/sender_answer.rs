//! Answers of push services: a day of waiting at most, URLs that are absolute, and words that a terminal can show.
//!
//! The first two bytes are the status, then the head, an empty line and the body.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use doorbell_protocol::time::UnixMs;
use doorbell_sender::answer::Answer;
use doorbell_sender::endpoint::Endpoint;
use doorbell_sender::explanation::Explanation;
use http::StatusCode;
use libfuzzer_sys::fuzz_target;

const NOW: UnixMs = UnixMs::from_secs(784_111_777);

static ENDPOINT: LazyLock<Endpoint> =
    LazyLock::new(|| Endpoint::parse("https://push.example.net/p/x").expect("an endpoint"));

fuzz_target!(|input: (u16, &[u8])| {
    let (status, data) = input;
    let Ok(status) = StatusCode::from_u16(100 + status % 500) else { return };
    let (headers, body) = doorbell_fuzz::request(data);
    let explanation = Explanation::read(&ENDPOINT, status, body);
    match Answer::read_with(&explanation, &ENDPOINT, status, &headers, NOW) {
        Answer::Accepted(accepted) => {
            assert!(status.is_success());
            for url in accepted.message.iter().chain(&accepted.receipt) {
                assert_eq!(ENDPOINT.resolve(url).as_ref(), Some(url), "not absolute");
            }
        }
        Answer::RetryLater { after } => assert!(after.is_none_or(|after| after <= Duration::from_secs(86_400))),
        Answer::Gone | Answer::TooLarge | Answer::Refused => assert!(!status.is_success()),
    }
    for shown in [&explanation.message, &explanation.hint] {
        assert!(shown.chars().count() <= 300 && !shown.contains(char::is_control), "{shown:?}");
    }
});
