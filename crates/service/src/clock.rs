//! The only place in the service that reads the time, and the two lines of time that the store continues.
//!
//! The wall clock of a machine jumps: by NTP, by a person, with a virtual machine that continues. So the service reads it
//! for tokens and for header fields only. Everything else counts by [`Clock::now`]: a time that begins where the wall
//! clock was when the store was new, and that then advances by the boot clock, which no one can set and which counts
//! through suspend. The store keeps where it was, so that it continues after a restart. [`Clock::served`] is how long
//! the service has run: it stands still while the machine sleeps or the service is stopped, because then no agent could
//! be seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use doorbell_protocol::time::UnixMs;
use doorbell_store::{ClockReading, ClockRecord};
use rustix::time::{ClockId, Timespec, clock_gettime};
use tokio::sync::{Notify, watch};
use tracing::warn;

use crate::locked::Locked;
use crate::wall::{Plausible, RELEASED, Reading, Wall, WallState};

/// How often the clocks are compared: a jump, or the end of a suspend, is noticed this late at most.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// A boot clock that gains more on the monotonic clock between two looks has counted through a suspend.
const SUSPEND_MS: i64 = 1_000;

/// Reads the time and waits for a moment, by the system's clocks or by some that a test moves.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
    line: Arc<Line>,
}

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual {
        readings: Arc<watch::Sender<Reading>>,
        /// Where the wall clock began: some tests play in the past.
        start: UnixMs,
    },
}

/// Where the lines of time lie on the clocks. They are straight: nothing moves them while the process lives.
#[derive(Debug)]
struct Line {
    /// The time when the boot clock showed zero.
    time_zero: UnixMs,
    /// The time of service when the clock without suspends showed zero.
    served_zero: UnixMs,
    boot_id: Option<String>,
    wall: Locked<Wall>,
    /// The wall clock has jumped: the store should know.
    jumped: Notify,
    /// The machine slept. The timers of the runtime did too: every sleeper must look again.
    resumed: Notify,
    /// How often the wall clock has jumped since the start.
    jumps: AtomicU64,
}

impl Clock {
    /// The system's clocks.
    pub fn system() -> Self {
        Self::of(Source::System, &ClockRecord::default(), None)
    }

    /// Clocks that stand, the wall clock at `start`, until [`Clock::advance`] moves them.
    pub fn manual(start: UnixMs) -> Self {
        // The others also begin at `start`, so that of two clocks the later one seems to run on.
        let since_boot = start.since(UnixMs::default());
        let reading = Reading { wall: start, boot: since_boot, awake: since_boot };
        let source = Source::Manual { readings: Arc::new(watch::Sender::new(reading)), start };
        Self::of(source, &ClockRecord::default(), None)
    }

    /// The clock that continues where a store ended: `record` is what the store knows of its clock, and `newest_id` the
    /// time in the greatest id that it has stored, if any.
    pub(crate) fn continued(&self, record: &ClockRecord, newest_id: Option<UnixMs>) -> Self {
        let clock = Self::of(self.source.clone(), record, newest_id);
        let reading = clock.source.read();
        let (newest, has_jumped) = {
            let wall = clock.line.wall.lock();
            (wall.newest(reading), wall.has_jumped)
        };
        let plausible = clock.source.plausible();
        if !plausible.believes(reading.wall, newest) {
            let (shown, newest) = (shown(reading.wall), shown(newest.max(plausible.released)));
            warn!(%shown, %newest, "the wall clock is wrong: it is far behind what was seen before, or decades ahead; set it \
                (NTP). Until then senders whose tokens seem too old or too new are asked to try again");
        } else if has_jumped {
            let (shown, newest) = (shown(reading.wall), shown(newest));
            warn!(%shown, %newest, "the wall clock jumped while the service was stopped, or shortly before. For an hour, \
                senders whose tokens seem too old or too new are asked to try again");
        }
        clock
    }

