//! When a browser is woken, for one profile: without IO, and with the time as an argument.
//!
//! The service reports that messages wait ([`Rules::messages_wait`]) or that none does ([`Rules::quiet`]); the caller
//! reports what becomes of the browser. [`Rules::due`] is the moment of the next wake. Two bounds keep a site that
//! pushes each minute, or a message that no browser acknowledges, from starting a browser forever: so many wakes an
//! hour, and a wait that doubles after each wake that took nothing.

use std::collections::VecDeque;
use std::time::Duration;

use doorbell_protocol::headers::urgency::Urgency;

/// The bounds of the wakes of one profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How many wakes may begin within [`Bounds::window`]: a wake costs seconds of a processor. A third is kept for urgent
    /// messages.
    pub wakes_max: usize,
    /// The time over which they are counted.
    pub window: Duration,
    /// The wait after the first wake that took nothing; it doubles with each further one.
    pub backoff_first: Duration,
    /// The longest of these waits: a browser that was repaired meanwhile is tried again within this time.
    pub backoff_max: Duration,
    /// How long after the end of a browser nothing is started: the service may still report that the queue is empty.
    pub settle: Duration,
    /// How long a browser may take until it receives messages and takes pages: one that takes longer is ended.
    pub ready_max: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            wakes_max: 12,
            window: Duration::from_secs(3600),
            backoff_first: Duration::from_secs(60),
            backoff_max: Duration::from_secs(3600),
            settle: Duration::from_secs(2),
            ready_max: Duration::from_secs(60),
        }
    }
}

/// What the service reports of the messages that wait: neither bodies nor ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// How many there are.
    pub messages: u64,
    /// The greatest urgency among them.
    pub urgency: Urgency,
    /// Since when the oldest of them waits, in milliseconds since 1970 by the service's clock. It is only compared with
    /// another one of the same service, so that a wrong clock here does no harm.
    pub since_ms: u64,
}

/// The state of one profile.
#[derive(Debug)]
pub struct Rules {
    bounds: Bounds,
    waiting: Option<Waiting>,
    browser_runs: bool,
    /// When wakes began that count: the oldest first, [`Bounds::wakes_max`] at most.
    begun: VecDeque<Duration>,
    last: Option<Wake>,
    /// How many wakes in a row took nothing.
    fruitless: u32,
    not_before: Duration,
}

/// A wake, until it is known whether it took something.
#[derive(Clone, Copy, Debug)]
struct Wake {
    since_ms: u64,
    begun: Duration,
    judged: bool,
}

impl Rules {
    /// No message waits, and no browser runs.
    pub fn new(bounds: Bounds) -> Self {
        debug_assert!(bounds.wakes_max > 0, "a bound of zero would be no desktop part at all");
        Self {
            bounds,
            waiting: None,
            browser_runs: false,
            begun: VecDeque::new(),
            last: None,
            fruitless: 0,
            not_before: Duration::ZERO,
        }
    }

    /// The service reports that messages wait.
    pub fn messages_wait(&mut self, waiting: Waiting) {
        self.waiting = Some(waiting);
        self.judge();
    }

    /// The service reports that no message waits, or that the browser is connected.
    pub fn quiet(&mut self) {
        self.waiting = None;
        // Without a browser it is the queue that is empty. A browser that runs may just have connected, which does not
        // show yet whether it takes the message.
        if !self.browser_runs {
            self.fruitless = 0;
            self.last = None;
        }
    }

    /// The connection to the service is lost: it reports anew on the next one.
    pub fn disconnected(&mut self) {
        self.waiting = None;
    }

    /// What waits, as the service last reported it.
    pub fn waiting(&self) -> Option<Waiting> {
        self.waiting
    }

    /// When the next wake begins: `None` if no message waits, or a browser runs.
    pub fn due(&self) -> Option<Duration> {
        let waiting = self.waiting.filter(|_| !self.browser_runs)?;
        // A call must ring although a chat has had its share of the hour.
        let kept = if waiting.urgency < Urgency::High { self.bounds.wakes_max / 3 } else { 0 };
        let over = (self.begun.len() + kept).checked_sub(self.bounds.wakes_max);
        let allowed = over.map(|over| self.begun[over] + self.bounds.window);
        let backed_off = self.last.map(|last| last.begun + self.backoff());
        allowed.into_iter().chain(backed_off).chain([self.not_before]).max()
    }

    /// A wake begins: the browser runs from now on.
    pub fn wake(&mut self, now: Duration) {
        debug_assert!(self.due().is_some_and(|due| due <= now), "a wake begins when it is due");
        if self.begun.len() >= self.bounds.wakes_max {
            self.begun.pop_front();
        }
        self.begun.push_back(now);
        let since_ms = self.waiting.map_or(0, |waiting| waiting.since_ms);
        self.last = Some(Wake { since_ms, begun: now, judged: false });
        self.browser_runs = true;
    }

    /// A browser runs that another program has started, so that none is woken.
    pub fn browser_runs(&mut self) {
        self.browser_runs = true;
    }

