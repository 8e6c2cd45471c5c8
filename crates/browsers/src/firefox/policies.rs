//! The same settings for many machines, as the policies.json that an administrator hands out: users cannot change them.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::prefs;
use crate::browser::Door;

/// The text of a policies.json. The file of the CA, if there is one, is named by its whole path: it must lie there on
/// each machine.
pub(super) fn json(door: &Door, ca: Option<&Path>) -> Result<String> {
    let locked = |pref: prefs::Pref| (pref.name.to_owned(), json!({ "Value": pref.value, "Status": "locked" }));
    let preferences: Map<String, Value> = prefs::push(door).into_iter().map(locked).collect();
    let mut policies = json!({ "Preferences": preferences });
    if let Some(file) = ca {
        let whole = std::path::absolute(file).with_context(|| format!("the CA file {}", file.display()))?;
        policies["Certificates"] = json!({ "Install": [whole] });
    }
    Ok(format!("{:#}\n", json!({ "policies": policies })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies(url: &str, ca: Option<&str>) -> Value {
        let text = json(&Door::parse(url).unwrap(), ca.map(Path::new)).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["policies"].take()
    }

    #[test]
    fn policies_lock_the_push_service_and_install_the_ca() {
        assert_eq!(
            policies("https://push.example.org", Some("/etc/ssl/bell.pem")),
            json!({
                "Preferences": {
                    "dom.push.serverURL": { "Value": "wss://push.example.org/", "Status": "locked" },
                    "dom.push.connection.enabled": { "Value": true, "Status": "locked" },
                },
                "Certificates": { "Install": ["/etc/ssl/bell.pem"] },
            })
        );
    }

    #[test]
    fn policies_without_a_ca_leave_certificates_alone() {
        assert!(policies("https://push.example.org", None).get("Certificates").is_none());
    }

    #[test]
    fn a_ca_beside_the_reader_is_named_by_its_whole_path() {
        let policies = policies("https://push.example.org", Some("bell.pem"));
        let named = policies["Certificates"]["Install"][0].as_str().unwrap();
        assert!(named.starts_with('/') && named.ends_with("/bell.pem"), "{named}");
    }
}