    fn of(source: Source, record: &ClockRecord, newest_id: Option<UnixMs>) -> Self {
        let (reading, boot_id) = (source.read(), source.boot_id());
        // An empty store has no greatest id, and contains no time.
        let newest_id = newest_id.unwrap_or_default();
        let plausible = source.plausible();
        let (time, newest) = match &record.last {
            // A wall clock that cannot be right shows nothing, and no message has aged.
            None => (if plausible.includes(reading.wall) { reading.wall } else { plausible.released }, newest_id),
            Some(last) => {
                let stopped = source.stopped_for(last, reading, boot_id.as_deref());
                (last.time.plus(stopped), last.newest_wall.plus(stopped))
            }
        };
        // No message outlives its TTL: whenever it was accepted, it was not after this.
        let time = time.max(newest_id);
        // The store knows what the wall clock should show now.
        let wall = Wall::at_start(reading, newest, record.last.is_some(), plausible);
        let line = Line {
            time_zero: time.minus(reading.boot),
            served_zero: record.served.unwrap_or(time).minus(reading.awake),
            boot_id,
            wall: Locked::new(wall),
            jumped: Notify::new(),
            resumed: Notify::new(),
            jumps: AtomicU64::new(0),
        };
        Self { source, line: Arc::new(line) }
    }

    /// The time now, by which everything but tokens is measured. It never jumps and never goes back.
    pub fn now(&self) -> UnixMs {
        self.line.time_zero.plus(self.source.read().boot)
    }

    /// How long the service has run, as a time: what is idle ages by it.
    pub(crate) fn served(&self) -> UnixMs {
        self.line.served_zero.plus(self.source.read().awake)
    }

    /// What the wall clock shows, for tokens and for clients.
    pub(crate) fn wall(&self) -> UnixMs {
        self.look().wall
    }

    /// What the wall clock shows if it may be right, and otherwise the newest time that was believed: for certificates,
    /// which know no other time.
    pub(crate) fn plausible_wall(&self) -> UnixMs {
        let reading = self.look();
        let newest = self.line.wall.lock().newest(reading);
        let plausible = self.source.plausible();
        if plausible.believes(reading.wall, newest) {
            reading.wall
        } else {
            newest.clamp(plausible.released, Plausible::latest())
        }
    }

    /// What the wall clock shows at the moment `time` of [`Clock::now`], as far as is known.
    pub(crate) fn wall_at(&self, time: UnixMs) -> UnixMs {
        let since_boot = time.as_millis().saturating_sub(self.line.time_zero.as_millis());
        UnixMs::from_millis(since_boot.saturating_add(self.line.wall.lock().ahead_ms))
    }

    /// Whether the wall clock is plainly wrong or has just jumped: nothing final may be decided by it.
    pub(crate) fn doubts_wall(&self) -> bool {
        self.wall_state() != WallState::Right
    }

    /// What is thought of the wall clock.
    pub(crate) fn wall_state(&self) -> WallState {
        let reading = self.look();
        let wall = *self.line.wall.lock();
        if !self.source.plausible().believes(reading.wall, wall.newest(reading)) {
            WallState::Wrong
        } else if wall.has_just_jumped(reading) {
            WallState::Jumped
        } else {
            WallState::Right
        }
    }

    /// How often the wall clock has jumped since the start.
    pub(crate) fn jumps(&self) -> u64 {
        self.line.jumps.load(Ordering::Relaxed)
    }

    /// What the store should keep.
    pub(crate) fn record(&self) -> ClockRecord {
        let reading = self.look();
        let last = ClockReading {
            time: self.line.time_zero.plus(reading.boot),
            wall: reading.wall,
            newest_wall: self.line.wall.lock().newest(reading),
            boot: reading.boot,
            boot_id: self.line.boot_id.clone(),
        };
        ClockRecord { served: Some(self.line.served_zero.plus(reading.awake)), last: Some(last) }
    }

    /// Waits until `moment` has come.
    pub async fn sleep_until(&self, moment: UnixMs) {
        match &self.source {
            Source::System => loop {
                // Created before the time is read, so that no end of a suspend is missed.
                let resumed = self.line.resumed.notified();
                let left = moment.since(self.now());
                if left.is_zero() {
                    return;
                }
                tokio::select! {
                    () = tokio::time::sleep(left) => {}
                    () = resumed => {}
                }
            },
            Source::Manual { readings, .. } => {
                let has_come = |reading: &Reading| self.line.time_zero.plus(reading.boot) >= moment;
                // The sender lives in `self`, so the wait ends only when the clock reaches the moment.
                let _ = readings.subscribe().wait_for(has_come).await;
            }
        }
    }

    /// Waits until [`Clock::served`] shows `moment`. Time-outs of connections count this way: after a suspend the other
    /// side has had no time to answer.
    pub(crate) async fn served_until(&self, moment: UnixMs) {
        match &self.source {
            // The runtime's timers stand still in a suspend too.
            Source::System => tokio::time::sleep(moment.since(self.served())).await,
            Source::Manual { readings, .. } => {
                let has_come = |reading: &Reading| self.line.served_zero.plus(reading.awake) >= moment;
                // The sender lives in `self`.
                let _ = readings.subscribe().wait_for(has_come).await;
            }
        }
    }

