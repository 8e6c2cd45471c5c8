//! Installs what the tests need and the machine lacks: Debian packages, the foreign senders with Deno and Bun, cargo-deny.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::report::{Outcome, Report};
use crate::shell::{self, succeeds, which};
use crate::step::Show;
use crate::tree;

/// A Debian package, and how to see that what it brings is there, however it was installed.
struct Needed {
    package: &'static str,
    here: fn() -> bool,
    why: &'static str,
}

const NEEDED: &[Needed] = &[
    Needed { package: "gcc", here: || which("cc").is_some(), why: "links, and compiles SQLite and AWS-LC" },
    Needed { package: "make", here: || which("make").is_some(), why: "compiles the allocator" },
    Needed { package: "g++", here: || which("c++").is_some(), why: "compiles libFuzzer" },
    Needed { package: "git", here: || which("git").is_some(), why: "the house rules read the list of tracked files" },
    Needed { package: "pkg-config", here: || which("pkg-config").is_some(), why: "finds OpenSSL" },
    Needed {
        package: "libssl-dev",
        here: || succeeds("pkg-config", &["--exists", "openssl"]),
        why: "the encryption oracle of the tests and a foreign sender use OpenSSL",
    },
    Needed { package: "nghttp2-client", here: || which("nghttp").is_some(), why: "a foreign user agent" },
    Needed { package: "nodejs", here: || which("node").is_some(), why: "foreign senders and a foreign user agent" },
    Needed {
        package: "npm",
        here: || which("npm").is_some(),
        why: "installs the foreign senders and the judge of the page",
    },
    Needed {
        package: "python3-venv",
        here: || succeeds("python3", &["-c", "import ensurepip, venv"]),
        why: "a foreign sender",
    },
    Needed {
        package: "firefox-esr",
        here: || which("firefox-esr").or_else(|| which("firefox")).is_some(),
        why: "the real user agent",
    },
    Needed {
        package: "chromium",
        here: || {
            ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"]
                .iter()
                .any(|name| which(name).is_some())
        },
        why: "the other real user agent",
    },
    Needed { package: "xvfb", here: || which("Xvfb").is_some(), why: "a screen for Firefox and its notifications" },
    Needed {
        package: "systemd",
        here: || which("systemd-analyze").is_some(),
        why: "judges the unit of the desktop part",
    },
    Needed { package: "dbus-daemon", here: || which("dbus-daemon").is_some(), why: "a message bus of the tests' own" },
    Needed {
        package: "dunst",
        here: || which("dunst").is_some(),
        why: "shows Firefox's notifications and clicks them",
    },
    Needed {
        package: "pebble",
        here: || which("pebble").is_some() && which("pebble-challtestsrv").is_some(),
        why: "a certificate authority for tests",
    },
    Needed {
        package: "prometheus",
        here: || which("prometheus").is_some() && which("promtool").is_some(),
        why: "reads the metrics and judges the alert rules",
    },
    Needed {
        package: "faketime",
        here: || which("faketime").is_some(),
        why: "sets the wall clock of a service back and ahead",
    },
    Needed { package: "nginx", here: || administrator_has("nginx"), why: "a proxy in front of a service" },
    Needed {
        package: "libnginx-mod-stream",
        here: || Path::new("/usr/lib/nginx/modules/ngx_stream_module.so").is_file(),
        why: "lets nginx pass TCP through",
    },
    Needed { package: "haproxy", here: || administrator_has("haproxy"), why: "a proxy in front of a service" },
    Needed { package: "caddy", here: || which("caddy").is_some(), why: "a proxy in front of a service" },
    Needed { package: "xdotool", here: || which("xdotool").is_some(), why: "presses the keys of a user" },
    Needed { package: "weston", here: || which("weston").is_some(), why: "a desktop without X" },
    Needed { package: "libnotify4", here: || library("libnotify.so.4"), why: "Firefox's way to notifications" },
    Needed { package: "imagemagick", here: || which("import").is_some(), why: "takes pictures of the screen" },
    Needed { package: "valgrind", here: || which("valgrind").is_some(), why: "counts instructions" },
    Needed {
        package: "postgresql",
        here: || {
            let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
            which("initdb").is_some() || versions.into_iter().any(|version| version.path().join("bin/initdb").exists())
        },
        why: "a server of the store's tests' own",
    },
    Needed { package: "etcd-server", here: || which("etcd").is_some(), why: "decides for Patroni who is the primary" },
    Needed { package: "fonts-dejavu-core", here: || font("DejaVu Sans"), why: "letters for those pictures" },
];

