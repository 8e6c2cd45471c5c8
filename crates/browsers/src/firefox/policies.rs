//! The same settings for many machines, as a policies.json that an administrator distributes: users cannot change them.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::prefs;
use crate::error::BrowserError;
use crate::push_service::PushService;

/// The text of a policies.json. The file of the certificate authority, if there is one, is named by its absolute path:
/// it must be there on each machine.
pub fn policies(service: &PushService, ca: Option<&Path>) -> Result<String, BrowserError> {
    let locked = |pref: prefs::Pref| (pref.name.to_owned(), json!({ "Value": pref.value, "Status": "locked" }));
    let preferences: Map<String, Value> = prefs::push(service).into_iter().map(locked).collect();
    let mut policies = json!({ "Preferences": preferences });
    if let Some(file) = ca {
        let absolute = std::path::absolute(file).map_err(BrowserError::io("find", file))?;
        policies["Certificates"] = json!({ "Install": [absolute] });
    }
    Ok(format!("{:#}\n", json!({ "policies": policies })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str, ca: Option<&str>) -> Value {
        let text = policies(&PushService::parse(url).unwrap(), ca.map(Path::new)).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["policies"].take()
    }

    #[test]
    fn policies_lock_the_push_service_and_install_the_ca() {
        assert_eq!(
            parsed("https://push.example.org", Some("/etc/ssl/bell.pem")),
            json!({
                "Preferences": {
                    "dom.push.serverURL": { "Value": "wss://push.example.org/", "Status": "locked" },
                    "dom.push.connection.enabled": { "Value": true, "Status": "locked" },
                    "dom.push.maxQuotaPerSubscription": { "Value": 1000, "Status": "locked" },
                },
                "Certificates": { "Install": ["/etc/ssl/bell.pem"] },
            })
        );
    }

    #[test]
    fn policies_without_a_ca_leave_certificates_alone() {
        assert!(parsed("https://push.example.org", None).get("Certificates").is_none());
    }

    #[test]
    fn a_relative_ca_file_is_named_by_its_absolute_path() {
        let policies = parsed("https://push.example.org", Some("bell.pem"));
        let named = policies["Certificates"]["Install"][0].as_str().unwrap();
        assert!(named.starts_with('/') && named.ends_with("/bell.pem"), "{named}");
    }
}
