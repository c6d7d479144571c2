//! The hot path of receiving: what the harness needs of `message` and `sent` frames, read where they lie.
//!
//! A load side on one core takes more than a million deliveries a second, so nothing is allocated and nothing is copied: the
//! fields stand in a known order with known lengths, and each piece between them is compared. Whatever looks different (an
//! attachment first, escaped text, another server) yields `None` and is read by serde instead; both ways give the same answer.

/// The parts of a `message` frame the harness uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    pub conversation: &'a [u8; 36],
    pub seq: u64,
    pub id: &'a [u8],
    /// The text up to the frame's end; it begins with the stamp.
    pub rest: &'a [u8],
}

/// The parts of a `sent` frame the harness uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent<'a> {
    pub id: &'a [u8],
    pub conversation: &'a [u8; 36],
    pub seq: u64,
}

const MESSAGE: &[u8] = br#"{"t":"message","conversation":""#;
const SENT: &[u8] = br#"{"t":"sent","id":""#;
const SEQ: &[u8] = br#"","seq":"#;
const ID: &[u8] = br#","id":""#;
const FROM: &[u8] = br#"","from":""#;
const AT: &[u8] = br#"","at":""#;
const BODY: &[u8] = br#"","body":""#;
const CONVERSATION: &[u8] = br#"","conversation":""#;
/// A time as the protocol writes it.
const TIME: usize = 24;

#[inline]
fn after<'a>(bytes: &'a [u8], piece: &[u8]) -> Option<&'a [u8]> {
    bytes.strip_prefix(piece)
}

#[inline]
fn uuid(bytes: &[u8]) -> Option<(&[u8; 36], &[u8])> {
    bytes.split_first_chunk::<36>()
}

#[inline]
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (n, byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' if n < 19 => value = value * 10 + u64::from(byte - b'0'),
            _ if n == 0 => return None,
            _ => return Some((value, &bytes[n..])),
        }
    }
    None
}

/// A client message id of ours, which has no escapes: up to the closing quote.
#[inline]
fn id(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    const OURS: usize = super::payload::ID;
    let (id, rest) = bytes.split_at_checked(OURS)?;
    (rest.first() == Some(&b'"') && !id.contains(&b'\\')).then_some((id, rest))
}

/// Reads a `message` frame.
#[inline]
pub fn message(payload: &[u8]) -> Option<Message<'_>> {
    let (conversation, rest) = uuid(after(payload, MESSAGE)?)?;
    let (seq, rest) = number(after(rest, SEQ)?)?;
    let (id, rest) = id(after(rest, ID)?)?;
    let rest = after(rest, FROM)?.get(36..)?;
    let rest = after(rest, AT)?.get(TIME..)?;
    Some(Message {
        conversation,
        seq,
        id,
        rest: after(rest, BODY)?,
    })
}

/// Reads a `sent` frame.
#[inline]
pub fn sent(payload: &[u8]) -> Option<Sent<'_>> {
    let (id, rest) = id(after(payload, SENT)?)?;
    let (conversation, rest) = uuid(after(rest, CONVERSATION)?)?;
    let (seq, _) = number(after(rest, SEQ)?)?;
    Some(Sent { id, conversation, seq })
}

#[cfg(test)]
mod tests {
    use rookery_actors::id::{ConversationId, UserId};
    use rookery_actors::protocol::ServerFrame;
    use rookery_actors::protocol::view;
    use rookery_actors::time::Timestamp;

    use crate::client::payload;

    fn json(frame: &ServerFrame) -> Vec<u8> {
        serde_json::to_vec(frame).unwrap()
    }

    #[test]
    fn a_message_as_the_server_writes_it_takes_the_quick_way() {
        let conversation = ConversationId::fresh();
        let key = payload::Key::new(3, 9);
        let frame = ServerFrame::Message(Box::new(view::Message {
            conversation,
            seq: 12_345,
            id: key.id(7).to_string(),
            from: UserId::fresh(),
            at: Timestamp::now(),
            body: payload::body(key, 0xabcdef, 64),
            data: None,
            attachments: Vec::new(),
            reply_to: None,
            mentions: Vec::new(),
            edited_at: None,
            deleted: false,
            reactions: Vec::new(),
        }));
        let text = json(&frame);
        let found = super::message(&text).unwrap();
        assert_eq!(found.conversation, conversation.to_string().as_bytes());
        assert_eq!(found.seq, 12_345);
        assert_eq!(payload::Key::read(7, found.id), Some(key));
        assert_eq!(payload::stamp(found.rest), Some(0xabcdef));
    }

    #[test]
    fn an_answer_as_the_server_writes_it_takes_the_quick_way() {
        let conversation = ConversationId::fresh();
        let key = payload::Key::new(1, 2);
        for duplicate in [false, true] {
            let text = json(&ServerFrame::Sent {
                id: key.id(7).to_string(),
                conversation,
                seq: 5,
                at: Timestamp::now(),
                duplicate,
            });
            let found = super::sent(&text).unwrap();
            assert_eq!(found.conversation, conversation.to_string().as_bytes());
            assert_eq!((found.seq, payload::Key::read(7, found.id)), (5, Some(key)));
        }
    }

    #[test]
    fn anything_else_is_left_to_serde() {
        for text in [
            &br#"{"t":"message","seq":1}"#[..],
            br#"{"t":"sent"}"#,
            b"",
            br#"{"t":"message","conversation":"00000000-0000-7000-8000-000000000000","seq":99999999999999999999,"id":"x"#,
        ] {
            assert_eq!(super::message(text), None);
            assert_eq!(super::sent(text), None);
        }
    }
}
