//! Registrations, a head and a form: bounded, and the same however the form is escaped.
#![no_main]

use doorbell_protocol::mcs::registration::{FORM_MAX, Registration, VALUE_MAX, credentials};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (head, form) = doorbell_fuzz::request(data);
    if let Ok(device) = credentials(&head) {
        assert!(device.id.get() != 0 && device.secret.get() != 0);
    }
    let Ok(read) = Registration::parse(form) else { return };
    let device = read.device.get().to_string();
    let mut fields = vec![("app", read.app.as_str()), ("device", &device), ("sender", &read.sender)];
    fields.extend(read.subtype.as_deref().map(|subtype| ("X-subtype", subtype)));
    fields.extend(read.scope.as_deref().map(|scope| ("scope", scope)));
    fields.extend(read.instance.as_deref().map(|instance| ("appid", instance)));
    fields.extend(read.browser.as_deref().map(|browser| ("gmsv", browser)));
    fields.extend(read.delete.then_some(("delete", "true")));
    assert!(fields.iter().all(|(_, value)| value.len() <= VALUE_MAX && !value.contains(['\r', '\n'])));
    let escape = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let again: Vec<String> = fields.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
    let again = again.join("&");
    if again.len() <= FORM_MAX {
        assert!(Registration::parse(again.as_bytes()) == Ok(read));
    }
});
