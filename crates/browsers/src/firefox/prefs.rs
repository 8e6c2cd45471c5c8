//! The settings that Firefox needs, as a user.js with a reason for each line.

use serde_json::Value;

use super::server_url;
use crate::push_service::PushService;

/// A user.js that begins with this line is ours.
pub(super) const FIRST_LINE: &str = "// Written by `doorbell firefox`, anew at each start.";

/// A setting of Firefox.
pub(super) struct Pref {
    pub(super) name: &'static str,
    pub(super) value: Value,
    pub(super) why: &'static str,
}

fn pref(name: &'static str, value: impl Into<Value>, why: &'static str) -> Pref {
    Pref { name, value: value.into(), why }
}

/// What makes Firefox receive from `service`.
pub(super) fn push(service: &PushService) -> Vec<Pref> {
    let mut prefs = vec![
        pref("dom.push.serverURL", server_url(service), "The push service."),
        pref(
            "dom.push.connection.enabled",
            true,
            "It is the default, but a driver (Marionette or BiDi) switches it off unless it stands here.",
        ),
        pref(
            "dom.push.maxQuotaPerSubscription",
            1000,
            "Messages of which no notification is left after 3 s, such as declined calls, until Firefox ends the subscription: its 16 are few.",
        ),
    ];
    if service.is_plain() {
        let why = "Without it Firefox does not start its push client for ws://.";
        prefs.push(pref("dom.push.testing.allowInsecureServerURL", true, why));
    }
    prefs
}

/// What a profile for trying out needs too: no pages in the way at the first start, and the port of its driver.
pub(super) fn trying_out() -> Vec<Pref> {
    let first_run = "No page about a first start.";
    vec![
        pref("browser.aboutwelcome.enabled", false, first_run),
        pref("browser.startup.homepage_override.mstone", "ignore", first_run),
        pref("startup.homepage_welcome_url", "", first_run),
        pref("startup.homepage_welcome_url.additional", "", first_run),
        pref("browser.preonboarding.enabled", false, "No dialog about the terms of use over the first page."),
        pref("termsofuse.bypassNotification", true, "The same, under its newer name."),
        pref("datareporting.policy.dataSubmissionEnabled", false, "No notice on data reports, and no reports."),
        pref(
            "browser.startup.couldRestoreSession.count",
            -1,
            "No bar about the tabs of the run in which it learned its CA.",
        ),
        pref("browser.shell.checkDefaultBrowser", false, "No question whether it is the default browser."),
        pref("browser.tabs.warnOnClose", false, "No question when it is closed."),
        pref("browser.warnOnQuitShortcut", false, "No question at Ctrl+Q."),
    ]
}

/// What the run needs in which a profile learns a CA.
pub(super) fn driven() -> Vec<Pref> {
    vec![
        pref(
            "remote.prefs.recommended",
            false,
            "The driver that makes it trust its CA leaves no settings for tests behind.",
        ),
        pref(
            "marionette.port",
            0,
            "Any free port, named in MarionetteActivePort: two profiles can be driven at the same time. Only for --marionette.",
        ),
    ]
}

/// The text of a user.js.
pub(super) fn user_js(prefs: &[Pref]) -> String {
    format!("{FIRST_LINE}\n{}", lines(prefs))
}

/// A line for each setting, below its reason.
pub(super) fn lines(prefs: &[Pref]) -> String {
    let mut text = String::new();
    for Pref { name, value, why } in prefs {
        let value = match value {
            Value::String(text) => quoted(text),
            other => other.to_string(),
        };
        text += &format!("\n// {why}\nuser_pref({}, {value});\n", quoted(name));
    }
    text
}

/// A string as Firefox reads it in a user.js, which knows fewer escapes than JavaScript.
fn quoted(value: &str) -> String {
    let mut text = String::from('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => text += &format!("\\u{:04x}", u32::from(c)),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_with_tls_needs_three_prefs_and_one_without_needs_a_fourth() {
        let names =
            |url: &str| -> Vec<&str> { push(&PushService::parse(url).unwrap()).iter().map(|pref| pref.name).collect() };
        let with_tls = ["dom.push.serverURL", "dom.push.connection.enabled", "dom.push.maxQuotaPerSubscription"];
        assert_eq!(names("https://127.0.0.1:8443"), with_tls);
        let insecure = "dom.push.testing.allowInsecureServerURL";
        assert_eq!(names("http://127.0.0.1:8080"), [with_tls[0], with_tls[1], with_tls[2], insecure]);
    }

    #[test]
    fn a_user_js_names_each_pref_with_its_value_and_its_reason() {
        let text = user_js(&push(&PushService::parse("https://127.0.0.1:8443").unwrap()));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], FIRST_LINE);
        assert_eq!(
            lines[2..4],
            ["// The push service.", r#"user_pref("dom.push.serverURL", "wss://127.0.0.1:8443/");"#]
        );
        assert_eq!(lines[6], r#"user_pref("dom.push.connection.enabled", true);"#);
        assert_eq!(lines[9], r#"user_pref("dom.push.maxQuotaPerSubscription", 1000);"#);
    }

    #[test]
    fn what_would_end_a_string_is_escaped() {
        assert_eq!(quoted("a\"b\\c\nd ü"), r#""a\"b\\c\u000ad ü""#);
    }
}
