//! The task runner: `cargo xtask test` is the one command that a developer and CI both run.

mod citations;
mod clock;
mod counts;
mod fuzz;
mod instructions;
mod recipes;
mod report;
mod setup;
mod shell;
mod spec_map;
mod step;
mod tree;
mod words;

use std::process::ExitCode;

/// How long each attack lasts.
const ATTACK_SECONDS_DEFAULT: &str = "60";

const USAGE: &str = "\
cargo xtask RECIPE

  test            everything that CI runs, installing what is missing
  setup           only install what the other recipes need
  check           format, lints and house rules: the quick look before a commit
  fuzz [SECONDS]  every fuzz target for SECONDS (default 12), two at a time
  instructions [--record]
                  the instructions of a message's way, compared with what was recorded, or recorded
  crash [ROUNDS]  kill -9 under load, ROUNDS times (default 200) on one state directory, and as often while the clock jumps
  attack [--seconds N]
                  attacks on a service beside honest parties, each for N seconds (default 60): latency and memory
  words [--list | --check]
                  how often comments use words of the list, and code assertions; where; or whether a budget is exceeded
  spec-map        fill docs/spec-map.md with the tests that cite each requirement
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["test"] => recipes::test(),
        ["setup"] => recipes::setup(),
        ["check"] => recipes::check(),
        ["fuzz"] => recipes::fuzz(fuzz::SECONDS_DEFAULT),
        ["fuzz", seconds] => match seconds.parse() {
            Ok(seconds) => recipes::fuzz(seconds),
            Err(_) => return usage(),
        },
        ["instructions"] => recipes::instructions(),
        ["instructions", "--record"] => recipes::record_instructions(),
        ["crash"] => recipes::crash("200"),
        ["crash", rounds] => recipes::crash(rounds),
        ["attack"] => recipes::attack(ATTACK_SECONDS_DEFAULT),
        ["attack", "--seconds", seconds] => recipes::attack(seconds),
        ["words"] => words::table(),
        ["words", "--list"] => words::list(),
        ["words", "--check"] => words::check(),
        ["spec-map"] => spec_map::fill().map(|()| ExitCode::SUCCESS),
        _ => return usage(),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprint!("{USAGE}");
    ExitCode::from(2)
}
