//! The plan: which cell an agent lives in, as a pure function of its id.

use aws_lc_rs::digest::{SHA256, digest};
use doorbell_protocol::id::MessageId;
use doorbell_protocol::time::UnixMs;

/// Cells of one store at most: a receipt subscription is read in all of them.
pub const CELLS_MAX: usize = 64;

/// Which cells the agents of each time live in. It only grows: an entry that was in force stays as it is, because agents
/// were placed by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellPlan {
    /// By their time, the first one from the beginning of time.
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    since: UnixMs,
    /// The cells that new ids go to. Not empty.
    cells: Vec<u8>,
}

impl CellPlan {
    /// All ids go to the first `cells` cells.
    ///
    /// # Panics
    /// Unless there are 1 to [`CELLS_MAX`].
    pub fn new(cells: usize) -> Self {
        Self { entries: vec![Entry { since: UnixMs::from_millis(0), cells: first(cells) }] }
    }

    /// Ids that are minted from `since` on go to the first `cells` cells. `since` is after all ids that exist.
    pub(super) fn grow(&mut self, since: UnixMs, cells: usize) {
        debug_assert!(self.last().is_some_and(|last| last.since < since && last.cells.len() < cells), "it only grows");
        self.entries.push(Entry { since, cells: first(cells) });
    }

    /// The number of cells that it distributes agents to, which are the first ones.
    pub(crate) fn cells(&self) -> usize {
        self.entries.iter().filter_map(|entry| entry.cells.last()).max().map_or(0, |last| usize::from(*last) + 1)
    }

    /// When the newest entry begins.
    pub(super) fn newest(&self) -> UnixMs {
        self.last().map_or(UnixMs::from_millis(0), |last| last.since)
    }

    fn last(&self) -> Option<&Entry> {
        self.entries.last()
    }

    /// The cell of an agent, or the first one of a receipt subscription: of its id as a number.
    pub fn cell_of(&self, id: i64) -> usize {
        let born = MessageId::from_raw(id).minted_at();
        let entry = self.entries.iter().rfind(|entry| entry.since <= born).or(self.entries.first());
        let cells = &entry.expect("a plan has an entry").cells;
        if let [only] = cells[..] {
            return only.into();
        }
        // Not the id itself: its low bits are a counter, and few agents have another one than the first.
        let hash = digest(&SHA256, &id.to_be_bytes());
        let first = hash.as_ref().first_chunk::<8>().expect("the hash has 32 bytes");
        let place = u64::from_be_bytes(*first) % cells.len() as u64;
        cells[usize::try_from(place).expect("it is less than the number of cells")].into()
    }

    /// One line for each entry.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        self.entries.iter().map(|Entry { since, cells }| {
            let cells: Vec<_> = cells.iter().map(u8::to_string).collect();
            format!("since {} {}", since.as_millis(), cells.join(" "))
        })
    }

    /// The plan of such lines, for `count` cells; `None` if they are no plan.
    pub(super) fn from_lines(lines: &[&str], count: usize) -> Option<Self> {
        let entries: Vec<_> = lines.iter().map(|line| entry(line, count)).collect::<Option<_>>()?;
        let begins = entries.first().is_some_and(|first| first.since == UnixMs::from_millis(0));
        let rises = entries.is_sorted_by(|one, next| one.since < next.since);
        (begins && rises).then_some(Self { entries })
    }
}

fn entry(line: &str, count: usize) -> Option<Entry> {
    let mut words = line.strip_prefix("since ")?.split(' ');
    let since = UnixMs::from_millis(words.next()?.parse().ok()?);
    let cells: Vec<u8> = words.map(str::parse).collect::<Result<_, _>>().ok()?;
    let valid =
        cells.is_sorted_by(|one, next| one < next) && cells.last().is_some_and(|last| usize::from(*last) < count);
    valid.then_some(Entry { since, cells })
}

fn first(cells: usize) -> Vec<u8> {
    assert!((1..=CELLS_MAX).contains(&cells), "a store has 1 to {CELLS_MAX} cells");
    let end = u8::try_from(cells).expect("the line above bounds it");
    (0..end).collect()
}

#[cfg(test)]
mod tests {
    use doorbell_protocol::id::Mint;

    use super::*;

    const NOON: UnixMs = UnixMs::from_millis(1_800_000_000_000);

    /// As a busy service mints them, and as a quiet one does.
    fn minted(every_ms: i64) -> impl Iterator<Item = i64> {
        let mint = Mint::new(0, 0);
        (0..20_000).map(move |n| mint.next(UnixMs::from_millis(NOON.as_millis() + n * every_ms)))
    }

    #[test]
    fn twenty_thousand_ids_spread_evenly_whether_they_are_minted_in_a_rush_or_one_a_second() {
        for cells in [2, 3, 4, 16] {
            for every_ms in [0, 1, 1_000] {
                let plan = CellPlan::new(cells);
                let mut counts = vec![0_u32; cells];
                minted(every_ms).for_each(|id| counts[plan.cell_of(id)] += 1);
                let even = 20_000.0 / f64::from(u32::try_from(cells).unwrap());
                // Chance alone scatters the small shares of many cells more.
                let off_max = if cells <= 4 { 0.03 } else { 0.1 };
                let off = |count: u32| (f64::from(count) / even - 1.0).abs();
                assert!(counts.iter().all(|count| off(*count) <= off_max), "{cells} {every_ms}: {counts:?}");
            }
        }
    }

    #[test]
    fn a_cell_that_is_added_moves_no_agent_that_exists() {
        let before = CellPlan::new(2);
        let mut after = before.clone();
        let old: Vec<_> = minted(1).collect();
        let since = UnixMs::from_millis(MessageId::from_raw(*old.last().unwrap()).minted_at().as_millis() + 60_000);
        after.grow(since, 3);
        assert!(old.iter().all(|id| after.cell_of(*id) == before.cell_of(*id)));
        let mint = Mint::new(0, 0);
        let new: Vec<_> = (0..3_000).map(|_| after.cell_of(mint.next(since))).collect();
        assert!((0..3).all(|cell| new.iter().filter(|of| **of == cell).count() > 900), "the new one gets its share");
    }

    #[test]
    fn the_cell_of_an_id_never_changes_with_the_program() {
        let plan = CellPlan::new(4);
        let cells: Vec<_> = (1..=12).map(|id| plan.cell_of(id)).collect();
        assert_eq!(cells, PINNED);
    }

    /// SHA-256 of the eight bytes of each id, its first eight bytes as a number, modulo four.
    const PINNED: [usize; 12] = [2, 1, 0, 3, 2, 1, 0, 1, 0, 2, 1, 3];

    #[test]
    fn a_plan_is_read_as_it_was_written_and_nothing_else_is_a_plan() {
        let mut plan = CellPlan::new(1);
        plan.grow(NOON, 3);
        let lines: Vec<_> = plan.lines().collect();
        assert_eq!(lines, ["since 0 0", "since 1800000000000 0 1 2"]);
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        assert_eq!(CellPlan::from_lines(&lines, 3), Some(plan));
        assert_eq!(CellPlan::from_lines(&lines, 2), None, "a cell that there is not");
        for wrong in ["", "since 5 0", "since 0", "since 0 1 0", "since 0 0 0", "since x 0", "since 0 0 ", "until 0 0"]
        {
            assert_eq!(CellPlan::from_lines(&[wrong], 3), None, "{wrong:?}");
        }
        assert_eq!(CellPlan::from_lines(&["since 0 0", "since 0 0 1"], 3), None);
        assert_eq!(CellPlan::from_lines(&[], 3), None);
    }
}
