//! A Firefox profile: whether it uses this service, and whether it has connected to it, as far as its files show.

use std::path::Path;

use serde_json::Value;
use url::Url;

use super::chromium::last_written;
use super::report::Finding;
use super::target::Target;

const SERVER: &str = "dom.push.serverURL";
const ENABLED: &str = "dom.push.connection.enabled";
const UAID: &str = "dom.push.userAgentID";

/// Where Firefox looks for policies on Linux.
const POLICIES: [&str; 4] = [
    "/etc/firefox/policies/policies.json",
    "/usr/lib/firefox-esr/distribution/policies.json",
    "/usr/lib/firefox/distribution/policies.json",
    "/usr/lib64/firefox/distribution/policies.json",
];

/// The step.
pub(super) fn check(profile: &Path, target: &Target) -> Finding {
    let read = |name: &str| std::fs::read_to_string(profile.join(name)).ok();
    let (written, chosen) = (read("prefs.js"), read("user.js"));
    if written.is_none() && chosen.is_none() {
        let why = format!("there is neither prefs.js nor user.js in {}", profile.display());
        return Finding::failed(why, "name the folder that about:profiles calls the root directory");
    }
    let policies = POLICIES.iter().filter_map(|file| std::fs::read_to_string(file).ok()).collect::<Vec<_>>();
    let prefs = Prefs { policies, user: chosen, written };
    judge(&prefs, target, &last_written([profile.join("prefs.js")].into_iter()))
}

/// The sources of a preference, strongest first. A file that does not exist sets nothing.
struct Prefs {
    policies: Vec<String>,
    user: Option<String>,
    written: Option<String>,
}

impl Prefs {
    fn get(&self, name: &str) -> Option<Value> {
        let by_policy = self.policies.iter().find_map(|text| policy(text, name));
        let by_user = || pref(self.user.as_deref()?, name);
        by_policy.or_else(by_user).or_else(|| pref(self.written.as_deref()?, name))
    }
}

fn judge(prefs: &Prefs, target: &Target, written: &str) -> Finding {
    let wanted = format!("wss://{}/", target.authority());
    let here = |url: &str| {
        let url = Url::parse(url).ok().filter(|url| url.scheme() == "wss");
        url.is_some_and(|url| url.host() == target.url.host() && url.port_or_known_default() == Some(target.port))
    };
    let fix = format!("set {SERVER} to {wanted} in about:config, user.js or policies.json, and restart Firefox");
    match prefs.get(SERVER).as_ref().and_then(Value::as_str) {
        None => return Finding::failed(format!("{SERVER} is not set: it uses Mozilla's service"), fix),
        Some(other) if !here(other) => {
            // A URL may contain secrets of its owner; its host does not.
            let other = match Url::parse(other).as_ref().map(Url::host_str) {
                Ok(Some(host)) => format!("at {host}"),
                Ok(None) | Err(_) => "not a URL".to_owned(),
            };
            return Finding::failed(format!("{SERVER} is {other}, not {wanted}"), fix);
        }
        Some(_) => {}
    }
    if prefs.get(ENABLED) == Some(Value::Bool(false)) {
        return Finding::failed(format!("{ENABLED} is false"), format!("set {ENABLED} to true in about:config"));
    }
    let look = format!(
        "the files do not show which service assigned the {UAID} nor whether Firefox is connected now: about:config shows it, \
         about:networking#websockets lists the connection"
    );
    if prefs.get(UAID).as_ref().and_then(Value::as_str).is_some_and(|uaid| !uaid.is_empty()) {
        Finding::ok(format!("it uses this service and has a {UAID}; prefs.js was last written {written}"))
            .with_note(look)
    } else {
        Finding::warning(
            format!("it is set to use this service and has no {UAID} as of {written}"),
            format!("open a page that subscribes, with this service's CA trusted in Firefox; {look}"),
        )
    }
}

/// The last `user_pref("name", value);` of a preferences file.
fn pref(text: &str, name: &str) -> Option<Value> {
    let value = |line: &str| {
        let inner = line.trim().strip_prefix("user_pref(")?.rsplit_once(");")?.0;
        let mut pair: Vec<Value> = serde_json::from_str(&format!("[{inner}]")).ok()?;
        (pair.len() == 2 && pair[0] == name).then(|| pair.pop()).flatten()
    };
    text.lines().rev().find_map(value)
}

/// The value of a preference in a policies.json, in both of its forms.
fn policy(text: &str, name: &str) -> Option<Value> {
    let policies: Value = serde_json::from_str(text).ok()?;
    match policies["policies"]["Preferences"].get(name)? {
        Value::Object(long) => long.get("Value").cloned(),
        short => Some(short.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Verdict;

    fn judged(policies: &str, user: &str, written: &str) -> Finding {
        let prefs = Prefs {
            policies: vec![policies.to_owned()],
            user: Some(user.to_owned()),
            written: Some(written.to_owned()),
        };
        judge(&prefs, &Target::parse("https://push.corp").unwrap(), "2 min ago")
    }

    const HERE: &str = "user_pref(\"dom.push.serverURL\", \"wss://push.corp/\");";
    const THERE: &str = "user_pref(\"dom.push.serverURL\", \"wss://push.services.mozilla.com/\");";
    const KNOWN: &str = "user_pref(\"dom.push.userAgentID\", \"secret\");";

    #[test]
    fn a_profile_that_is_set_and_has_an_id_has_connected() {
        let found = judged("", HERE, &format!("// Mozilla\n{THERE}\n{KNOWN}\n"));
        assert_eq!(found.verdict, Verdict::Ok, "{found:?}");
        assert!(found.text.contains("2 min ago") && !format!("{found:?}").contains("secret"), "{found:?}");
        assert_eq!(judged("", HERE, "").verdict, Verdict::Warning);
        let off = format!("{HERE}\nuser_pref(\"dom.push.connection.enabled\", false);");
        assert_eq!(judged("", &off, KNOWN).verdict, Verdict::Failed);
    }

    #[test]
    fn the_finding_for_a_profile_of_another_service_names_the_setting() {
        for written in ["", THERE, "user_pref(\"dom.push.serverURL\", \"ws://push.corp/\");", "user_pref(broken"] {
            let found = judged("", "", written);
            assert_eq!(found.verdict, Verdict::Failed, "{written}");
            assert!(found.advice.unwrap().contains("wss://push.corp/"), "{written}");
        }
    }

    #[test]
    fn a_policy_is_stronger_than_a_file_of_the_profile() {
        let long =
            r#"{"policies":{"Preferences":{"dom.push.serverURL":{"Value":"wss://push.corp/","Status":"locked"}}}}"#;
        let short = r#"{"policies":{"Preferences":{"dom.push.serverURL":"wss://push.corp:443/"}}}"#;
        for policies in [long, short] {
            assert_eq!(judged(policies, THERE, KNOWN).verdict, Verdict::Ok, "{policies}");
        }
    }
}
