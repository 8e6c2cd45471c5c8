//! What is known of the wall clock, and whether it is believed. The readings are `clock.rs`'s.

use std::time::Duration;

use doorbell_protocol::time::UnixMs;

/// A wall clock that shows an earlier time is wrong: 2026-09-01. A house rule keeps it at or after the newest release in
/// CHANGELOG.md.
pub(crate) const RELEASED: UnixMs = UnixMs::from_secs(1_788_220_800);

/// A wall clock that shows a later time than so long after [`RELEASED`] is wrong: no release is in use for so long. The time
/// that the store continues goes no further on the word of a wall clock. Ids have room for 50 years after that.
const IN_USE_MAX: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

/// A wall clock that moves by more between two looks has jumped; NTP slews a clock by far less.
const JUMP: Duration = Duration::from_secs(5);

/// How long a wall clock that has jumped must run steadily until the service believes it.
pub(crate) const STEADY: Duration = Duration::from_secs(3600);

/// A wall clock that is further behind the newest time in the store is wrong, unless it runs steadily for as long: then
/// the time in the store was wrong.
const BEHIND_MAX: Duration = Duration::from_secs(24 * 3600);

/// Whether the wall clock may be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WallState {
    Right,
    /// It has jumped not long ago: it may be right now, or was before.
    Jumped,
    /// It shows what cannot be.
    Wrong,
}

/// What the clocks show at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) wall: UnixMs,
    /// Since the machine was started, suspends included.
    pub(crate) boot: Duration,
    /// The same without the suspends.
    pub(crate) awake: Duration,
}

/// The times that a right wall clock may show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plausible {
    /// An earlier time is wrong.
    pub(crate) released: UnixMs,
}

/// What is known of the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wall {
    /// How far it was ahead of the boot clock at the last look, in milliseconds.
    pub(crate) ahead_ms: i64,
    /// How long the machine had slept at the last look, in milliseconds.
    pub(crate) slept_ms: i64,
    /// By the boot clock, since when it is watched and has not jumped.
    steady_since: Duration,
    /// Whether it has jumped since the start, or while the service was stopped.
    pub(crate) has_jumped: bool,
    /// How far it was ahead of the boot clock when it last was believed, in milliseconds: it would show as much now. So a
    /// clock that is behind does not become the newest by running.
    believed_ahead_ms: i64,
}

impl Reading {
    pub(crate) fn ahead_ms(self) -> i64 {
        self.wall.minus(self.boot).as_millis()
    }

    pub(crate) fn slept_ms(self) -> i64 {
        UnixMs::default().plus(self.boot).minus(self.awake).as_millis()
    }
}

impl Plausible {
    /// Whether a wall clock may be right, when it has shown `newest` before.
    pub(crate) fn believes(self, wall: UnixMs, newest: UnixMs) -> bool {
        self.includes(wall) && wall.plus(BEHIND_MAX) >= newest
    }

    /// Whether a wall clock may be right, whatever it has shown before.
    pub(crate) fn includes(self, wall: UnixMs) -> bool {
        (self.released..=Self::latest()).contains(&wall)
    }

    /// A wall clock that shows a later time is wrong.
    pub(crate) fn latest() -> UnixMs {
        RELEASED.plus(IN_USE_MAX)
    }
}

impl Wall {
    /// What is known at the start. `newest` is the newest time that is known; if `is_exact`, the wall clock should show
    /// just that now.
    pub(crate) fn at_start(reading: Reading, newest: UnixMs, is_exact: bool, plausible: Plausible) -> Self {
        let is_behind = reading.wall.plus(JUMP) < newest;
        // It moved while the service was stopped, or was in doubt then.
        let is_ahead = is_exact && reading.wall > newest.plus(JUMP);
        let has_jumped = is_behind || is_ahead;
        let is_believed = plausible.includes(reading.wall) && !has_jumped;
        Self {
            ahead_ms: reading.ahead_ms(),
            slept_ms: reading.slept_ms(),
            steady_since: reading.boot,
            has_jumped,
            believed_ahead_ms: if is_believed { reading.ahead_ms() } else { newest.minus(reading.boot).as_millis() },
        }
    }

    /// By how many milliseconds it has jumped since the last look, if it has.
    pub(crate) fn jump_ms(&self, reading: Reading) -> Option<i64> {
        let moved_ms = reading.ahead_ms().saturating_sub(self.ahead_ms);
        (Duration::from_millis(moved_ms.unsigned_abs()) > JUMP).then_some(moved_ms)
    }

    /// What is known after another look.
    pub(crate) fn after(self, reading: Reading, plausible: Plausible) -> Self {
        let mut next = Self { ahead_ms: reading.ahead_ms(), slept_ms: reading.slept_ms(), ..self };
        if self.jump_ms(reading).is_some() {
            (next.has_jumped, next.steady_since) = (true, reading.boot);
        }
        let is_new = reading.wall.plus(JUMP) >= self.newest(reading) && !next.has_just_jumped(reading);
        let was_wrong = next.steady_for(reading) >= BEHIND_MAX;
        if plausible.includes(reading.wall) && (is_new || was_wrong) {
            next.believed_ahead_ms = reading.ahead_ms();
        }
        next
    }

    fn steady_for(&self, reading: Reading) -> Duration {
        reading.boot.saturating_sub(self.steady_since)
    }

    pub(crate) fn has_just_jumped(&self, reading: Reading) -> bool {
        self.has_jumped && self.steady_for(reading) < STEADY
    }

    /// The newest time that is believed: what the wall clock showed then, and how long the machine has run since.
    pub(crate) fn newest(&self, reading: Reading) -> UnixMs {
        UnixMs::from_millis(self.believed_ahead_ms).plus(reading.boot)
    }
}
