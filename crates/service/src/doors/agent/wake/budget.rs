//! How often the waiting messages of one agent are reported in an hour.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::AgentId;
use doorbell_protocol::time::UnixMs;

use crate::locked::Locked;

const HOUR: Duration = Duration::from_secs(3600);

/// Reports on several streams of one agent within this time are one: a client that has lost its network leaves streams
/// behind, and they must not use up the hour of the one that it has now.
const TOGETHER: Duration = Duration::from_secs(1);

/// The number of agents that starts a sweep: those without a report in the last hour are dropped.
const AGENTS_SWEPT_AT: usize = 1 << 12;

/// The reports of the last hour. They outlive a stream, because a client may reconnect.
pub(in crate::doors) struct WakeBudget {
    per_hour: usize,
    reports: Locked<Reports>,
}

struct Reports {
    /// When each agent's messages were reported, oldest first.
    of_agents: HashMap<AgentId, VecDeque<UnixMs>>,
    sweep_at: usize,
}

impl WakeBudget {
    /// At most `per_hour` reports of one agent, at least one. A third is kept for urgent messages.
    pub(in crate::doors) fn new(per_hour: usize) -> Self {
        let reports = Reports { of_agents: HashMap::new(), sweep_at: AGENTS_SWEPT_AT };
        Self { per_hour: per_hour.max(1), reports: Locked::new(reports) }
    }

    /// Takes one report's worth, of messages of this urgency: the moment at which it counts. `last` is that of the stream's
    /// own last report.
    ///
    /// # Errors
    /// The moment at which the next report is allowed.
    pub(super) fn take(
        &self,
        agent: AgentId,
        urgency: Urgency,
        last: Option<UnixMs>,
        now: UnixMs,
    ) -> Result<UnixMs, UnixMs> {
        // A call must ring although a chat has had its share of the hour.
        let allowed = if urgency < Urgency::High { self.per_hour - self.per_hour / 3 } else { self.per_hour };
        let mut reports = self.reports.lock();
        if reports.of_agents.len() >= reports.sweep_at {
            reports.of_agents.retain(|_, times| times.iter().any(|at| at.plus(HOUR) > now));
            reports.sweep_at = (2 * reports.of_agents.len()).max(AGENTS_SWEPT_AT);
        }
        let times = reports.of_agents.entry(agent).or_default();
        times.retain(|at| at.plus(HOUR) > now);
        // Each stream has its share in a report once.
        if let Some(shared) = times.back().filter(|at| last.is_none_or(|own| own < **at) && at.plus(TOGETHER) > now) {
            return Ok(*shared);
        }
        let Some(over) = times.len().checked_sub(allowed) else {
            times.push_back(now);
            return Ok(now);
        };
        Err(times[over].plus(HOUR))
    }
}

#[cfg(test)]
mod tests {
    use Urgency::{High, Normal};

    use super::*;

    const NOW: UnixMs = UnixMs::from_secs(1_790_000_000);
    const A: AgentId = AgentId::from_raw(1);
    const B: AgentId = AgentId::from_raw(2);

    #[test]
    fn an_hour_has_no_more_reports_than_allowed_wherever_it_begins() {
        let budget = WakeBudget::new(3);
        let minutes = |n: u64| NOW.plus(Duration::from_secs(60 * n));
        let taken: Vec<u64> = (0..240).filter(|n| budget.take(A, High, None, minutes(*n)).is_ok()).collect();
        assert_eq!(taken, [0, 1, 2, 60, 61, 62, 120, 121, 122, 180, 181, 182]);
        assert_eq!(
            budget.take(A, High, None, minutes(183)),
            Err(minutes(240)),
            "the moment that is named is the right one"
        );
        assert_eq!(budget.take(B, High, None, minutes(183)), Ok(minutes(183)), "another agent has its own budget");
    }

    #[test]
    fn a_third_of_an_hour_is_kept_for_urgent_messages() {
        let budget = WakeBudget::new(3);
        let minutes = |n: u64| NOW.plus(Duration::from_secs(60 * n));
        for n in 0..2 {
            assert_eq!(budget.take(A, Normal, None, minutes(n)), Ok(minutes(n)));
        }
        assert_eq!(budget.take(A, Normal, None, minutes(2)), Err(minutes(60)));
        assert_eq!(budget.take(A, High, None, minutes(3)), Ok(minutes(3)));
        assert_eq!(budget.take(A, High, None, minutes(4)), Err(minutes(60)));
        assert_eq!(budget.take(A, Normal, None, minutes(4)), Err(minutes(61)), "two of the three are over then");
        assert_eq!(budget.take(A, Normal, None, minutes(61)), Ok(minutes(61)));
    }

    #[test]
    fn streams_that_report_together_take_one_and_none_of_them_takes_part_twice() {
        let budget = WakeBudget::new(3);
        let ms = |n: u64| NOW.plus(Duration::from_millis(n));
        assert_eq!(budget.take(A, High, None, NOW), Ok(NOW));
        assert_eq!(budget.take(A, High, None, ms(999)), Ok(NOW), "another stream");
        assert_eq!(budget.take(A, High, Some(NOW), ms(999)), Ok(ms(999)), "the same stream once more");
        assert_eq!(budget.take(A, High, None, ms(2_000)), Ok(ms(2_000)), "it is later");
        assert_eq!(budget.take(A, High, Some(ms(2_000)), ms(2_001)), Err(NOW.plus(HOUR)));
        assert_eq!(budget.take(A, High, Some(ms(999)), ms(2_001)), Ok(ms(2_000)));
    }

    #[test]
    fn agents_without_a_report_in_the_last_hour_are_forgotten() {
        let budget = WakeBudget::new(12);
        for n in 0..20 * AGENTS_SWEPT_AT as i64 {
            let now = NOW.plus(Duration::from_secs(n.unsigned_abs()));
            assert_eq!(budget.take(AgentId::from_raw(n), High, None, now), Ok(now));
        }
        assert!(budget.reports.lock().of_agents.len() <= 2 * AGENTS_SWEPT_AT);
    }
}
