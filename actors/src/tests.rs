//! Nodes of two releases understand each other, and a node reads what any before it wrote into the log.
//!
//! Proven by recordings: `tests/fixtures/messages` holds every kind of message between nodes, `tests/fixtures/records` every
//! kind of record of the log. What they are held to, what may be changed and how, and how to record is said by
//! [`rookery_cluster::testkit::recorded`]; in short, from the top of the repository:
//!
//! ```sh
//! ROOKERY_RECORD=add cargo test -p rookery-actors --lib recorded   # there is a new sample, of a new variant say
//! ROOKERY_RECORD=new cargo test -p rookery-actors --lib recorded   # what was there before is written differently
//! ```
//!
//! Every variant of every enum has a sample: [`every`] names them all in a match without a wildcard, so that one that is new
//! does not compile until it is named, and does not pass until there is a sample of it.

use rookery_cluster::testkit::recorded::Sample;

/// The samples of an enum, by their variants' names. One without a sample is a panic, one without a name does not compile.
macro_rules! every {
    ($Enum:ident { $($Variant:ident),+ $(,)? } $samples:expr) => {{
        let samples: Vec<Sample<$Enum>> = $samples;
        let name = |sample: &$Enum| match sample {
            $($Enum::$Variant { .. } => stringify!($Variant),)+
        };
        $(assert!(
            samples.iter().any(|(_, sample)| name(sample) == stringify!($Variant)),
            concat!("there is no sample of ", stringify!($Enum), "::", stringify!($Variant)),
        );)+
        let named = |(rest, sample): (String, $Enum)| (format!("{}{rest}", name(&sample)), sample);
        samples.into_iter().map(named).collect::<Vec<Sample<$Enum>>>()
    }};
}

mod frames;
mod later;
mod messages;
mod recorded;
mod values;

/// A sample that its variant names.
fn of<T>(value: T) -> Sample<T> {
    (String::new(), value)
}

/// Another of the same variant.
fn like<T>(rest: &str, value: T) -> Sample<T> {
    (rest.to_owned(), value)
}

/// A sample of something for each of what it holds.
fn each<A, T>(parts: Vec<Sample<A>>, whole: impl Fn(A) -> T) -> Vec<Sample<T>> {
    parts
        .into_iter()
        .map(|(name, part)| (format!("/{name}"), whole(part)))
        .collect()
}
