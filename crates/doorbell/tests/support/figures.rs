//! How often the tests with real browsers repeat what they time, and what they print of it.

use std::io::Write;

use super::clock::Stopwatch;

const RUNS_DEFAULT: usize = 2;

/// How many runs are timed: `DOORBELL_RUNS`, or two.
pub fn runs() -> usize {
    let runs = std::env::var("DOORBELL_RUNS").ok();
    runs.map_or(RUNS_DEFAULT, |runs| runs.parse().expect("DOORBELL_RUNS is a number"))
}

/// The times of one step, beside those of the design. They are printed when the test is over, past the test runner's
/// capture.
pub struct Figures {
    step: &'static str,
    design: &'static str,
    millis: Vec<u128>,
}

impl Figures {
    /// None yet.
    pub fn of(step: &'static str, design: &'static str) -> Self {
        Self { step, design, millis: Vec::new() }
    }

    /// The step has ended now.
    pub fn add(&mut self, watch: Stopwatch) {
        self.millis.push(watch.millis());
    }
}

impl Drop for Figures {
    fn drop(&mut self) {
        self.millis.sort_unstable();
        let Some(&most) = self.millis.last() else { return };
        let (half, odd) = (self.millis.len() / 2, self.millis.len() % 2 == 1);
        let median = if odd { self.millis[half] } else { (self.millis[half - 1] + self.millis[half]) / 2 };
        let (step, design, n) = (self.step, self.design, self.millis.len());
        let (median, most) = (seconds(median), seconds(most));
        writeln!(std::io::stderr(), "desktop: {step} median {median}, most {most}, n {n} (design: {design})").ok();
    }
}

fn seconds(millis: u128) -> String {
    let hundredths = (millis + 5) / 10;
    format!("{}.{:02} s", hundredths / 100, hundredths % 100)
}
