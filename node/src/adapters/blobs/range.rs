//! Byte ranges (RFC 9110, section 14): one range of a known length.

/// Which part of a content a request wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    /// All of it: no range, several ranges, or one that is to be ignored because it is malformed.
    All,
    /// `first..=last`, both within the content.
    Part { first: u64, last: u64 },
    /// Nothing of the content lies within the range.
    Unsatisfiable,
}

/// Reads the value of a `Range` header over a content of that many bytes.
pub(super) fn wanted(range: Option<&str>, size: u64) -> Wanted {
    let Some(spec) = range.and_then(bytes_spec) else {
        return Wanted::All;
    };
    match spec {
        Spec::From { first, .. } if first >= size => Wanted::Unsatisfiable,
        Spec::From { first, last } => Wanted::Part {
            first,
            last: last.unwrap_or(u64::MAX).min(size - 1),
        },
        Spec::Suffix(length) if length == 0 || size == 0 => Wanted::Unsatisfiable,
        Spec::Suffix(length) => Wanted::Part {
            first: size.saturating_sub(length),
            last: size - 1,
        },
    }
}

enum Spec {
    From { first: u64, last: Option<u64> },
    Suffix(u64),
}

fn bytes_spec(range: &str) -> Option<Spec> {
    let (unit, spec) = range.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = spec.trim().split_once('-')?;
    match (first, last) {
        ("", length) => number(length).map(Spec::Suffix),
        (first, "") => Some(Spec::From {
            first: number(first)?,
            last: None,
        }),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::From {
                first,
                last: Some(last),
            })
        }
    }
}

/// Digits alone: no sign, no space. A number too large to hold is as good as the largest.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{Wanted, wanted};

    #[test]
    fn a_range_is_cut_to_the_content() {
        for (range, first, last) in [
            ("bytes=0-0", 0, 0),
            ("bytes=0-", 0, 9),
            ("bytes=3-5", 3, 5),
            ("Bytes= 3-5", 3, 5),
            ("bytes=9-9", 9, 9),
            ("bytes=5-99999999999999999999999", 5, 9),
            ("bytes=-3", 7, 9),
            ("bytes=-30", 0, 9),
        ] {
            assert_eq!(wanted(Some(range), 10), Wanted::Part { first, last }, "{range}");
        }
    }

    #[test]
    fn a_range_beyond_the_content_is_unsatisfiable() {
        for (range, size) in [
            ("bytes=10-", 10),
            ("bytes=10-12", 10),
            ("bytes=-0", 10),
            ("bytes=0-", 0),
            ("bytes=-1", 0),
        ] {
            assert_eq!(wanted(Some(range), size), Wanted::Unsatisfiable, "{range} of {size}");
        }
    }

    #[test]
    fn what_is_no_single_range_is_ignored() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=a-b",
            "bytes=5-3",
            "bytes=1-2,4-5",
            "lines=1-2",
            "bytes=+1-2",
            "bytes=-",
        ] {
            assert_eq!(wanted(Some(range), 10), Wanted::All, "{range}");
        }
        assert_eq!(wanted(None, 10), Wanted::All);
    }
}
