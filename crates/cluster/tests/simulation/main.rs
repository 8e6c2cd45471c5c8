//! Several nodes in virtual time, a model of the database and faults of every kind: what is accepted is stored and arrives,
//! nothing comes twice on one socket, nothing is written for a slot by a life that does not hold it, and after the last
//! fault everything flows again.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod database;
mod node;
mod random;
mod sockets;
mod world;

use world::World;

/// Milliseconds.
type Time = i64;

/// A defect that the judge must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    NoFence,
    NoLock,
    YieldsEarly,
    UnknownIsAccepted,
    UnknownIsRepeated,
    OneMark,
    /// A batch out of a buffer is taken although it was barred.
    LateBatch,
    /// With each opening the near end of a link forgets what its socket has.
    LinkForgets,
    /// The next life of a number does not know how far the last one has minted.
    NoReserve,
    /// A node may end others although it has only just renewed its own lease.
    EndsAtOnce,
}

fn schedules(default: u64) -> u64 {
    std::env::var("DOORBELL_SCHEDULES").map_or(default, |count| count.parse().unwrap())
}

#[test]
fn nothing_accepted_is_lost_and_every_slot_is_served_again_after_the_last_fault() {
    let (mut accepted, mut given_up, mut faults) = (0, 0, 0);
    for seed in 0..schedules(30) {
        let world = World::run(seed, None);
        assert!(world.wrong.is_empty(), "seed {seed}: {:?}", world.wrong);
        accepted += world.accepted.len();
        given_up += world.given_up;
        faults += world.faults;
    }
    println!("{accepted} accepted, {given_up} given up, {faults} faults");
}

#[test]
fn every_planted_bug_is_found() {
    for bug in [
        Bug::NoFence,
        Bug::NoLock,
        Bug::YieldsEarly,
        Bug::UnknownIsAccepted,
        Bug::UnknownIsRepeated,
        Bug::OneMark,
        Bug::LateBatch,
        Bug::LinkForgets,
        Bug::NoReserve,
        Bug::EndsAtOnce,
    ] {
        let found = (0..400).find(|seed| !World::run(*seed, Some(bug)).wrong.is_empty());
        println!("{bug:?}: seed {found:?}");
        assert!(found.is_some(), "{bug:?} is not found");
    }
}