/// What Debian starts after the installation. `prometheus-node-exporter` comes with Prometheus where recommended packages
/// are installed.
const DAEMONS: [&str; 6] = ["nginx", "haproxy", "caddy", "etcd", "prometheus", "prometheus-node-exporter"];

/// The daemons whose units are there, after an installation those that it brought: one that was there `before` may be in
/// use.
fn daemons(before: &[&str], has_unit: impl Fn(&str) -> bool) -> Vec<&'static str> {
    DAEMONS.into_iter().filter(|daemon| !before.contains(daemon) && has_unit(daemon)).collect()
}

fn has_unit(daemon: &str) -> bool {
    Path::new("/usr/lib/systemd/system").join(format!("{daemon}.service")).is_file()
}

/// Whether a program is there that may not be on the PATH of others than root.
fn administrator_has(program: &str) -> bool {
    which(program).is_some() || Path::new("/usr/sbin").join(program).is_file()
}

fn library(name: &str) -> bool {
    let listing = Command::new("/sbin/ldconfig").arg("-p").output();
    listing.is_ok_and(|listing| String::from_utf8_lossy(&listing.stdout).contains(name))
}

fn font(family: &str) -> bool {
    let listing = Command::new("fc-list").arg(family).output();
    listing.is_ok_and(|listing| !listing.stdout.is_empty())
}

/// Installs what is missing; whether everything is there now. Outside CI the tests run with what could be had.
pub(crate) fn run(report: &mut Report) -> Result<bool> {
    let complete = debian_packages(report)?
        & npm_packages(report)?
        & python_packages(report)?
        & cargo_tools(report)?
        & rust_senders(report)?;
    if !complete && !shell::in_ci() {
        println!(
            "!! Some tools are missing: the tests that need them will say that they were skipped. In CI this is an error."
        );
    }
    Ok(complete || !shell::in_ci())
}

fn debian_packages(report: &mut Report) -> Result<bool> {
    let missing: Vec<&Needed> = NEEDED.iter().filter(|needed| !(needed.here)()).collect();
    if missing.is_empty() {
        return Ok(true);
    }
    for needed in &missing {
        println!("missing: {} ({})", needed.package, needed.why);
    }
    let apt = || which("apt-get").and_then(|_| shell::as_root("apt-get"));
    let (Some(mut update), Some(mut install)) = (apt(), apt()) else {
        return unavailable(report, "debian packages", "no apt-get, or no right to use it");
    };
    update.arg("update");
    install.args(["install", "--yes", "--no-install-recommends"]).args(missing.iter().map(|needed| needed.package));
    install.env("DEBIAN_FRONTEND", "noninteractive");
    let before = daemons(&[], has_unit);
    // A stale list may still do: the installation decides.
    report.step("debian list", update, Show::Failures)?;
    let are_installed = report.step("debian packages", install, Show::Failures)?;
    // The tests start their own: those of the packages would take ports of the machine.
    let started = daemons(&before, has_unit);
    if !started.is_empty()
        && let Some(mut stop) = which("systemctl").and_then(|_| shell::as_root("systemctl"))
        && Path::new("/run/systemd/system").is_dir()
    {
        stop.args(["disable", "--now"]).args(started);
        report.step("services of the packages", stop, Show::Failures)?;
    }
    Ok(are_installed)
}

fn npm_packages(report: &mut Report) -> Result<bool> {
    let [senders, axe] = tree::npm();
    Ok(npm_package(report, &senders)? & npm_package(report, &axe)?)
}