    /// Compares the clocks again and again: logs when the wall clock jumps, and wakes the sleepers after a suspend. It
    /// runs until it is aborted.
    pub(crate) async fn watch(self) {
        loop {
            match &self.source {
                Source::System => tokio::time::sleep(LOOK_INTERVAL).await,
                Source::Manual { readings, .. } => {
                    // The sender lives in `self`.
                    let _ = readings.subscribe().changed().await;
                }
            }
            self.look();
        }
    }

    /// Completes after the wall clock has jumped. For one waiter.
    pub(crate) async fn jumped(&self) {
        self.line.jumped.notified().await;
    }

    /// Moves manual clocks forward by `by`; has no effect on those of the system.
    pub fn advance(&self, by: Duration) {
        self.change(|reading| {
            reading.wall = reading.wall.plus(by);
            reading.boot += by;
            reading.awake += by;
        });
    }

    /// Sets a manual wall clock, as a person or NTP would; has no effect on that of the system.
    pub fn set_wall(&self, wall: UnixMs) {
        self.change(|reading| reading.wall = wall);
    }

    /// Moves manual clocks forward as a machine that sleeps does; has no effect on those of the system.
    pub fn suspend(&self, by: Duration) {
        self.change(|reading| {
            reading.wall = reading.wall.plus(by);
            reading.boot += by;
        });
    }

    fn change(&self, change: impl FnOnce(&mut Reading)) {
        if let Source::Manual { readings, .. } = &self.source {
            readings.send_modify(change);
        }
    }

    /// Reads the clocks, and compares them with the last look.
    fn look(&self) -> Reading {
        let (jump_ms, slept_ms, reading) = {
            let mut wall = self.line.wall.lock();
            // Read under the lock, so that two looks do not come in the wrong order.
            let reading = self.source.read();
            let (jump_ms, slept_ms) = (wall.jump_ms(reading), reading.slept_ms().saturating_sub(wall.slept_ms));
            *wall = wall.after(reading, self.source.plausible());
            (jump_ms, slept_ms, reading)
        };
        if let Some(jump_ms) = jump_ms {
            let (seconds, shown) = (jump_ms / 1000, shown(reading.wall));
            warn!(seconds, %shown, "the wall clock has jumped; nothing expires earlier or later for it. For an hour, \
                senders whose tokens seem too old or too new are asked to try again");
            self.line.jumped.notify_one();
            self.line.jumps.fetch_add(1, Ordering::Relaxed);
        }
        if slept_ms > SUSPEND_MS {
            self.line.resumed.notify_waiters();
        }
        reading
    }
}

impl Source {
    #[allow(clippy::disallowed_methods, reason = "this is the clock file")]
    fn read(&self) -> Reading {
        match self {
            Self::System => {
                // A wall clock before 1970 counts as 1970.
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let wall = UnixMs::default().plus(since_epoch);
                let duration = |clock| since_zero(clock_gettime(clock));
                Reading { wall, boot: duration(ClockId::Boottime), awake: duration(ClockId::Monotonic) }
            }
            Self::Manual { readings, .. } => *readings.borrow(),
        }
    }

    /// What distinguishes this run of the machine from all others, if the system shows it.
    fn boot_id(&self) -> Option<String> {
        match self {
            Self::System => Some(std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned()),
            Self::Manual { .. } => Some("manual".to_owned()),
        }
    }

    /// How long the service was stopped. While the machine runs the boot clock shows it. After a start of the machine
    /// only the wall clock does: one that is wrong shows nothing, and then no message has aged. What it lags behind the
    /// newest time that was seen did not pass while the service was stopped.
    fn stopped_for(&self, last: &ClockReading, reading: Reading, boot_id: Option<&str>) -> Duration {
        let same_boot = boot_id.is_some() && last.boot_id.as_deref() == boot_id;
        let believes = |wall| self.plausible().believes(wall, last.newest_wall);
        match reading.boot.checked_sub(last.boot).filter(|_| same_boot) {
            Some(exact) => exact,
            None if believes(last.wall) && believes(reading.wall) => {
                let shown = reading.wall.since(last.wall.max(last.newest_wall));
                shown.min(Plausible::latest().since(last.time))
            }
            None => Duration::ZERO,
        }
    }

