//! `doorbell desktop install`, `status`, `run` as the session starts it, and `uninstall`, in a home directory of the test's
//! own: what is installed, and that nothing is left of it.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use support::clock::Deadline;
use support::home::Listing;
use support::process::Running;
use support::{Desktop, Firefox, Home, Service, Site, WakeDoor};

/// No service is there, and nothing needs one before the session begins.
const NOWHERE: &str = "https://127.0.0.1:9";
/// What the desktop part prints when the service's wake door is open for a profile.
const FOLLOWED: &str = "messages wake its Firefox";
const PROFILE: &str = ".local/state/doorbell/firefox/doorbell";
const UNIT: &str = ".config/systemd/user/doorbell-desktop.service";

/// Waits until `status` shows `words`: what it shows.
fn status_shows(home: &Home, words: &str) -> String {
    let deadline = Deadline::soon();
    loop {
        let text = home.does(&["status"]);
        if text.contains(words) {
            return text;
        }
        assert!(!deadline.left().is_zero(), "it does not show {words:?} but:\n{text}");
    }
}

/// A profile of `doorbell firefox` that has this uaid, and trusts the CA of `door` already.
fn has_profile(home: &Home, door: &WakeDoor, uaid: &str) {
    home.writes(&format!("{PROFILE}/user.js"), "// Written by `doorbell firefox`, anew at each start.\n");
    home.writes(&format!("{PROFILE}/prefs.js"), &format!("user_pref(\"dom.push.userAgentID\", \"{uaid}\");\n"));
    home.writes(&format!("{PROFILE}/cert9.db"), "");
    home.writes(&format!("{PROFILE}/doorbell-ca.pem"), &fs::read_to_string(door.ca()).unwrap());
}

/// Installs for the door and runs what the unit runs.
fn installed(home: &Home, door: &WakeDoor) -> Running {
    home.has_lazy_firefox();
    has_profile(home, door, "alice");
    home.does(&["install", &door.origin(), "--ca", door.ca().to_str().unwrap(), "--firefox", "doorbell"]);
    home.starts_the_unit(|_| {})
}

#[test]
fn what_is_installed_twice_for_both_browsers_is_taken_away_without_a_trace() {
    let home = Home::new();
    home.has_lazy_firefox();
    home.has_program("chromium", "#!/bin/sh\n");
    home.writes(".config/autostart/mine.desktop", "[Desktop Entry]\n");
    let before = home.listing();

    let printed = home.does(&["install", NOWHERE]);
    assert!(printed.contains("it starts with your next session; now: `doorbell desktop run`"), "{printed}");
    let settings = home.text(".config/doorbell/desktop.toml");
    for words in ["browser = \"firefox\"", "browser = \"chromium\"", "mode = \"woken\"", "firefox/doorbell\""] {
        assert!(settings.contains(words), "{words}: {settings}");
    }
    for name in [
        UNIT,
        ".config/systemd/user/graphical-session.target.wants/doorbell-desktop.service",
        ".config/autostart/doorbell-desktop.desktop",
        ".local/share/applications/doorbell-firefox.desktop",
        ".local/share/applications/doorbell-chromium.desktop",
        ".local/state/doorbell/chromium/doorbell/doorbell-service",
    ] {
        assert!(home.file(name).exists(), "{name}");
    }
    let first = home.listing();
    home.does(&["install", NOWHERE]);
    assert!(home.listing().keys().eq(first.keys()), "the same again changes nothing");

    home.does(&["install", NOWHERE, "--firefox", "work", "--stay", "--urgency", "high"]);
    let settings = home.text(".config/doorbell/desktop.toml");
    assert!(settings.contains("mode = \"resident\"") && settings.contains("urgency = \"high\""), "{settings}");
    assert!(!settings.contains("chromium"), "{settings}");
    assert!(!home.file(".local/share/applications/doorbell-chromium.desktop").exists(), "it replaces the first");
    let entry = home.text(".local/share/applications/doorbell-firefox-work.desktop");
    assert!(entry.contains("Name=Firefox (Doorbell, work)\n"), "{entry}");

    let printed = home.does(&["uninstall"]);
    assert!(!printed.contains("is kept"), "{printed}");
    assert_eq!(home.listing(), before);
    assert!(home.fails(&["status"]).contains("`doorbell desktop install` does that"));
}

