//! Settings of Firefox for tests: no connection to other hosts, no question to a user, no delays.

use std::fmt::Write;

use serde_json::{Value, json};

/// A port without a server: Firefox does not reach its makers.
const DEAD: u16 = 9;

/// The same for a Firefox that has no prefs of ours yet.
pub(super) const DEAD_PROXY: [(&str, &str); 3] =
    [("http_proxy", "http://127.0.0.1:9"), ("https_proxy", "http://127.0.0.1:9"), ("no_proxy", "localhost,127.0.0.1")];

/// Firefox crashes if it still connects to a host outside.
pub(super) const VARIABLES: [(&str, &str); 1] = [("MOZ_DISABLE_NONLOCAL_CONNECTIONS", "1")];

/// The last of two lines for the same pref holds.
pub(super) const RESTORE: &str = "user_pref(\"browser.sessionstore.resume_from_crash\", true);\n";

/// More lines for a user.js.
pub(super) fn for_tests() -> String {
    let mut text = String::from("\n// What only tests want.\n");
    for (name, value) in quiet().into_iter().chain(consent()).chain(fast()) {
        writeln!(text, "user_pref({}, {value});", json!(name)).expect("a string grows");
    }
    text
}

fn quiet() -> Vec<(&'static str, Value)> {
    vec![
        ("network.proxy.type", json!(1)),
        ("network.proxy.http", json!("127.0.0.1")),
        ("network.proxy.http_port", json!(DEAD)),
        ("network.proxy.ssl", json!("127.0.0.1")),
        ("network.proxy.ssl_port", json!(DEAD)),
        ("network.proxy.no_proxies_on", json!("localhost,127.0.0.1")),
        ("network.proxy.allow_hijacking_localhost", json!(false)),
        // Remote Settings would go past a proxy that fails.
        ("network.proxy.failover_direct", json!(false)),
        ("network.trr.mode", json!(5)),
        ("network.captive-portal-service.enabled", json!(false)),
        ("network.connectivity-service.enabled", json!(false)),
        ("services.settings.server", json!("data:,#remote-settings-dummy/v1")),
        ("app.normandy.enabled", json!(false)),
        ("app.update.disabledForTesting", json!(true)),
        ("browser.safebrowsing.malware.enabled", json!(false)),
        ("browser.safebrowsing.phishing.enabled", json!(false)),
        ("browser.safebrowsing.downloads.remote.enabled", json!(false)),
        ("browser.newtabpage.enabled", json!(false)),
        ("browser.newtabpage.activity-stream.unifiedAds.spocs.enabled", json!(false)),
        ("browser.newtabpage.activity-stream.unifiedAds.tiles.enabled", json!(false)),
        ("browser.newtabpage.activity-stream.unifiedAds.ohttp.enabled", json!(false)),
        ("extensions.update.enabled", json!(false)),
        ("extensions.getAddons.cache.enabled", json!(false)),
        ("toolkit.telemetry.server", json!("data:,")),
        ("browser.region.network.url", json!("")),
        ("browser.search.update", json!(false)),
    ]
}

fn consent() -> Vec<(&'static str, Value)> {
    vec![
        // Marionette's own settings for tests, which `doorbell firefox` keeps out of a user's profile.
        ("remote.prefs.recommended", json!(true)),
        // Notifications, for every site.
        ("permissions.default.desktop-notification", json!(1)),
        // A camera that shows a colour and a microphone that hums, without a question.
        ("media.navigator.streams.fake", json!(true)),
        ("media.navigator.permission.disabled", json!(true)),
        // A voice mail plays without a click.
        ("media.autoplay.default", json!(0)),
        // After kill -9: neither the old pages nor a question about them.
        ("browser.sessionstore.resume_from_crash", json!(false)),
        ("toolkit.startup.max_resumed_crashes", json!(-1)),
        ("browser.startup.page", json!(0)),
    ]
}

fn fast() -> Vec<(&'static str, Value)> {
    vec![
        // Milliseconds until the push client comes back to a service that was away.
        ("dom.push.retryBaseInterval", json!(300)),
        ("dom.push.pingInterval", json!(4000)),
        ("dom.push.requestTimeout", json!(10_000)),
        // What the push client does goes to standard output, which a test that fails prints.
        ("dom.push.loglevel", json!("all")),
        ("devtools.console.stdout.chrome", json!(true)),
    ]
}
