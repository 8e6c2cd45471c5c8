//! The folders of the service: each may use those below it, so that no circle can come about between them.

use crate::Violation;
use crate::files::File;

/// What a file in each folder, or a file beside them, may name with `crate::`, besides its own folder. A folder that is
/// not listed must be added, and this is the moment to think about its direction.
const MAY_USE: &[(&str, &[&str])] = &[
    (EVERYWHERE, &[]),
    ("clock", &["wall"]),
    ("wall", &[]),
    ("config", &[]),
    ("capability", &[]),
    ("seldom", &[]),
    ("counts", &[]),
    ("state_dir", &[]),
    ("transport", &["counts", "seldom"]),
    ("hub", &["capability", "clock", "config", "counts", "seldom"]),
    ("accept", &["clock", "config", "counts", "seldom", "transport"]),
    ("doors", &["accept", "capability", "clock", "config", "counts", "hub", "seldom", "transport"]),
    ("metrics", &["accept", "clock", "config", "counts", "status"]),
    ("status", &[]),
    ("storage", &["config", "state_dir", "status"]),
    ("health", &["accept", "clock", "config", "counts", "hub", "status", "wall"]),
    ("admin", &["accept", "config", "health", "metrics", "seldom", "status", "transport"]),
    (
        "service",
        &[
            "accept",
            "admin",
            "capability",
            "clock",
            "config",
            "counts",
            "doors",
            "health",
            "hub",
            "metrics",
            "state_dir",
            "status",
            "storage",
        ],
    ),
];

/// A tool that every folder may use.
const EVERYWHERE: &str = "locked";

const WHY: &str = "the service's folders use each other in one direction, so that another listener, another door or \
    another node is added by adding files (ARCHITECTURE.md)";

/// The folders of `crates/service/src` follow [`MAY_USE`].
pub(crate) fn service(file: &File) -> Vec<Violation> {
    let Some(path) = file.path.strip_prefix("crates/service/src/").filter(|path| *path != "lib.rs") else {
        return Vec::new();
    };
    let folder = path.split(['/', '.']).next().expect("a split text has a first part");
    let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == folder) else {
        return vec![format!("{}: {folder} has no line in MAY_USE; {WHY}", file.path)];
    };
    let mut found = Vec::new();
    for (n, line) in file.code() {
        for used in line.split("crate::").skip(1) {
            let name: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if name != folder && name != EVERYWHERE && !allowed.contains(&name.as_str()) {
                found.push(format!("{}:{n}: {folder} uses {name}; {WHY}", file.path));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(path: &str, text: &str) -> usize {
        service(&File::planted(&format!("crates/service/src/{path}"), text)).len()
    }

    #[test]
    fn a_folder_that_uses_one_above_it_is_caught() {
        assert_eq!(rule("transport/body.rs", "use crate::doors::Doors;"), 1);
        assert_eq!(rule("accept/http1.rs", "    let doors = crate::doors::Doors::new();"), 1);
        assert_eq!(rule("hub/shard.rs", "use crate::transport::Request;"), 1);
        assert_eq!(rule("doors/app/push.rs", "use crate::hub::Hub;\nuse crate::doors::wire;"), 0);
        assert_eq!(rule("lib.rs", "pub use crate::service::Service;"), 0);
        assert_eq!(rule("locked.rs", "use crate::clock::Clock;"), 1);
        assert_eq!(rule("hub/outbox.rs", "use crate::locked::Locked;"), 0);
        assert_eq!(rule("capability/ring.rs", "use crate::locked::Locked;"), 0);
    }

    #[test]
    fn a_new_folder_must_be_given_a_direction() {
        assert_eq!(rule("peers/mod.rs", ""), 1);
    }
}