    /// What a right wall clock may show.
    fn plausible(&self) -> Plausible {
        let released = match self {
            Self::System => RELEASED,
            Self::Manual { start, .. } => RELEASED.min(*start),
        };
        Plausible { released }
    }
}

fn since_zero(time: Timespec) -> Duration {
    // These clocks show no negative times.
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("less than a second"))
}

/// A time for the log.
fn shown(time: UnixMs) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + time.since(UnixMs::default()))
}

/// A moment as RFC 3339 writes it, in seconds.
pub(crate) fn rfc3339(moment: UnixMs) -> String {
    let date = time::OffsetDateTime::from_unix_timestamp(moment.as_secs());
    // A clock that shows a year with five digits shows nothing.
    let date = date.unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let (day, clock) = (date.date(), date.time());
    let (year, month, day) = (day.year(), u8::from(day.month()), day.day());
    let (hour, minute, second) = (clock.hour(), clock.minute(), clock.second());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wall::STEADY;

    const NOON: UnixMs = UnixMs::from_secs(1_790_000_000);
    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(24 * 3600);
    const HUNDRED_DAYS: Duration = Duration::from_secs(100 * 24 * 3600);
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    const IN_2099: UnixMs = UnixMs::from_secs(4_070_908_800);

    /// A clock of another run of the machine, with the wall clock at `wall`.
    fn after_a_boot(record: &ClockRecord, wall: UnixMs) -> Clock {
        let mut record = record.clone();
        if let Some(last) = &mut record.last {
            last.boot_id = Some("an earlier one".to_owned());
        }
        Clock::manual(wall).continued(&record, None)
    }

    fn service_of(clock: &Clock) -> Clock {
        clock.continued(&ClockRecord::default(), None)
    }

    #[test]
    fn no_jump_of_the_wall_clock_moves_the_time_or_the_time_of_service() {
        let hands = Clock::manual(NOON);
        let clock = service_of(&hands);
        for wall in [NOON.plus(HUNDRED_DAYS), UnixMs::default(), NOON.minus(HOUR)] {
            let (now, served) = (clock.now(), clock.served());
            hands.set_wall(wall);
            assert_eq!((clock.now(), clock.served()), (now, served));
            hands.advance(SECOND);
            assert_eq!((clock.now(), clock.served()), (now.plus(SECOND), served.plus(SECOND)));
            assert_eq!(clock.wall(), wall.plus(SECOND));
            assert_eq!(clock.wall_at(clock.now()), wall.plus(SECOND));
        }
    }

    #[tokio::test]
    async fn a_suspend_counts_for_the_time_and_not_for_the_time_of_service() {
        let hands = Clock::manual(NOON);
        let clock = service_of(&hands);
        hands.suspend(HOUR);
        assert_eq!((clock.now(), clock.served()), (NOON.plus(HOUR), NOON));
        assert!(!clock.doubts_wall(), "a resume does not look like a jump");
        clock.sleep_until(NOON.plus(HOUR)).await;
    }

    #[test]
    fn while_the_machine_runs_a_restart_continues_exactly_whatever_the_wall_clock_shows() {
        let hands = Clock::manual(NOON);
        let record = service_of(&hands).record();
        hands.advance(HOUR);
        for wall in [UnixMs::default(), NOON.plus(HUNDRED_DAYS), NOON] {
            hands.set_wall(wall);
            let clock = hands.continued(&record, None);
            assert_eq!((clock.now(), clock.served()), (NOON.plus(HOUR), NOON), "{wall:?}");
        }
    }

    #[test]
    fn after_a_boot_the_wall_clock_shows_how_long_the_service_was_stopped_if_it_may_be_right() {
        let record = service_of(&Clock::manual(NOON)).record();
        let cases = [
            (NOON.plus(DAY), NOON.plus(DAY), "a day passed"),
            (NOON.minus(HOUR), NOON, "time does not go back"),
            (UnixMs::default(), NOON, "1970 shows nothing"),
        ];
        for (wall, now, why) in cases {
            let clock = after_a_boot(&record, wall);
            assert_eq!((clock.now(), clock.served()), (now, NOON), "{why}");
        }
    }

    #[test]
    fn what_the_wall_clock_was_behind_is_not_counted_as_time_that_passed() {
        let hands = Clock::manual(NOON);
        let clock = service_of(&hands);
        hands.set_wall(NOON.minus(5 * HOUR));
        for hours in [1, 8] {
            hands.advance(hours * HOUR);
            let (record, now) = (clock.record(), clock.now());
            assert_eq!(after_a_boot(&record, now.plus(HOUR)).now(), now.plus(HOUR));
            assert_eq!(after_a_boot(&record, now.minus(HOUR)).now(), now);
        }
    }

    #[test]
    fn a_wall_clock_decades_ahead_moves_no_time_at_a_boot_and_is_doubted() {
        let record = service_of(&Clock::manual(NOON)).record();
        let of_old_format = ClockRecord { served: Some(NOON), last: None };
        let clock = after_a_boot(&record, IN_2099);
        assert_eq!(clock.now(), NOON);
        assert!(clock.doubts_wall());
        assert_eq!(Clock::manual(IN_2099).continued(&of_old_format, Some(NOON)).now(), NOON);
        assert_eq!(after_a_boot(&clock.record(), NOON.plus(HOUR)).now(), NOON);

        let hands = Clock::manual(IN_2099);
        let new = service_of(&hands);
        assert_eq!(new.now(), RELEASED);
        hands.advance(DAY);
        assert!(new.doubts_wall(), "also after it ran steadily");
        hands.set_wall(NOON);
        assert!(new.doubts_wall());
        hands.advance(HOUR);
        assert!(!new.doubts_wall());
    }

    #[test]
    fn boots_with_wrong_wall_clocks_do_not_use_up_the_times_that_ids_have() {
        let mut record = service_of(&Clock::manual(NOON)).record();
        for _ in 0..10 {
            for wall in [NOON.plus(YEAR * 19), NOON] {
                let clock = after_a_boot(&record, wall);
                clock.advance(2 * DAY);
                clock.wall();
                record = clock.record();
            }
        }
        let last = record.last.expect("the clock was recorded").time;
        assert!(last < NOON.plus(YEAR * 21), "{last:?}");
    }

    #[test]
    fn what_was_accepted_at_a_wrong_wall_time_is_not_lost_when_the_clock_is_right_again() {
        let hands = Clock::manual(NOON);
        let before = service_of(&hands).record();
        hands.set_wall(UnixMs::default());
        let in_1970 = hands.continued(&before, None).record();
        let clock = after_a_boot(&in_1970, NOON.plus(DAY));
        assert_eq!(clock.now(), NOON, "no one knows how long it was");

        hands.set_wall(NOON.plus(HUNDRED_DAYS));
        let ahead = hands.continued(&before, None).record();
        assert_eq!(after_a_boot(&ahead, NOON.plus(HOUR)).now(), NOON);
    }

    #[test]
    fn once_the_wall_clock_is_corrected_a_record_is_right_again() {
        let hands = Clock::manual(NOON);
        let before = service_of(&hands).record();
        hands.set_wall(UnixMs::default());
        let clock = hands.continued(&before, None);
        hands.set_wall(NOON.plus(HOUR));
        let corrected = clock.record();
        assert_eq!(after_a_boot(&corrected, NOON.plus(2 * HOUR)).now(), NOON.plus(HOUR));
    }

    #[test]
    fn no_message_lives_longer_than_its_ttl_from_a_restart_on() {
        let record = service_of(&Clock::manual(NOON)).record();
        let accepted = NOON.plus(HOUR);
        let clock = Clock::manual(UnixMs::default()).continued(&record, Some(accepted));
        assert!(clock.now() >= accepted, "the last record was an hour old when the power failed");
    }

    #[test]
    fn a_store_of_an_older_format_continues_after_its_newest_id_and_no_one_is_aged() {
        let record = ClockRecord { served: Some(NOON.minus(DAY)), last: None };
        for wall in [UnixMs::default(), NOON, NOON.plus(HUNDRED_DAYS)] {
            let clock = Clock::manual(wall).continued(&record, Some(NOON));
            assert_eq!((clock.now(), clock.served()), (wall.max(NOON), NOON.minus(DAY)));
        }
    }

    #[test]
    fn a_wall_clock_that_jumped_is_believed_after_an_hour_and_one_far_behind_after_a_day() {
        let hands = Clock::manual(NOON);
        let clock = service_of(&hands);
        assert!(!clock.doubts_wall());
        hands.set_wall(NOON.minus(HOUR));
        assert!(clock.doubts_wall());
        hands.advance(HOUR);
        assert!(!clock.doubts_wall());

        hands.set_wall(NOON.minus(2 * DAY).max(hands.source.plausible().released));
        let clock = after_a_boot(&clock.record(), NOON.minus(2 * DAY));
        assert!(clock.doubts_wall(), "two days before the newest time in the store");
    }

    #[test]
    fn a_jump_ahead_does_not_make_the_right_time_look_wrong() {
        let hands = Clock::manual(NOON);
        let clock = service_of(&hands);
        hands.set_wall(NOON.plus(HUNDRED_DAYS));
        assert!(clock.doubts_wall());
        hands.set_wall(NOON.plus(SECOND));
        assert!(clock.doubts_wall());
        hands.advance(HOUR);
        assert!(!clock.doubts_wall());
    }

    #[test]
    fn a_store_whose_newest_time_was_wrong_doubts_the_right_time_for_a_day_only() {
        let record = service_of(&Clock::manual(NOON.plus(HUNDRED_DAYS))).record();
        let hands = Clock::manual(NOON);
        let clock = hands.continued(&record, None);
        assert!(clock.doubts_wall());
        hands.advance(DAY);
        clock.wall();
        assert!(!clock.doubts_wall());
    }

    #[test]
    fn a_wall_clock_that_jumped_is_in_doubt_for_an_hour_also_if_a_restart_comes_between() {
        for wall in [NOON.minus(23 * HOUR), NOON.minus(HOUR), NOON.plus(HOUR), NOON.plus(HUNDRED_DAYS)] {
            let hands = Clock::manual(NOON.minus(2 * DAY));
            hands.advance(2 * DAY);
            let before = service_of(&hands);
            let jumps_while_stopped = before.record();
            hands.set_wall(wall);
            assert!(before.doubts_wall());
            for record in [jumps_while_stopped, before.record()] {
                let clock = hands.continued(&record, None);
                assert!(clock.doubts_wall(), "{wall:?}");
            }
            let clock = hands.continued(&before.record(), None);
            hands.advance(STEADY);
            assert!(!clock.doubts_wall(), "{wall:?}");
            let believed = clock.record();
            let again = hands.continued(&believed, None);
            assert_eq!(again.doubts_wall(), wall < NOON, "what is behind is in doubt at each start of a day: {wall:?}");
        }
    }

    #[test]
    fn a_wall_clock_that_did_not_jump_is_not_in_doubt_after_a_restart() {
        let hands = Clock::manual(NOON);
        let record = service_of(&hands).record();
        hands.advance(HUNDRED_DAYS);
        assert!(!hands.continued(&record, None).doubts_wall());
        hands.set_wall(NOON.plus(HUNDRED_DAYS).minus(SECOND));
        assert!(!hands.continued(&record, None).doubts_wall(), "NTP moves it by as much");
        assert!(!after_a_boot(&record, NOON.plus(DAY)).doubts_wall());
        assert!(!after_a_boot(&ClockRecord { last: None, ..record }, NOON.plus(DAY)).doubts_wall());
    }

    #[test]
    fn certificates_are_made_by_the_newest_time_that_was_believed_while_the_wall_clock_cannot_be_right() {
        let hands = Clock::manual(NOON);
        let clock = service_of(&hands);
        for (wall, plausible) in [(UnixMs::default(), NOON), (IN_2099, NOON), (NOON.plus(DAY), NOON.plus(DAY))] {
            hands.set_wall(wall);
            assert_eq!(clock.plausible_wall(), plausible, "{wall:?}");
            assert_eq!(after_a_boot(&clock.record(), wall).plausible_wall(), plausible, "{wall:?}");
        }
        assert_eq!(service_of(&Clock::manual(IN_2099)).plausible_wall(), RELEASED, "nothing is known");
    }

    #[tokio::test]
    async fn a_jump_is_noticed_once() {
        let hands = Clock::manual(NOON);
        let clock = service_of(&hands);
        hands.set_wall(NOON.plus(HUNDRED_DAYS));
        clock.wall();
        clock.jumped().await;
        clock.wall();
        assert!(futures_util::FutureExt::now_or_never(clock.jumped()).is_none());
    }

    #[test]
    fn a_moment_is_written_as_in_rfc_3339() {
        assert_eq!(rfc3339(UnixMs::from_secs(1_790_000_000)), "2026-09-21T14:13:20Z");
        assert_eq!(rfc3339(UnixMs::from_secs(-1)), "1969-12-31T23:59:59Z");
        assert_eq!(rfc3339(UnixMs::from_millis(i64::MAX)), "1970-01-01T00:00:00Z");
    }
}