fn npm_package(report: &mut Report, folder: &Path) -> Result<bool> {
    let lock = folder.join("package-lock.json");
    let stamp = folder.join("node_modules").join(".installed");
    if same(&lock, &stamp) {
        return Ok(true);
    }
    if which("npm").is_none() {
        return unavailable(report, "npm packages", "npm is not here");
    }
    let mut install = Command::new("npm");
    install.arg("--prefix").arg(folder).args(["ci", "--no-audit", "--no-fund"]);
    let installed = report.step("npm packages", install, Show::Failures)?;
    if installed {
        fs::copy(&lock, &stamp).context("the stamp of the npm packages")?;
    }
    Ok(installed)
}

fn python_packages(report: &mut Report) -> Result<bool> {
    let senders = tree::senders().join("requirements.txt");
    let patroni = tree::patroni().join("requirements.txt");
    // A server refuses root, and so its Patroni may be another user's: that one can run the system's Python.
    let system = Some("/usr/bin/python3").filter(|python| succeeds(python, &["-c", "import ensurepip, venv"]));
    Ok(python_environment(report, "python3", &senders, &tree::python_environment())?
        & python_environment(report, system.unwrap_or("python3"), &patroni, &tree::patroni_environment())?)
}

/// An environment of `python` with what `requirements` lists.
fn python_environment(report: &mut Report, python: &str, requirements: &Path, environment: &Path) -> Result<bool> {
    let stamp = environment.join("installed.txt");
    if same(requirements, &stamp) {
        return Ok(true);
    }
    if which(python).is_none() {
        return unavailable(report, "python packages", "python3 is not here");
    }
    let mut create = Command::new(python);
    create.args(["-m", "venv", "--clear"]).arg(environment);
    let mut install = Command::new(environment.join("bin").join("python"));
    install.args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(requirements);
    let installed = report.step("python environment", create, Show::Failures)?
        && report.step("python packages", install, Show::Failures)?;
    if installed {
        fs::copy(requirements, &stamp).context("the stamp of the Python packages")?;
    }
    Ok(installed)
}

fn cargo_tools(report: &mut Report) -> Result<bool> {
    for (tool, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if !succeeds("cargo", &[tool, "--version"]) && !succeeds("rustup", &["component", "add", component]) {
            bail!("{component} is missing and rustup could not add it");
        }
    }
    if succeeds("cargo", &["deny", "--version"]) {
        return Ok(true);
    }
    let mut install = Command::new("cargo");
    install.args(["install", "cargo-deny", "--locked", "--version", "^0.20"]);
    report.step("cargo-deny", install, Show::Failures)
}

/// Builds the Rust senders where their test looks for them, so that it need not wait for two hundred crates.
fn rust_senders(report: &mut Report) -> Result<bool> {
    let mut build = Command::new("cargo");
    build.args(["build", "--locked", "--manifest-path"]).arg(tree::rust_senders().join("Cargo.toml"));
    build.arg("--target-dir").arg(tree::root().join("target").join("e2e-rust"));
    report.step("rust senders", build, Show::Failures)
}

fn unavailable(report: &mut Report, name: &str, why: &str) -> Result<bool> {
    let outcome = if shell::in_ci() { Outcome::Failed } else { Outcome::Skipped };
    report.add(name, outcome, Duration::ZERO, why.to_owned(), None);
    Ok(false)
}

/// Whether both files exist and are the same.
fn same(one: &Path, other: &Path) -> bool {
    matches!((fs::read(one), fs::read(other)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_daemon_that_an_installation_brings_is_stopped_and_one_that_was_there_is_not() {
        let before = daemons(&[], |daemon| daemon == "nginx");
        let after = ["nginx", "prometheus", "prometheus-node-exporter", "ssh"];
        let started = daemons(&before, |daemon| after.contains(&daemon));
        assert_eq!(started, ["prometheus", "prometheus-node-exporter"]);
    }
}
