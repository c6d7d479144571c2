//! What was written before, held against what is written now.
//!
//! Bytes that one release writes and another reads (messages between nodes, records of the log, documents of the store) are
//! recorded as files, one a version: `1.txt`, `2.txt` and so on, a line for each sample with its name and its bytes, those
//! that are no printable ASCII escaped. [`hold`] sees to it that
//!
//! * every recording reads as the value of its name, the oldest too: **the value of a sample never changes**, and where there
//!   is something new to show there is a new sample;
//! * what is written now is byte for byte the newest recording: nobody changes an encoding without knowing;
//! * every sample is recorded.
//!
//! **How to record.** With `ROOKERY_RECORD` in the environment of the test:
//!
//! * `ROOKERY_RECORD=add` appends samples that are new to the newest file, and changes nothing that stands there.
//! * `ROOKERY_RECORD=new` writes the next file, where an encoding was changed on purpose. Those before it stay, and must still
//!   be read, for as long as bytes of their time may be met: messages of the release before, what is stored for good.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};

/// A value by the name that its recording goes by.
pub type Sample<T> = (String, T);

/// What to do when something has changed.
const ADVICE: &str = "\
A release must read what the release before writes, and write only what that one reads; what is stored is read for good.
  Fine in one step: a new field that may be missing, where those who do not know it come to the same result. Add a sample
      with it (those before are never changed) and record with ROOKERY_RECORD=new.
  In two releases: a new variant or kind, or a field without which one cannot go on: first a release that reads it, then one
      that writes it. Add a sample, and record with ROOKERY_RECORD=add.
  Never: another type, name or meaning for what there is, or its removal while it may still be met.";

/// Holds these samples to the recordings in a directory.
///
/// # Panics
///
/// Where they differ, and says how.
pub fn hold<T: PartialEq + Debug>(
    directory: impl AsRef<Path>,
    samples: &[Sample<T>],
    write: impl Fn(&T) -> Vec<u8>,
    read: impl Fn(&[u8]) -> Result<T, String>,
) {
    let directory = directory.as_ref();
    let written: Lines = samples
        .iter()
        .map(|(name, value)| (name.clone(), write(value)))
        .collect();
    assert_eq!(written.len(), samples.len(), "two samples bear one name");
    record(directory, &written, samples);
    check(directory, &written, samples, read);
}

/// Recorded bytes by the names of their samples.
type Lines = BTreeMap<String, Vec<u8>>;

fn check<T: PartialEq + Debug>(
    directory: &Path,
    written: &Lines,
    samples: &[Sample<T>],
    read: impl Fn(&[u8]) -> Result<T, String>,
) {
    let recordings = recordings(directory);
    let mut wrong = Vec::new();
    for (file, lines) in &recordings {
        let of_file = |what: String| format!("{}: {what}", file.display());
        wrong.extend(misread(lines, samples, &read).into_iter().map(of_file));
    }
    match recordings.last() {
        Some((_, newest)) => wrong.extend(differences(written, newest)),
        None => wrong.push("nothing is recorded: record with ROOKERY_RECORD=new".into()),
    }
    assert!(wrong.is_empty(), "{}\n{ADVICE}", wrong.join("\n"));
}

fn misread<T: PartialEq + Debug>(
    lines: &Lines,
    samples: &[Sample<T>],
    read: impl Fn(&[u8]) -> Result<T, String>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, bytes) in lines {
        let sample = samples.iter().find(|(known, _)| known == name);
        match (sample, read(bytes)) {
            (None, _) => wrong.push(format!("{name} was recorded and is no sample any more")),
            (_, Err(error)) => wrong.push(format!("{name} cannot be read any more: {error}")),
            (Some((_, value)), Ok(read)) if *value != read => {
                wrong.push(format!("{name} reads as {read:?} and was {value:?}"));
            }
            _ => {}
        }
    }
    wrong
}

fn differences(written: &Lines, newest: &Lines) -> Vec<String> {
    let missing = |name: &String| format!("{name} is not recorded: ROOKERY_RECORD=add if it is new");
    written
        .iter()
        .filter_map(|(name, now)| match newest.get(name) {
            None => Some(missing(name)),
            Some(before) if before != now => Some(format!(
                "{name} is written differently\n    now    {}\n    before {}",
                now.escape_ascii(),
                before.escape_ascii()
            )),
            Some(_) => None,
        })
        .collect()
}

