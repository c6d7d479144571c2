//! What was recorded reads as what it was, and is written as it was.

use bytes::Bytes;
use rookery_cluster::testkit::recorded;
use rookery_cluster::wire::Wire as _;
use serde_json::{Map, Value};

use super::messages::messages;
use super::values::{at, commands, conversation};
use crate::conversation::command::{Command, Record, Writer};
use crate::interchange::Peer;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

fn read(bytes: &[u8]) -> Result<Peer, String> {
    Peer::decode(&Bytes::copy_from_slice(bytes)).map_err(|error| error.to_string())
}

#[test]
fn messages_of_the_release_before_are_read_and_those_of_this_one_are_as_recorded() {
    let write = |peer: &Peer| peer.encode().to_vec();
    recorded::hold(format!("{FIXTURES}/messages"), &messages(), write, read);
}

#[test]
fn records_of_the_log_are_read_for_good_and_those_of_this_release_are_as_recorded() {
    let record = |(name, command): (String, Command)| {
        let record = Record {
            conversation: conversation(),
            at: at(0),
            checked: None,
            writer: None,
            command,
        };
        (name, record)
    };
    let mut records: Vec<_> = commands().into_iter().map(record).collect();
    let (name, first) = records[0].clone();
    let checked = Record {
        checked: Some(300),
        ..first.clone()
    };
    let written = Record {
        writer: Some(Writer {
            process: u64::MAX - 1,
            seen: 300,
        }),
        ..first
    };
    records.extend([
        (format!("{name} checked"), checked),
        (format!("{name} written"), written),
    ]);
    let write = |record: &Record| record.encode().to_vec();
    let read = |bytes: &[u8]| Record::decode(Bytes::copy_from_slice(bytes)).map_err(|error| error.to_string());
    recorded::hold(format!("{FIXTURES}/records"), &records, write, read);
}

/// Every copy of a value in which one map has a field more. Maps that name a variant, and data of a client, have none.
fn grown(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => {
            let put = |index: usize, item| {
                let mut items = items.clone();
                items[index] = item;
                Value::Array(items)
            };
            let indexed = items.iter().enumerate();
            indexed
                .flat_map(|(index, item)| grown(item).into_iter().map(move |item| put(index, item)))
                .collect()
        }
        Value::Object(fields) => {
            let within = fields
                .iter()
                .filter(|(name, _)| *name != "data")
                .flat_map(|(name, item)| {
                    grown(item).into_iter().map(move |item| {
                        let mut fields = fields.clone();
                        fields.insert(name.clone(), item);
                        Value::Object(fields)
                    })
                });
            within
                .chain((!names_variant(fields)).then(|| with_more(fields)))
                .collect()
        }
        _ => Vec::new(),
    }
}

fn names_variant(fields: &Map<String, Value>) -> bool {
    let mut names = fields.keys();
    let (name, other) = (names.next(), names.next());
    let is_variant =
        |name: &String| name.starts_with(char::is_uppercase) || ["user", "conversation"].contains(&name.as_str());
    other.is_none() && name.is_some_and(is_variant)
}

fn with_more(fields: &Map<String, Value>) -> Value {
    let mut fields = fields.clone();
    fields.insert("of_a_later_release".into(), serde_json::json!({"what": ["ever"]}));
    Value::Object(fields)
}

#[test]
fn fields_of_a_later_release_are_skipped_wherever_they_stand() {
    let mut tried = 0;
    for (name, peer) in messages() {
        let value: Value = rmp_serde::from_slice(&peer.encode()).unwrap();
        for grown in grown(&value) {
            let bytes = rmp_serde::to_vec_named(&grown).unwrap();
            assert_eq!(read(&bytes).as_ref(), Ok(&peer), "{name}: {grown}");
            tried += 1;
        }
    }
    assert!(tried > 500, "{tried}");
}
