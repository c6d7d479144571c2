use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::id::UserId;
use crate::ports::chats::{Content, StoredMessage};
use crate::time::Timestamp;

fn id() -> ConversationId {
    ConversationId(Uuid::from_u128(1))
}

fn message(seq: u64) -> Entry {
    Entry::Message(StoredMessage {
        seq,
        id: seq.to_string(),
        from: UserId(Uuid::nil()),
        at: Timestamp(seq as i64),
        content: Content {
            body: format!("message {seq}"),
            ..Content::default()
        },
        edited_at: None,
        deleted: false,
        reactions: Vec::new(),
    })
}

fn update(seq: u64, of: u64, change: StoredChange) -> StoredUpdate {
    StoredUpdate {
        seq,
        of,
        from: UserId(Uuid::nil()),
        at: Timestamp(seq as i64),
        change,
        idempotency: None,
    }
}

/// Takes an entry as the conversation does.
fn take(tail: &mut Tail, entry: Entry) {
    let seq = entry.seq();
    let fold = match &entry {
        Entry::Update(update) => Some(update.clone()),
        Entry::Message(_) => None,
    };
    tail.push(keep(id(), Arc::new(entry)));
    if let Some(update) = fold {
        tail.fold(id(), &update, seq);
    }
}

fn edit(body: &str) -> StoredChange {
    StoredChange::Edit {
        body: Some(body.into()),
    }
}

fn kept(tail: &Tail, seq: u64, head: u64) -> &Entry {
    let kept = tail.get(seq, head).unwrap();
    assert_eq!(
        kept.frame,
        Frames::one(frame(id(), &kept.entry)),
        "entry and frame say the same"
    );
    &kept.entry
}

#[test]
fn an_update_is_folded_into_the_message_it_names() {
    let mut tail = Tail::default();
    take(&mut tail, message(1));
    take(&mut tail, message(2));
    take(&mut tail, Entry::Update(update(3, 1, edit("new"))));
    let Entry::Message(first) = kept(&tail, 1, 3) else {
        panic!("a message")
    };
    assert_eq!(
        (first.content.body.as_str(), first.edited_at),
        ("new", Some(Timestamp(3)))
    );
    assert_eq!(*kept(&tail, 2, 3), message(2));
}

#[test]
fn a_deletion_takes_the_text_out_of_message_and_edits_even_of_an_edit_that_comes_later() {
    let mut tail = Tail::default();
    take(&mut tail, message(1));
    take(&mut tail, Entry::Update(update(2, 1, edit("secret"))));
    take(&mut tail, Entry::Update(update(3, 1, StoredChange::Delete)));
    take(&mut tail, Entry::Update(update(4, 1, edit("later secret"))));
    let Entry::Message(first) = kept(&tail, 1, 4) else {
        panic!("a message")
    };
    assert!(first.deleted && first.content.body.is_empty());
    for seq in [2, 4] {
        let scrubbed = update(seq, 1, StoredChange::Edit { body: None });
        assert_eq!(*kept(&tail, seq, 4), Entry::Update(scrubbed));
    }
}

#[test]
fn what_is_read_back_stands_before_the_rest_and_has_what_was_said_of_it_meanwhile() {
    let mut tail = Tail::default();
    take(&mut tail, Entry::Update(update(5, 2, edit("new"))));
    take(&mut tail, Entry::Update(update(6, 3, StoredChange::Delete)));
    assert!(tail.lacks(1, 6) && tail.lacks(4, 6) && !tail.lacks(5, 6));
    let secret = Entry::Update(update(4, 3, edit("secret")));
    let whole = vec![message(1), message(2), message(3), secret];
    for broken in [
        whole[..3].to_vec(),
        [&whole[..1], &whole[2..]].concat(),
        vec![message(5)],
    ] {
        tail.fill(id(), broken, 4, 6);
        assert_eq!(tail.first(6), 5, "it would leave a hole");
    }
    tail.fill(id(), whole, 4, 6);
    let texts = [1, 2, 3].map(|seq| match kept(&tail, seq, 6) {
        Entry::Message(message) => message.content.body.clone(),
        Entry::Update(_) => panic!("a message"),
    });
    assert_eq!(texts, ["message 1", "new", ""]);
    let scrubbed = update(4, 3, StoredChange::Edit { body: None });
    assert_eq!(*kept(&tail, 4, 6), Entry::Update(scrubbed));
    assert!(!tail.lacks(1, 6));
}

#[test]
fn what_is_older_than_what_is_kept_is_left_to_the_store() {
    let (tail, kept) = (Tail::default(), KEPT as u64);
    assert!(tail.lacks(901, 900 + kept) && !tail.lacks(900, 900 + kept));
    assert!(!tail.lacks(901 + kept, 900 + kept), "it is still to come");
}

proptest! {
    #[test]
    fn the_tail_ends_at_the_head_has_no_hole_and_all_that_is_not_stored(
        ops in prop::collection::vec(prop_oneof![3 => (1..40u64).prop_map(Ok), 1 => (0..40u64).prop_map(Err)], 1..30),
        start in 0..10u64,
        span in (0..500u64, 0..500u64),
    ) {
        let (mut tail, mut head, mut stored) = (Tail::default(), start, start);
        for op in ops {
            match op {
                Ok(count) => {
                    for _ in 0..count {
                        head += 1;
                        take(&mut tail, message(head));
                    }
                }
                Err(more) => {
                    stored = (stored + more).min(head);
                    tail.trim(stored, head);
                }
            }
            let first = tail.first(head);
            prop_assert!(first <= stored + 1, "what is not stored is here");
            prop_assert!(tail.get(first - 1, head).is_none() && tail.get(head + 1, head).is_none());
            for seq in first..=head {
                prop_assert_eq!(kept(&tail, seq, head).seq(), seq);
            }
        }
        tail.trim(head, head);
        prop_assert!(head + 1 - tail.first(head) <= KEPT as u64);
        let (from, to) = span;
        let got: Vec<_> = tail.range(from, to, head).map(|kept| kept.entry.seq()).collect();
        let expected: Vec<_> = (tail.first(head).max(from)..=head.min(to)).collect();
        prop_assert_eq!(got, expected);
    }
}
