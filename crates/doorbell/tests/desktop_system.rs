//! `doorbell desktop install --system` and `uninstall --system`, below a root of the test's own.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use support::Home;
use support::home::listing;

#[test]
fn the_files_for_all_users_are_written_below_a_root_and_taken_away() {
    let home = Home::new();
    let root = home.path();
    let words = |verb: &'static str, more: &[&'static str]| -> Vec<String> {
        let mut words: Vec<String> = vec![verb.to_owned()];
        words.extend(more.iter().map(|&word| word.to_owned()));
        words.extend(["--system".to_owned(), "--root".to_owned(), root.display().to_string()]);
        words
    };
    let run = |words: Vec<String>| home.desktop(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let install = || run(words("install", &["https://push.example.org"]));
    home.writes("etc/firefox/mine.txt", "");
    let before = home.listing();

    assert!(install().status.success() && install().status.success());
    let policies = home.text("etc/firefox/policies/policies.json");
    assert!(policies.contains("wss://push.example.org/") && policies.contains("locked"), "{policies}");
    assert!(home.text("etc/firefox/defaults/pref/doorbell.js").contains("general.config.filename"));
    assert!(home.text("etc/firefox/doorbell.cfg").contains("DOORBELL_WOKEN"));
    assert!(home.text("etc/chromium.d/doorbell").contains("--gcm-checkin-url=https://push.example.org/checkin"));
    assert!(home.text("etc/xdg/doorbell/desktop.toml").contains("https://push.example.org"));
    let wants = "etc/systemd/user/graphical-session.target.wants/doorbell-desktop.service";
    assert!(home.text(wants).contains("ExecStart=\"/usr/bin/doorbell\" desktop run\n"));
    let mode = fs::metadata(home.file("etc/firefox/doorbell.cfg")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "every user's Firefox reads it");
    let uninstall = || run(words("uninstall", &[]));
    assert!(uninstall().status.success());
    assert_eq!(home.listing(), before);

    // What an administrator has written stays, before and after.
    let file = home.writes("etc/firefox/policies/policies.json", "{}\n");
    let refused = install();
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && text.contains("policies.json: it is there"), "{text}");
    fs::remove_file(&file).unwrap();
    assert!(install().status.success());
    fs::write(&file, "{ \"edited\": true }\n").unwrap();
    let kept = uninstall();
    let text = String::from_utf8_lossy(&kept.stderr);
    assert!(text.contains("policies.json is no longer doorbell's: it is kept"), "{text}");
    let left: Vec<_> = listing(&root).into_keys().filter(|path| path.is_file()).collect();
    assert_eq!(left, [home.file("etc/firefox/mine.txt"), file]);
}

#[test]
fn an_image_is_uninstalled_where_it_is_unpacked_and_keeps_what_an_administrator_wrote() {
    let home = Home::new();
    let (built, unpacked) = (home.file("built"), home.file("unpacked"));
    let system = |verb: &str, root: &Path| {
        let url: &[&str] = if verb == "install" { &["https://push.example.org"] } else { &[] };
        let output = home.desktop(&[&[verb], url, &["--system", "--root", root.to_str().unwrap()]].concat());
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    // As `doorbell chromium --print-flags` prints it, which our documentation recommends.
    let flags = home.writes("built/etc/chromium.d/doorbell", "# Written by `doorbell chromium --print-flags`.\n");
    let (done, text) = system("install", &built);
    assert!(
        !done && text.contains("chromium.d/doorbell: it is there, and not as an installation has left it"),
        "{text}"
    );
    fs::remove_file(flags).unwrap();
    assert!(system("install", &built).0);
    fs::rename(&built, &unpacked).unwrap();
    let settings = unpacked.join("etc/xdg/doorbell/desktop.toml");
    let text = fs::read_to_string(&settings).unwrap() + "urgency = 'high'\n";
    fs::write(&settings, text).unwrap();
    let (done, text) = system("uninstall", &unpacked);
    assert!(done && text.contains("desktop.toml is no longer doorbell's: it is kept"), "{text}");
    let left: Vec<_> = listing(&unpacked).into_keys().filter(|path| !path.is_dir()).collect();
    assert_eq!(left, [settings]);
}
