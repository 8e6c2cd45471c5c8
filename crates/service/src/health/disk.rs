//! The room on the disk of the state directory.

use doorbell_store::{Contents, StoreError};

use crate::config::Limits;
use crate::status::{Condition, DiskStatus};

const NAME: &str = "disk";

/// What the store has seen of the disk. Nothing here asks the disk itself: it may hang.
pub(super) fn status(contents: &Contents, limits: &Limits) -> DiskStatus {
    DiskStatus {
        available_bytes: contents.disk_available_bytes,
        floor_bytes: limits.disk_floor_bytes,
        reserve_bytes: limits.disk_reserve_bytes,
        // The store removes the reserve when the disk is full, and makes it again.
        is_reserve_held: contents.reserve_bytes > 0,
    }
}

/// Whether there is room for messages; `refusal` is the store's own view, which also knows the room in its files.
pub(super) fn condition(disk: &DiskStatus, refusal: Option<StoreError>) -> Condition {
    let floor = bytes(disk.floor_bytes);
    let free = match disk.available_bytes {
        Some(available) => format!("{} are free", bytes(available)),
        None => "the file system does not report its size".to_owned(),
    };
    let hint = "free some room on the disk of the state directory, move the directory to a larger one, or lower \
        disk_floor_bytes";
    let is_near = disk.available_bytes.is_some_and(|available| available < disk.floor_bytes.saturating_mul(2));
    if refusal == Some(StoreError::NoRoom) {
        let text = format!("{free}, and the store keeps {floor} free: new messages and subscriptions get 429");
        Condition::fails(NAME, text, hint)
    } else if is_near {
        let text = format!("{free}, less than twice the {floor} to keep free: new agents get 429");
        Condition::holds(NAME, text).with_hint(hint)
    } else {
        Condition::holds(NAME, format!("{free}; the store keeps {floor} free"))
    }
}

/// A size, as people write it.
pub(crate) fn bytes(value: u64) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(size, _)| value >= *size) {
        Some((size, unit)) => format!("{}.{} {unit}", value / size, value % size * 10 / size),
        None => format!("{value} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: u64 = 128 << 20;

    fn disk(available_bytes: Option<u64>) -> DiskStatus {
        DiskStatus { available_bytes, floor_bytes: FLOOR, reserve_bytes: 0, is_reserve_held: false }
    }

    #[test]
    fn a_size_has_a_unit_and_one_digit_after_the_point() {
        let shown = [0, 1023, 1536, (5 << 30) - 1, 5 << 30, u64::MAX].map(bytes);
        assert_eq!(shown, ["0 bytes", "1023 bytes", "1.5 KiB", "4.9 GiB", "5.0 GiB", "16777215.9 TiB"]);
    }

    #[test]
    fn a_disk_below_its_floor_fails_and_one_near_it_has_a_hint() {
        let below = condition(&disk(Some(FLOOR - 1)), Some(StoreError::NoRoom));
        assert!(!below.ok && below.message.contains("127.9 MiB are free"), "{below:?}");
        let near = condition(&disk(Some(2 * FLOOR - 1)), None);
        assert!(near.ok && near.hint.is_some(), "{near:?}");
        let enough = condition(&disk(Some(2 * FLOOR)), None);
        assert!(enough.ok && enough.hint.is_none(), "{enough:?}");
    }

    #[test]
    fn the_store_itself_judges_and_a_bound_of_the_store_is_not_the_disk() {
        assert!(condition(&disk(None), Some(StoreError::StoreFull)).ok);
        assert!(condition(&disk(None), None).ok);
        assert!(!condition(&disk(Some(u64::MAX)), Some(StoreError::NoRoom)).ok);
    }
}