/// Does what `ROOKERY_RECORD` asks for.
fn record<T>(directory: &Path, written: &Lines, samples: &[Sample<T>]) {
    let Ok(wish) = std::env::var("ROOKERY_RECORD") else {
        return;
    };
    let recordings = recordings(directory);
    let (file, known) = match (wish.as_str(), recordings.last()) {
        ("add", Some((file, newest))) => (file.clone(), newest.clone()),
        ("new", Some((_, newest))) if newest == written => return,
        ("new", _) => (directory.join(format!("{}.txt", recordings.len() + 1)), Lines::new()),
        _ => panic!("ROOKERY_RECORD={wish}: add to what is recorded, or record something new"),
    };
    let mut text = fs::read_to_string(&file).unwrap_or_default();
    for (name, _) in samples.iter().filter(|(name, _)| !known.contains_key(name)) {
        text += &format!("{name}\t{}\n", written[name].escape_ascii());
    }
    fs::create_dir_all(directory).expect("the directory of recordings can be made");
    fs::write(&file, text).expect("recordings can be written");
}

/// All recordings, oldest first.
fn recordings(directory: &Path) -> Vec<(PathBuf, Lines)> {
    (1..)
        .map(|number| directory.join(format!("{number}.txt")))
        .map_while(|file| {
            let text = fs::read_to_string(&file).ok()?;
            Some((file, lines(&text)))
        })
        .collect()
}

fn lines(text: &str) -> Lines {
    text.lines()
        .map(|line| {
            let (name, bytes) = line.split_once('\t').expect("a name, a tab, and bytes");
            (name.to_owned(), unescaped(bytes))
        })
        .collect()
}

/// The bytes that [`slice::escape_ascii`] wrote so.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let escaped = (byte == b'\\').then(|| rest.next().expect("something is escaped"));
        bytes.push(match escaped {
            None => byte,
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b'x') => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&digits, 16).expect("two hexadecimal digits")
            }
            Some(other) => other,
        });
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    /// What is wrong with samples that are written as their digits.
    fn complaint(directory: &Path, values: &[(&str, u32)]) -> Option<String> {
        let samples: Vec<Sample<u32>> = values.iter().map(|(name, value)| ((*name).into(), *value)).collect();
        let digits = |(name, value): &Sample<u32>| (name.clone(), value.to_string().into_bytes());
        let written = samples.iter().map(digits).collect();
        let read = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes)
                .parse()
                .map_err(|_| "no number".to_owned())
        };
        let checked = catch_unwind(AssertUnwindSafe(|| check(directory, &written, &samples, read)));
        checked
            .err()
            .map(|panic| panic.downcast_ref::<String>().unwrap().clone())
    }

    #[test]
    fn every_byte_survives_its_escape() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(unescaped(&bytes.escape_ascii().to_string()), bytes);
    }

    #[test]
    fn whatever_differs_from_the_recordings_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let says = |values: &[(&str, u32)], part: &str| {
            let said = complaint(directory.path(), values).unwrap();
            assert!(said.contains(part), "{said}");
        };
        says(&[("a", 1)], "nothing is recorded");
        fs::write(directory.path().join("1.txt"), "a\t001\nb\t7\n").unwrap();
        fs::write(directory.path().join("2.txt"), "a\t1\nb\t7\n").unwrap();
        assert_eq!(
            complaint(directory.path(), &[("a", 1), ("b", 7)]),
            None,
            "an older spelling reads the same"
        );
        says(&[("a", 1), ("b", 7), ("c", 3)], "c is not recorded");
        says(&[("a", 1), ("b", 8)], "b reads as 7 and was 8");
        says(&[("a", 1)], "b was recorded and is no sample any more");
        fs::write(directory.path().join("3.txt"), "a\t1\nb\t07\n").unwrap();
        says(&[("a", 1), ("b", 7)], "b is written differently");
    }
}
