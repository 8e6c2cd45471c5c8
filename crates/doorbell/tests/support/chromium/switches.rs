//! What only tests want of Chromium: no question to anybody, neither at the screen nor outside.

/// A camera that shows a clock and a microphone that beeps.
pub(super) const DEVICES: &str = "--use-fake-device-for-media-stream";

/// The microphone without the camera.
pub(super) const MICROPHONE: &str = "--use-fake-device-for-media-stream=device-count=0";

/// What is for every start, for a shell.
pub(super) fn for_shell() -> String {
    for_tests().iter().map(|switch| format!("'{switch}' ")).collect()
}

/// For every start.
pub(super) fn for_tests() -> Vec<&'static str> {
    let mut switches = vec![
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-default-apps",
        "--disable-domain-reliability",
        "--disable-sync",
        "--no-pings",
        "--password-store=basic",
        // Pages get the devices without a question.
        "--use-fake-ui-for-media-stream",
        // No name is looked up, so that no host outside is reached.
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
        // What the push client complains of goes to standard error, which a test that fails prints.
        "--enable-logging=stderr",
        "--vmodule=*google_apis/gcm*=1",
    ];
    // As root, such as in a container of CI, Chromium has no sandbox.
    if rustix::process::geteuid().is_root() {
        switches.push("--no-sandbox");
    }
    switches
}