    /// A browser is about to run, or another process prepares the profile: look again after a moment.
    pub fn busy(&mut self, now: Duration) {
        self.not_before = now + self.bounds.settle;
    }

    /// What the browser would show cannot be shown now: look again at `at`.
    pub fn nothing_can_be_shown(&mut self, at: Duration) {
        self.not_before = at;
    }

    /// The browser has ended, or did not start.
    pub fn browser_ended(&mut self, now: Duration) {
        self.browser_runs = false;
        self.not_before = now + self.bounds.settle;
        self.judge();
    }

    /// After the end of a woken browser the same oldest message still waits: then it took nothing.
    fn judge(&mut self) {
        if self.browser_runs {
            return;
        }
        let (Some(waiting), Some(last)) = (&self.waiting, &mut self.last) else { return };
        if !std::mem::replace(&mut last.judged, true) {
            self.fruitless = if waiting.since_ms == last.since_ms { self.fruitless.saturating_add(1) } else { 0 };
        }
    }

    fn backoff(&self) -> Duration {
        match self.fruitless {
            0 => Duration::ZERO,
            n => self.bounds.backoff_first.saturating_mul(1 << (n - 1).min(31)).min(self.bounds.backoff_max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn waiting(since_ms: u64) -> Waiting {
        Waiting { messages: 1, urgency: Urgency::Normal, since_ms }
    }

    fn rules() -> Rules {
        Rules::new(Bounds::default())
    }

    /// Wakes as soon as it is allowed, and ends the browser a second later: when the wake began.
    fn wake(rules: &mut Rules) -> Duration {
        let at = rules.due().expect("a wake is due");
        rules.wake(at);
        rules.browser_ended(at + SECOND);
        at
    }

    #[test]
    fn a_waiting_message_wakes_at_once_and_a_browser_that_runs_is_not_woken() {
        let mut rules = rules();
        assert_eq!(rules.due(), None);
        rules.messages_wait(waiting(1));
        assert_eq!(rules.due(), Some(Duration::ZERO));
        rules.browser_runs();
        assert_eq!(rules.due(), None);
        rules.browser_ended(10 * SECOND);
        assert_eq!(rules.due(), Some(12 * SECOND), "its connection looked open, but it did not take the message");
    }

    #[test]
    fn quiet_and_a_lost_connection_call_a_wake_off() {
        let mut rules = rules();
        rules.messages_wait(waiting(1));
        rules.quiet();
        assert_eq!(rules.due(), None);
        rules.messages_wait(waiting(1));
        rules.disconnected();
        assert_eq!(rules.due(), None);
    }

    #[test]
    fn a_message_that_stays_is_tried_ever_less_often() {
        let mut rules = rules();
        rules.messages_wait(waiting(1));
        let starts: Vec<u64> = (0..9).map(|_| wake(&mut rules).as_secs()).collect();
        assert_eq!(starts, [0, 60, 180, 420, 900, 1860, 3780, 7380, 10980]);
    }

    #[test]
    fn a_connected_browser_that_leaves_the_message_behind_took_nothing_either() {
        let mut rules = rules();
        rules.messages_wait(waiting(1));
        rules.wake(Duration::ZERO);
        rules.quiet();
        rules.browser_ended(20 * SECOND);
        assert_eq!(rules.due(), None);
        rules.messages_wait(waiting(1));
        assert_eq!(rules.due(), Some(60 * SECOND));
        rules.messages_wait(waiting(1));
        assert_eq!(rules.due(), Some(60 * SECOND), "one wake is judged once");
    }

    #[test]
    fn a_wake_that_took_something_ends_the_back_off() {
        let mut rules = rules();
        rules.messages_wait(waiting(1));
        wake(&mut rules);
        assert_eq!(wake(&mut rules), 60 * SECOND);
        rules.messages_wait(waiting(2));
        assert_eq!(rules.due(), Some(180 * SECOND), "the wake before is judged already");
        rules.quiet();
        rules.messages_wait(waiting(3));
        assert_eq!(rules.due(), Some(63 * SECOND), "after an empty queue only the settling is waited for");
    }

    #[test]
    fn twelve_wakes_an_hour_are_the_most_and_four_of_them_are_for_urgent_messages() {
        let mut rules = rules();
        let mut starts = Vec::new();
        for since in 0..14 {
            let urgency = if since < 8 { Urgency::Normal } else { Urgency::High };
            rules.messages_wait(Waiting { urgency, ..waiting(since) });
            starts.push(wake(&mut rules).as_secs());
            rules.quiet();
            if since == 7 {
                rules.messages_wait(waiting(99));
                assert_eq!(rules.due(), Some(3600 * SECOND));
            }
        }
        assert_eq!(starts[..12], [0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33]);
        assert_eq!(starts[12..], [3600, 3603]);
    }

    #[test]
    fn a_busy_profile_is_looked_at_again_after_a_moment() {
        let mut rules = rules();
        rules.messages_wait(waiting(1));
        rules.busy(5 * SECOND);
        assert_eq!(rules.due(), Some(7 * SECOND));
    }
}
