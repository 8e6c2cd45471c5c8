//! Who may depend on whom, read from each Cargo.toml.

use crate::Violation;
use crate::files::File;

/// What each crate may import of ours, in any section of its manifest. A crate that is not listed here must be added,
/// and the place to think about its direction is now.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("mailbox", &["protocol"]),
    ("cluster", &["protocol"]),
    ("peers", &["protocol", "cluster"]),
    ("store", &["protocol", "private-file", "postgres-server"]),
    ("private-file", &[]),
    ("postgres-server", &[]),
    ("service", &["protocol", "mailbox", "store", "private-file"]),
    ("agent", &["protocol", "private-file"]),
    ("sender", &["protocol"]),
    ("demo", &["protocol", "private-file", "sender"]),
    ("browsers", &["private-file"]),
    ("desktop", &["protocol", "private-file", "browsers"]),
    ("load", &["protocol"]),
    (
        "doorbell",
        &[
            "protocol",
            "private-file",
            "service",
            "store",
            "agent",
            "sender",
            "demo",
            "browsers",
            "desktop",
            "load",
            "postgres-server",
        ],
    ),
];

const DIRECTION: &str = "imports run one way: protocol and private-file are for everyone, the three roles (service, agent, sender) \
    never import each other, mailbox and store do not know each other; else a misreading of the standard that two \
    roles share would go unseen";

/// Crates that judge ours in tests. In the product they would be a second implementation, or a second licence.
const ORACLES: &[&str] = &["ece", "p256", "jsonwebtoken", "openssl"];

/// Imports between the workspace's crates follow [`MAY_IMPORT`].
pub(crate) fn direction(file: &File) -> Vec<Violation> {
    let Some(krate) = manifest_of(file) else { return Vec::new() };
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == krate) else {
        return vec![format!("{}: crate {krate} has no line in MAY_IMPORT; {DIRECTION}", file.path)];
    };
    let ours =
        dependencies(&file.text).into_iter().filter_map(|(_, name)| name.strip_prefix("doorbell-").map(str::to_owned));
    ours.filter(|name| !allowed.contains(&name.as_str()) && name != krate)
        .map(|name| format!("{}: {krate} imports {name}; {DIRECTION}", file.path))
        .collect()
}

/// Oracles stand in `[dev-dependencies]` only.
pub(crate) fn oracles(file: &File) -> Vec<Violation> {
    if manifest_of(file).is_none() {
        return Vec::new();
    }
    let production = dependencies(&file.text).into_iter().filter(|(section, _)| section != "dev-dependencies");
    production
        .filter(|(_, name)| ORACLES.contains(&name.as_str()))
        .map(|(section, name)| {
            format!("{}: {name} in [{section}]: it is an oracle of tests; the product uses aws-lc-rs alone", file.path)
        })
        .collect()
}

/// No crate and no module is a bag for everything.
pub(crate) fn names(file: &File) -> Vec<Violation> {
    let bag = |part: &str| matches!(part.trim_end_matches(".rs"), "common" | "util" | "utils" | "helpers" | "misc");
    let in_tests = file.path.contains("/tests/");
    if (file.path.starts_with("crates/") || file.path.starts_with("xtask/"))
        && !in_tests
        && file.path.split('/').any(bag)
    {
        return vec![format!("{}: a name that fits everything tells a reader nothing; name the idea", file.path)];
    }
    Vec::new()
}

fn manifest_of(file: &File) -> Option<&str> {
    let krate = file.krate()?;
    (file.path == format!("crates/{krate}/Cargo.toml")).then_some(krate)
}

/// Section and name of every dependency in a manifest. Sections are `[dependencies]`, `[dev-dependencies]`,
/// `[build-dependencies]`, the same under `target.*`, and tables of a single dependency.
fn dependencies(manifest: &str) -> Vec<(String, String)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let words: Vec<&str> = header.split('.').collect();
            let place = words.iter().position(|word| word.ends_with("dependencies"));
            section = place.map_or_else(String::new, |place| words[place].to_owned());
            if let Some(name) = place.and_then(|place| words.get(place + 1)) {
                found.push((section.clone(), (*name).to_owned()));
            }
        } else if !section.is_empty() && !line.starts_with('#') {
            let name: String = line.chars().take_while(|c| c.is_alphanumeric() || "-_".contains(*c)).collect();
            if !name.is_empty() {
                found.push((section.clone(), name));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(krate: &str, text: &str) -> File {
        File::planted(&format!("crates/{krate}/Cargo.toml"), text)
    }

    #[test]
    fn a_role_that_imports_a_role_is_caught_in_every_section() {
        let planted = [
            "[dependencies]\ndoorbell-sender.workspace = true\n",
            "[dev-dependencies]\ndoorbell-sender = { path = \"../sender\" }\n",
            "[dependencies.doorbell-sender]\nworkspace = true\n",
            "[target.'cfg(unix)'.dependencies]\ndoorbell-sender.workspace = true\n",
        ];
        for text in planted {
            assert_eq!(direction(&manifest("agent", text)).len(), 1, "{text}");
        }
    }

    #[test]
    fn a_mailbox_that_knows_the_store_is_caught() {
        assert_eq!(direction(&manifest("mailbox", "[dependencies]\ndoorbell-store.workspace = true\n")).len(), 1);
        assert_eq!(direction(&manifest("store", "[dependencies]\ndoorbell-mailbox.workspace = true\n")).len(), 1);
        assert!(direction(&manifest("service", "[dependencies]\ndoorbell-store.workspace = true\n")).is_empty());
    }

    #[test]
    fn a_new_crate_must_be_given_a_direction() {
        assert_eq!(direction(&manifest("newcomer", "[dependencies]\n")).len(), 1);
    }

    #[test]
    fn an_oracle_in_the_product_is_caught_and_in_tests_is_not() {
        assert_eq!(oracles(&manifest("protocol", "[dependencies]\nece.workspace = true\n")).len(), 1);
        assert!(oracles(&manifest("protocol", "[dev-dependencies]\nece.workspace = true\n")).is_empty());
    }

    #[test]
    fn a_bag_of_everything_is_caught() {
        assert_eq!(names(&File::planted("crates/util/src/lib.rs", "")).len(), 1);
        assert_eq!(names(&File::planted("crates/service/src/common.rs", "")).len(), 1);
        assert!(names(&File::planted("crates/service/src/hub/shard.rs", "")).is_empty());
    }
}
