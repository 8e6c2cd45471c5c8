//! Check-ins: bounded, and the device that is read is the device that can be written.
#![no_main]

use doorbell_protocol::mcs::checkin::{CheckinRequest, CheckinResponse, TEXT_MAX};
use doorbell_protocol::mcs::wire::{Fields, Writer};
use doorbell_protocol::time::UnixMs;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    assert!(Fields::new(data).count() <= data.len());
    let Ok(request) = CheckinRequest::parse(data) else { return };
    for text in [&request.digest, &request.chrome_version].into_iter().flatten() {
        assert!(text.len() <= TEXT_MAX);
    }
    let Some(device) = request.device else { return };
    let again = Writer::new().varint(2, device.id.get()).fixed64(13, device.secret.get()).finish();
    assert!(CheckinRequest::parse(&again).is_ok_and(|again| again.device == Some(device)));
    let answer = CheckinResponse { device, now: UnixMs::from_secs(1), settings: None }.encode();
    let fixed: Vec<u64> = Fields::new(&answer).filter_map(|field| field.ok()?.fixed64().ok()).collect();
    assert_eq!(fixed, [device.id.get(), device.secret.get()]);
});
