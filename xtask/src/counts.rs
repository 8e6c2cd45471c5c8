//! Counts tests from the closing lines that cargo's test runner prints.

/// How many tests passed and failed, summed over every test binary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl Counts {
    /// Adds the counts of `line`, if it is a closing line like
    /// `test result: ok. 7 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s`.
    pub(crate) fn read(&mut self, line: &str) {
        let Some((_, tallies)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else {
            return;
        };
        for tally in tallies.split(';') {
            let count = tally.trim().split_once(' ').map(|(n, kind)| (n.parse::<u64>(), kind));
            match count {
                Some((Ok(n), "passed")) => self.passed += n,
                Some((Ok(n), "failed")) => self.failed += n,
                Some((Ok(n), "ignored")) => self.ignored += n,
                _ => {}
            }
        }
    }

    /// The plain closing line.
    pub(crate) fn closing_line(&self) -> String {
        match self.ignored {
            0 => format!("{} passed, {} failed", self.passed, self.failed),
            ignored => format!("{} passed, {} failed, {ignored} skipped", self.passed, self.failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn closing_lines_are_summed_and_other_lines_ignored() {
        let mut counts = Counts::default();
        counts.read("running 8 tests");
        counts.read("test result: ok. 7 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s");
        counts.read("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s");
        assert_eq!(counts, Counts { passed: 8, failed: 2, ignored: 1 });
        assert_eq!(counts.closing_line(), "8 passed, 2 failed, 1 skipped");
    }
}
