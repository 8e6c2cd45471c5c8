//! The mailbox in thousands of seeded schedules: safety after every event, and in the end everything arrives.
//!
//! `DOORBELL_SEED` is the seed of the first schedule and `DOORBELL_SCHEDULES` how many there are; schedule n has the
//! seed of the first plus n, so the seed that a failure prints repeats it with `DOORBELL_SCHEDULES=1`.

mod calm;
mod chance;
mod counts;
mod judge;
mod random;
mod store;
mod subject;
mod world;

use counts::Counts;
use judge::Violation;
use judge::second::SECOND;
use judge::watch::{QUIET, REPORTED, TRUE};
use subject::Bug;
use world::{Moment, World};

const SEED: u64 = 8030;
const SCHEDULES: u64 = 2_000;
const STEPS: usize = 200;
/// A planted bug has to be found within this many schedules.
const SCHEDULES_FOR_A_BUG: u64 = 200;

/// Runs one schedule.
fn run(seed: u64, bug: Option<Bug>) -> (World, Result<(), Violation>) {
    let mut world = World::new(seed, bug);
    let outcome = (0..STEPS).try_for_each(|_| world.step()).and_then(|()| world.calm());
    (world, outcome)
}

fn number_from_env(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
        Err(_) => default,
    }
}

fn report(seed: u64, violation: &Violation, log: &[Moment]) -> String {
    let last: Vec<String> = log.iter().rev().take(40).rev().map(|moment| format!("{moment:?}")).collect();
    let again = format!("DOORBELL_SEED={seed} DOORBELL_SCHEDULES=1 cargo test -p doorbell-mailbox --test simulation");
    format!("{}\nbroken: {}: {}\nagain: {again}", last.join("\n"), violation.rule, violation.detail)
}

#[test]
fn every_schedule_is_safe_and_everything_that_should_arrive_does() {
    let first = number_from_env("DOORBELL_SEED", SEED);
    let schedules = number_from_env("DOORBELL_SCHEDULES", SCHEDULES);
    println!("DOORBELL_SEED={first} DOORBELL_SCHEDULES={schedules}");
    let mut counts = Counts::default();
    for seed in (0..schedules).map(|n| first.wrapping_add(n)) {
        let (world, outcome) = run(seed, None);
        if let Err(violation) = outcome {
            panic!("{}", report(seed, &violation, &world.log));
        }
        counts.merge(&world.judge.counts);
    }
    println!("{counts}");
    if schedules >= SCHEDULES {
        assert_eq!(counts.missing(), [""; 0], "these never happened, so nothing is known about them");
    }
}

#[test]
fn a_seed_means_the_same_schedule_every_time() {
    let log = |seed| run(seed, None).0.log;
    assert_eq!(log(SEED), log(SEED));
    assert_ne!(log(SEED), log(SEED + 1));
}

/// Plants a bug: one of these rules has to be broken, and by the same seed again.
fn finds(bug: Bug, rules: &[&str]) {
    let tries = (0..SCHEDULES_FOR_A_BUG).map(|n| SEED.wrapping_add(n));
    let find = |seed| run(seed, Some(bug)).1.err().map(|violation| (seed, violation));
    let Some((seed, violation)) = tries.into_iter().find_map(find) else { panic!("{bug:?} was not found") };
    println!("{bug:?}: seed {seed}: {}", violation.rule);
    assert!(rules.contains(&violation.rule), "{violation:?}");
    assert_eq!(run(seed, Some(bug)).1, Err(violation), "the seed repeats it");
}

const STANDS_STILL: [&str; 2] = ["what can go goes", "everything that should arrive arrives"];

#[test]
fn a_mailbox_that_accepts_before_durable_is_found_ps_8030_5_2() {
    finds(Bug::AcceptBeforeDurable, &["accepted means durable"]);
}

#[test]
fn a_mailbox_without_expiry_is_found_ps_8030_5_2_7() {
    finds(Bug::NoExpiry, &["nothing expired is sent", TRUE]);
}

#[test]
fn a_mailbox_that_never_retries_after_a_time_out_is_found_ps_8030_6_2_4() {
    finds(Bug::NoRetryAfterTimeOut, &STANDS_STILL);
}

#[test]
fn a_mailbox_that_forgets_its_deadlines_is_found_only_by_what_does_not_arrive_ps_8030_6_2_4() {
    finds(Bug::NoDeadline, &["everything that should arrive arrives", REPORTED]);
}

#[test]
fn a_mailbox_that_leaks_replaced_topics_is_found_ps_8030_5_4_2() {
    finds(Bug::TopicLeak, &["nothing replaced is sent"]);
}

#[test]
fn a_mailbox_that_ignores_a_floor_is_found_ps_8030_5_3_5() {
    finds(Bug::FloorIgnored, &["floor and scope are kept", TRUE]);
}

#[test]
fn a_mailbox_that_overruns_the_window_is_found_ps_8030_6_11() {
    finds(Bug::WindowIgnored, &["the window is kept"]);
}

#[test]
fn a_mailbox_whose_drains_never_end_is_found_ps_8030_6_6() {
    finds(Bug::DrainWithoutEnd, &STANDS_STILL);
}

#[test]
fn a_mailbox_that_drops_acknowledgements_is_found_ps_8030_6_2_6() {
    finds(Bug::AckLost, &["nothing acknowledged is sent again", "what can go goes"]);
}

#[test]
fn a_mailbox_that_ignores_unsubscribing_is_found_ps_8030_7_3_2() {
    let rules = ["a removed subscription ends its subscribers", "nothing of a removed subscription is sent"];
    finds(Bug::UnsubscribeLost, &rules);
}

#[test]
fn a_broken_assertion_of_the_mailbox_is_found_like_a_broken_rule() {
    finds(Bug::IdMintedTwice, &[subject::ASSERTIONS]);
}

#[test]
fn a_mailbox_that_sends_to_a_watcher_is_found() {
    finds(Bug::WatcherServed, &["a watcher is sent nothing", REPORTED]);
}

#[test]
fn a_mailbox_that_reports_nothing_to_a_watcher_is_found() {
    finds(Bug::WaitingLost, &[REPORTED]);
}

#[test]
fn a_mailbox_whose_watchers_never_become_quiet_is_found() {
    finds(Bug::QuietLost, &[QUIET]);
}

#[test]
fn a_mailbox_that_ends_what_was_not_passed_on_once_is_found_fx_6() {
    finds(Bug::LostLikeRefused, &["only the acknowledged is erased, with its outcome"]);
}

#[test]
fn a_mailbox_that_never_offers_again_what_was_not_passed_on_is_found_fx_6() {
    finds(Bug::SecondLost, &["what can go goes", "everything that should arrive arrives", SECOND]);
}

#[test]
fn a_mailbox_that_offers_again_under_the_version_that_the_agent_remembers_is_found_fx_6() {
    finds(Bug::SecondUnnamed, &[SECOND]);
}

#[test]
fn a_mailbox_that_does_not_end_what_was_refused_twice_is_found_fx_6() {
    finds(Bug::SecondWithoutEnd, &[SECOND, "nothing acknowledged is sent again", "what can go goes"]);
}
