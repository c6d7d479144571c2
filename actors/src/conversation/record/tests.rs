use proptest::prelude::*;

use super::*;
use crate::samples;

fn record() -> impl Strategy<Value = Record> {
    let parts = (
        samples::conversation(),
        any::<i64>(),
        any::<Option<u64>>(),
        prop::option::of(any::<(u64, u64)>()),
        samples::command(),
    );
    parts.prop_map(|(conversation, at, checked, writer, command)| Record {
        conversation,
        at: Timestamp(at),
        checked,
        writer: writer.map(|(process, seen)| Writer { process, seen }),
        command,
    })
}

#[test]
fn a_record_without_a_command_or_with_a_short_id_is_undecodable() {
    let good = Record {
        conversation: ConversationId(uuid::Uuid::nil()),
        at: Timestamp(1),
        checked: None,
        writer: None,
        command: Command::Gone {
            user: UserId(uuid::Uuid::nil()),
        },
    };
    let bytes = good.encode();
    assert_eq!(Record::decode(bytes.clone()).unwrap(), good);
    let without_command = bytes.slice(..bytes.len() - 18);
    assert_eq!(Record::decode(without_command), Err(later("command")));
    assert!(Record::decode(Bytes::from_static(&[0x0a, 1, 7])).is_err());
    assert!(Record::decode(Bytes::new()).is_err());
}

/// The conversation's state is not known behind it.
#[test]
fn what_a_later_release_does_is_told_from_damage() {
    let record = |command| WireRecord {
        conversation: bytes_of(&[1; 16]),
        at: 1,
        command: Some(command),
        checked: None,
        writer: None,
    };
    let update = WireUpdate {
        from: bytes_of(&[2; 16]),
        of: 1,
        kind: 5,
        text: String::new(),
        idempotency: None,
    };
    let role = WireRole {
        by: bytes_of(&[2; 16]),
        user: bytes_of(&[3; 16]),
        role: 4,
    };
    let decoded = |command| Record::decode(record(command).encode_to_vec().into());
    assert_eq!(decoded(WireCommand::Update(update)), Err(later("kind of update 5")));
    assert_eq!(decoded(WireCommand::SetRole(role)), Err(later("role 4")));
    assert_eq!(
        decoded(WireCommand::Gone(bytes_of(&[2; 16]).slice(1..))),
        Err(missing("user"))
    );
}

proptest! {
    #[test]
    fn every_record_is_read_as_it_was_written(record in record()) {
        prop_assert_eq!(Record::decode(record.encode()).unwrap(), record);
    }

    #[test]
    fn fields_of_a_later_version_are_skipped(record in record()) {
        let mut bytes = record.encode().to_vec();
        // Field 15, a varint.
        bytes.extend([0x78, 1]);
        prop_assert_eq!(Record::decode(bytes.into()).unwrap(), record);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        Record::decode(bytes.into()).ok();
    }

    #[test]
    fn no_damage_to_a_record_makes_the_reader_panic(
        record in record(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = record.encode().to_vec();
        for (index, byte) in damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        Record::decode(bytes.into()).ok();
    }
}
