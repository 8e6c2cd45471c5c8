//! What the verbs for browsers share: the service as they are told of it, the program, and a profile that is ours.

pub(crate) mod door;
pub(crate) mod profile;
pub(crate) mod program;

pub(crate) use door::Door;
pub(crate) use profile::{Kind, Profile};
pub(crate) use program::{Make, Program};

/// A line for the user on stderr: stdout is for what was asked for.
pub(crate) fn status(line: &str) {
    eprintln!("doorbell: {line}");
}
