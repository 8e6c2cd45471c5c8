//! The steps of a message: performs one step N times, so that its instructions can be counted.
//!
//! `cargo xtask instructions` runs it under valgrind and compares with `instructions.toml`. Without arguments it lists
//! its steps. Every run is the same: one thread, fixed ids, no clock.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

mod door;
mod memory;
mod wire;

use std::process::ExitCode;

/// One execution of a step.
type Step = Box<dyn FnMut()>;
/// Prepares a step, once.
type Make = fn() -> Step;

/// The steps, in the order in which a message takes them.
const STEPS: &[(&str, Make)] = &[
    ("capability-open", door::open),
    ("vapid-parse", door::vapid),
    ("store-append-erase", memory::store),
    ("capability-path", door::path),
    ("mailbox-roundtrip", memory::mailbox),
    ("notification-encode", wire::notification),
    ("mcs-encode", wire::mcs),
    ("websocket-decode-ack", wire::acknowledgement),
];

/// The length of a message's body in bytes.
const BODY: usize = 1024;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let chosen = args.first().and_then(|name| STEPS.iter().find(|(step, _)| step == name));
    let times = args.get(1).and_then(|times| times.parse::<u32>().ok());
    let (Some((_, make)), Some(times)) = (chosen, times) else {
        STEPS.iter().for_each(|(step, _)| println!("{step}"));
        return if args.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) };
    };
    let mut step = make();
    (0..times).for_each(|_| step());
    ExitCode::SUCCESS
}