#[test]
fn what_would_be_written_is_printed_and_not_written() {
    let home = Home::new();
    home.has_lazy_firefox();
    let before = home.listing();
    let printed = home.does(&["install", NOWHERE, "--print"]);
    assert!(
        printed.contains("X-systemd-skip=true") && printed.contains("PartOf=graphical-session.target"),
        "{printed}"
    );
    assert_eq!(home.listing(), before);
}

#[test]
fn a_file_of_another_program_is_not_written_over() {
    let home = Home::new();
    home.has_lazy_firefox();
    home.writes(UNIT, "[Service]\nExecStart=/bin/true\n");
    let before = home.listing();
    let printed = home.fails(&["install", NOWHERE]);
    assert!(printed.contains("not from doorbell: move it away"), "{printed}");
    assert_eq!(home.listing(), before);
}

#[test]
fn a_profile_that_a_browser_has_worked_with_is_kept_until_the_user_wants_it_deleted() {
    let home = Home::new();
    home.has_lazy_firefox();
    let before = home.listing();
    home.does(&["install", NOWHERE]);
    // As a Firefox leaves it that the user has worked with.
    home.writes(&format!("{PROFILE}/prefs.js"), "user_pref(\"mine\", 1);\n");
    let printed = home.does(&["uninstall"]);
    assert!(printed.contains(PROFILE) && printed.contains("is kept: `rm -r "), "{printed}");
    assert_eq!(home.text(&format!("{PROFILE}/prefs.js")), "user_pref(\"mine\", 1);\n");

    home.does(&["install", NOWHERE]);
    home.does(&["uninstall", "--profiles"]);
    assert!(!home.file(PROFILE).exists());
    fs::remove_dir_all(home.file(".local")).unwrap();
    assert_eq!(home.listing(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_unit_runs_wakes_the_profile_and_shows_what_it_did_and_ends_when_it_is_uninstalled() {
    let (home, door) = (Home::new(), WakeDoor::open().await);
    has_profile(&home, &door, "alice");
    let before = home.listing();
    let mut part = installed(&home, &door);
    let mut stream = door.next_stream();
    assert_eq!(stream.authorization, "Bearer alice");
    part.prints(FOLLOWED);
    let text = status_shows(&home, "a message wakes it");
    assert!(text.contains(&format!("service    {}, connected for", door.origin())), "{text}");
    let socket = home.session().join("doorbell-desktop.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);

    stream.reports_waiting(2, 1);
    let text = status_shows(&home, "last woken");
    assert!(text.contains("; 1 in the last hour"), "{text}");
    status_shows(&home, "last woken");
    part.prints("Firefox has ended");
    assert!(home.started().contains("--silent"), "{}", home.started());
    let json: serde_json::Value = serde_json::from_str(&home.does(&["status", "--json"])).unwrap();
    assert_eq!(json["process"], part.id());

    let second = home.desktop(&["run"]);
    let text = String::from_utf8_lossy(&second.stderr);
    assert!(text.contains(&format!("a desktop part runs already (process {})", part.id())), "{text}");
    let status = second.status.code().unwrap();
    assert!(
        home.text(UNIT).contains(&format!("\nRestartPreventExitStatus={status}\n")),
        "systemd would start it again"
    );
    home.does(&["uninstall"]);
    assert!(part.exit(|_| {}).success(), "{}", part.output());
    // Its settings are brought up to date.
    let rest = |mut listing: Listing| listing.remove(&home.file(PROFILE).join("user.js")).map(|_| listing);
    assert_eq!(rest(home.listing()), rest(before), "the profile was there before, and stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_is_gone_does_not_keep_the_others_from_being_woken() {
    let (home, door) = (Home::new(), WakeDoor::open().await);
    home.has_lazy_firefox();
    has_profile(&home, &door, "alice");
    let ca = door.ca();
    home.does(&["install", &door.origin(), "--ca", ca.to_str().unwrap(), "--firefox", "doorbell"]);
    let settings = home.text(".config/doorbell/desktop.toml");
    let gone = "[[profiles]]\nbrowser = \"firefox\"\nfolder = \"/no/such\"\n";
    home.writes(".config/doorbell/desktop.toml", &format!("{settings}\n{gone}"));
    let part = home.starts_the_unit(|_| {});
    let _stream = door.next_stream();
    part.prints(FOLLOWED);
    let text = status_shows(&home, "no message wakes it: /no/such is not a Firefox profile of doorbell's");
    assert!(text.contains("a message wakes it"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_misbehaves_does_not_keep_others_from_the_control_socket() {
    let (home, door) = (Home::new(), WakeDoor::open().await);
    let part = installed(&home, &door);
    part.prints(FOLLOWED);
    let connect = || UnixStream::connect(home.session().join("doorbell-desktop.sock")).unwrap();
    let answer = |request: &[u8]| {
        let mut client = connect();
        // It may stop reading in the middle.
        client.write_all(request).ok();
        let mut text = String::new();
        client.read_to_string(&mut text).ok();
        text
    };
    for request in [&b"\n"[..], b"{}\n", b"{\"request\":\"stop\"}\n", b"\xff\xfe\n", b"[[[[[[[[", &[b'{'; 200_000]] {
        let text = answer(request);
        assert!(text.is_empty() || text.contains("this is not a request"), "{text}");
    }
    let profile =
        format!("{{\"browser\":\"firefox\",\"folder\":\"{}\",\"program\":\"/bin/sh\",\"mode\":\"woken\"}}", "x");
    let add = |service: &str| format!("{{\"request\":\"add\",\"service\":\"{service}\",\"profile\":{profile}}}\n");
    assert!(answer(add("https://other.example").as_bytes()).contains("waits at"));
    assert!(answer(add(&door.origin()).as_bytes()).contains("absolute"));

    let idle: Vec<UnixStream> = (0..8).map(|_| connect()).collect();
    let deadline = Deadline::soon();
    while !home.desktop(&["status"]).status.success() {
        assert!(!deadline.left().is_zero(), "clients that send nothing are turned away after a time");
    }
    drop(idle);
    status_shows(&home, "a message wakes it");
}

#[test]
fn settings_that_are_wrong_or_that_others_can_write_are_refused_with_what_to_do() {
    let home = Home::new();
    home.has_lazy_firefox();
    let file = home.writes(".config/doorbell/desktop.toml", "url = \"https://a.example\"\nurgancy = \"high\"\n");
    assert!(home.fails(&["run"]).contains("did you mean `urgency`?"));
    fs::write(&file, "url = \"https://a.example\"\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(home.fails(&["run"]).contains("chmod go-w"));
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(home.fails(&["run"]).contains("cannot read"));
    fs::remove_dir(&file).unwrap();
    assert!(home.fails(&["run"]).contains("use `doorbell desktop install`"));
}

#[test]
fn a_session_folder_that_others_can_write_is_refused() {
    let home = Home::new();
    home.has_lazy_firefox();
    home.does(&["install", NOWHERE]);
    fs::set_permissions(home.session(), fs::Permissions::from_mode(0o777)).unwrap();
    for verb in ["run", "status"] {
        // Without a socket there is nothing to believe.
        fs::write(home.session().join("doorbell-desktop.sock"), "").unwrap();
        assert!(home.fails(&[verb]).contains("other users can write it"), "{verb}");
    }
}

#[test]
fn a_user_manager_reads_the_unit_and_starts_it() {
    let home = Home::new();
    home.has_lazy_firefox();
    let noted = home.path().with_file_name("noted");
    home.has_program("systemctl", &format!("#!/bin/sh\necho \"$@\" >> {}\n", noted.display()));
    home.does(&["install", NOWHERE]);
    assert_eq!(fs::read_to_string(&noted).unwrap(), "--user daemon-reload\n--user restart doorbell-desktop.service\n");
    fs::remove_file(&noted).unwrap();
    home.does(&["uninstall"]);
    assert_eq!(fs::read_to_string(&noted).unwrap(), "--user stop doorbell-desktop.service\n--user daemon-reload\n");
}

#[test]
fn systemd_takes_the_unit() {
    if !support::foreign::here("systemd-analyze", support::desktop::on_path("systemd-analyze").is_some()) {
        return;
    }
    let home = Home::new();
    home.has_lazy_firefox();
    home.does(&["install", NOWHERE]);
    let mut verify = Command::new("systemd-analyze");
    verify.args(["--user", "--man=no", "verify"]).arg(home.file(UNIT));
    let output = verify.env("HOME", home.path()).env("XDG_RUNTIME_DIR", home.session()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !text.contains("doorbell-desktop.service:"), "{text}");
}

#[test]
fn an_everyday_profile_gets_a_block_after_a_warning_and_is_as_it_was_afterwards() {
    let home = Home::new();
    let firefox = home.has_lazy_firefox();
    let folder = ".mozilla/firefox/abc.default-esr";
    home.writes(&format!("{folder}/prefs.js"), "user_pref(\"mine\", 1);\n");
    home.writes(&format!("{folder}/user.js"), "user_pref(\"own\", true);\n");
    let entry = home.path().with_file_name("share").join("applications/firefox-esr.desktop");
    fs::create_dir_all(entry.parent().unwrap()).unwrap();
    fs::write(&entry, "[Desktop Entry]\nName=Firefox ESR\nExec=/usr/lib/firefox-esr/firefox-esr %u\n").unwrap();
    let before = home.listing();
    let profile = home.file(folder);
    let profile = profile.to_str().unwrap();

    let printed = home.fails(&["install", NOWHERE, "--firefox", profile]);
    assert!(printed.contains("no other push service") && printed.contains("only with --yes"), "{printed}");
    assert_eq!(home.listing(), before);

    home.does(&["install", NOWHERE, "--firefox", profile, "--yes"]);
    let user_js = home.text(&format!("{folder}/user.js"));
    assert!(user_js.starts_with("user_pref(\"own\", true);\n") && user_js.contains("wss://127.0.0.1:9/"), "{user_js}");
    let entry = home.text(".local/share/applications/firefox-esr.desktop");
    assert!(
        entry.contains("Name=Firefox ESR\n") && entry.contains("\"firefox\"") && entry.contains("\"--\" %u"),
        "{entry}"
    );

    // The icon starts Firefox with the lock, and with no settings for trying out.
    let line = entry.lines().find_map(|line| line.strip_prefix("Exec=")).unwrap().replace("%u", "http://a.example/");
    let mut start = Command::new("sh");
    home.surrounds(start.arg("-c").arg(line));
    let mut start = Running::start(&mut start);
    assert!(start.exit(|_| {}).success(), "{}", start.output());
    assert_eq!(home.started(), format!("--profile {profile} http://a.example/\n"), "{}", start.output());
    assert_eq!(home.text(&format!("{folder}/user.js")), user_js);

    // A Firefox works with it: as its lock shows.
    let lock = home.file(folder).join("lock");
    symlink(format!("127.0.0.1:+{}", std::process::id()), &lock).unwrap();
    let held = fs::File::create(home.file(folder).join(".parentlock")).unwrap();
    rustix::fs::fcntl_lock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let printed = home.fails(&["uninstall"]);
    assert!(printed.contains("close it first"), "{printed}");
    fs::remove_file(&lock).unwrap();
    fs::remove_file(home.file(folder).join(".parentlock")).unwrap();
    // What a Firefox remembers of our settings.
    let remembered = "user_pref(\"dom.push.serverURL\", \"wss://127.0.0.1:9/\");\nuser_pref(\"mine\", 1);\n";
    home.writes(&format!("{folder}/prefs.js"), remembered);
    home.writes(&format!("{folder}/doorbell-woken"), "7");
    home.does(&["uninstall"]);
    assert_eq!(home.listing(), before);
    assert!(Path::new(&firefox).exists());
}

#[test]
fn a_firefox_that_is_not_an_esr_is_installed_with_the_flag_that_its_refusal_names() {
    let home = Home::new();
    home.has_lazy_firefox();
    fs::write(home.firefox_folder().join("application.ini"), "SourceRepository=https://example.org/release\n").unwrap();
    let named = ["install", NOWHERE, "--firefox", "doorbell"];
    let printed = home.fails(&named);
    assert!(printed.contains("with --allow-debug-port it is woken"), "{printed}");
    let printed = home.does(&[&named[..], &["--allow-debug-port"]].concat());
    assert!(printed.contains("warning: allow_debug_port"), "{printed}");
    assert!(home.text(".config/doorbell/desktop.toml").contains("allow_debug_port = true\n"));
}

#[test]
fn an_everyday_chromium_is_refused_with_the_reason() {
    let home = Home::new();
    home.has_program("chromium", "#!/bin/sh\n");
    home.writes(".config/chromium/Local State", "{}");
    let before = home.listing();
    let profile = home.file(".config/chromium");
    let printed = home.fails(&["install", NOWHERE, "--chromium", profile.to_str().unwrap(), "--yes"]);
    assert!(printed.contains("show Google the secret") && printed.contains("--system"), "{printed}");
    assert_eq!(home.listing(), before);
}

/// A user namespace gives the test a file system of its own that is full.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_shown_with_what_to_do() {
    let mut mounts = Command::new("unshare");
    mounts.args(["--map-root-user", "--mount", "mount", "-t", "tmpfs", "x", "/mnt"]);
    let mounts = mounts.output().is_ok_and(|output| output.status.success());
    if !support::foreign::here("unshare (a user who may mount a file system)", mounts) {
        return;
    }
    let (home, door) = (Home::new(), WakeDoor::open().await);
    home.has_lazy_firefox();
    has_profile(&home, &door, "alice");
    let ca = door.ca();
    home.does(&["install", &door.origin(), "--ca", ca.to_str().unwrap(), "--firefox", "doorbell"]);
    let unit = home.text(UNIT);
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let state = home.file(".local/state/doorbell/desktop");
    let mut command = Command::new(support::desktop::on_path("unshare").unwrap());
    home.surrounds(&mut command);
    let mount = support::desktop::on_path("mount").unwrap();
    let script = format!("{} -t tmpfs -o size=64k x {} && exec {line}", mount.display(), state.display());
    command.args(["--map-root-user", "--mount", "sh", "-c", &script]);
    let part = Running::start(&mut command);
    part.prints(FOLLOWED);
    // An upgrade: the copy of the launcher has to be made anew, and does not fit.
    let launcher = home.firefox_folder().join("firefox-esr");
    let mut text = fs::read_to_string(&launcher).unwrap();
    text.push_str(&"# filling\n".repeat(20_000));
    fs::write(&launcher, text).unwrap();
    let mut stream = door.next_stream();
    stream.reports_waiting(1, 1);
    let text = status_shows(&home, "No space left on device");
    assert!(text.contains("free some space there"), "{text}");
}

#[test]
fn a_profile_that_is_started_is_kept_reachable_and_the_firefox_that_runs_opens_the_next_page() {
    if !(Firefox::is_here() && Desktop::is_here()) {
        return;
    }
    let (home, service, desktop, mut site) = (Home::new(), Service::start(), Desktop::start(), Site::open());
    let (origin, ca) = (service.origin(), service.ca());
    let ca = ca.to_str().unwrap();
    let binary = support::desktop::on_path("firefox-esr").unwrap();
    let binary = binary.to_str().unwrap();
    let printed = home.does(&["install", &origin, "--ca", ca, "--firefox", "doorbell", "--binary", binary]);
    assert!(printed.contains("teaching the profile to trust"), "{printed}");
    let mut part = home.starts_the_unit(|command| {
        command.envs(desktop.variables());
    });
    part.prints("is kept reachable");
    // Its Firefox has no name at the service yet.
    status_shows(&home, "no message wakes it");

    let start = |page: &str| {
        let mut command = support::service::doorbell("firefox");
        command.args([&origin, "--ca", ca, "--binary", binary, "--profile", "work", "--", page]);
        home.surrounds(&mut command);
        Running::start(command.envs(desktop.variables()).envs(Firefox::CUT_OFF))
    };
    let first = start("about:blank");
    first.prints("a message wakes this profile while it is closed");
    status_shows(&home, "firefox/work");
    let profile = home.file(".local/state/doorbell/firefox/work");
    desktop.waits_until("Firefox takes the profile", || profile.join("lock").is_symlink());
    // It is still starting: the page waits for it, instead of a dialog "already running, but is not responding".
    let mut second = start(&site.url());
    assert!(second.exit(|_| {}).success(), "{}", second.output());
    second.prints(&format!("a Firefox (process {}) works with the profile: it opens the window", first.id()));
    site.waits_for_page();

    let mut prepare = support::service::doorbell("firefox");
    prepare.args([&origin, "--ca", ca, "--binary", binary, "--profile", "work", "--prepare"]);
    home.surrounds(&mut prepare);
    let mut prepare = Running::start(&mut prepare);
    assert!(!prepare.exit(|_| {}).success(), "its settings cannot be written while it runs");
    prepare.prints("close it first");

    home.does(&["uninstall", "--profiles"]);
    assert!(part.exit(|_| {}).success());
    assert!(!home.file(PROFILE).exists() && !home.file(".config/doorbell").exists());
    assert!(profile.exists(), "it is not one that was installed");
}
