//! How a large file is cut into parts. Pure.

use std::collections::BTreeMap;

use rookery_actors::ports::blobs::Part;
use rookery_actors::protocol::Problem;

const MIB: u64 = 1024 * 1024;
/// The usual size of a part: quick to send again after a fault, and above the 5 MiB that S3 asks for.
const PART_BYTES: u64 = 16 * MIB;
/// Most parts of an upload: their URLs are one answer. S3 would take 10,000.
const MOST_PARTS: u64 = 1_000;

/// Number and size of each part of a file: all alike but for the last.
pub(super) fn parts(size: u64) -> impl Iterator<Item = (u32, u64)> {
    let each = part_bytes(size);
    (0..size.div_ceil(each)).map(move |index| (index as u32 + 1, each.min(size - index * each)))
}

fn part_bytes(size: u64) -> u64 {
    size.div_ceil(MOST_PARTS).next_multiple_of(MIB).max(PART_BYTES)
}

/// The parts a client names, by number: each exactly once, whatever their order.
pub(super) fn in_order(named: Option<Vec<Part>>, size: u64) -> Result<Vec<Part>, Problem> {
    let named = named.ok_or_else(|| Problem::field("parts", "is required: this upload has parts"))?;
    let wanted = parts(size).count();
    let count = named.len();
    let by_number: BTreeMap<u32, Part> = named.into_iter().map(|part| (part.number, part)).collect();
    let whole = by_number.len() == count && by_number.keys().copied().eq(1..=wanted as u32);
    if whole {
        Ok(by_number.into_values().collect())
    } else {
        let why = format!("must name each of the parts 1 to {wanted} once");
        Err(Problem::field("parts", why))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rookery_actors::ports::blobs::Part;

    use super::{MIB, MOST_PARTS, in_order, parts};

    proptest! {
        #[test]
        fn parts_cover_the_file_exactly(size in 1u64..(200 << 30)) {
            let parts: Vec<_> = parts(size).collect();
            prop_assert_eq!(parts.iter().map(|(_, size)| size).sum::<u64>(), size);
            prop_assert!(parts.len() as u64 <= MOST_PARTS);
            prop_assert!(parts.iter().enumerate().all(|(at, (number, _))| *number as usize == at + 1));
            let (last, others) = parts.split_last().expect("at least one");
            prop_assert!(others.iter().all(|(_, size)| *size == parts[0].1 && *size >= 16 * MIB));
            prop_assert!(last.1 > 0);
        }
    }

    fn named(numbers: &[u32]) -> Option<Vec<Part>> {
        let part = |number: &u32| Part {
            number: *number,
            etag: number.to_string(),
        };
        Some(numbers.iter().map(part).collect())
    }

    #[test]
    fn a_client_may_name_the_parts_in_any_order() {
        let sorted = in_order(named(&[3, 1, 2]), 40 * MIB).expect("all of them");
        assert_eq!(sorted.iter().map(|part| part.number).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn parts_that_are_missing_twice_or_unknown_are_refused() {
        for numbers in [
            &[][..],
            &[1, 2],
            &[1, 2, 2],
            &[1, 2, 3, 3],
            &[1, 2, 4],
            &[0, 1, 2, 3],
            &[1, 2, 3, 4],
        ] {
            assert!(in_order(named(numbers), 40 * MIB).is_err(), "{numbers:?}");
        }
        assert!(in_order(None, 40 * MIB).is_err());
    }
}
