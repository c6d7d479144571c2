//! What a client may say: limits and forms of the contract, before anything is asked of anybody.

use crate::conversation::command::Command;
use crate::id::{ConversationId, UserId};
use crate::ports::chats::{Content, Span};
use crate::protocol::client::REQUEST_ID_BYTES;
use crate::protocol::{ErrorCode, Limits, Problem, Send, Target};

/// Longest emoji of a reaction, in bytes: the longest sequences of Unicode take 35.
const EMOJI_BYTES: usize = 64;
/// Most mentions of a message.
const MENTIONS: usize = 100;
/// Messages of a page of history, at least, at most, and unless the client says.
const HISTORY: (u32, u32, u32) = (1, 500, 100);

/// A send as a command to its conversation.
pub fn send(from: UserId, send: &Send, limits: &Limits) -> Result<(ConversationId, Command), Problem> {
    if send.id.is_empty() || send.id.len() > REQUEST_ID_BYTES {
        return Err(Problem::field("id", "must have 1 to 64 bytes"));
    }
    let body = send.body.clone().unwrap_or_default();
    if body.is_empty() && send.data.is_none() && send.attachments.is_empty() {
        return Err(Problem::field("body", "a message has a body, data or attachments"));
    }
    if body.len() > limits.body_bytes {
        return Err(Problem::too_large("body", limits.body_bytes));
    }
    if send
        .data
        .as_ref()
        .is_some_and(|data| data.as_str().len() > limits.data_bytes)
    {
        return Err(Problem::too_large("data", limits.data_bytes));
    }
    if send.attachments.len() > limits.attachments_per_message {
        return Err(Problem::too_large("attachments", limits.attachments_per_message));
    }
    if send.mentions.len() > MENTIONS {
        return Err(Problem::field("mentions", "more than 100"));
    }
    let (conversation, peer) = match send.to {
        Target::Conversation(conversation) => (conversation, None),
        Target::User(peer) if peer == from => return Err(Problem::field("to", "is the sender")),
        Target::User(peer) => (ConversationId::direct(from, peer), Some(peer)),
    };
    let content = Content {
        body,
        data: send.data.clone(),
        attachments: send.attachments.clone(),
        reply_to: send.reply_to,
        mentions: send.mentions.clone(),
    };
    Ok((
        conversation,
        Command::Send {
            from,
            id: send.id.clone(),
            content,
            peer,
        },
    ))
}

/// The new text of a message.
pub fn edit(body: &str, limits: &Limits) -> Result<(), Problem> {
    match body.len() {
        0 => Err(Problem::field("body", "is empty; delete the message instead")),
        length if length > limits.body_bytes => Err(Problem::too_large("body", limits.body_bytes)),
        _ => Ok(()),
    }
}

/// What somebody reacts with: short text without blanks; which of it is an emoji is for clients to say.
pub fn emoji(emoji: &str) -> Result<(), Problem> {
    if emoji.is_empty() || emoji.len() > EMOJI_BYTES || emoji.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Problem::field("emoji", "must have 1 to 64 bytes and no blanks"));
    }
    Ok(())
}

pub fn history_limit(limit: Option<u32>) -> usize {
    let (least, most, usual) = HISTORY;
    limit.unwrap_or(usual).clamp(least, most) as usize
}

/// Which part of a history is meant; without a word, the latest.
pub fn span(before: Option<u64>, after: Option<u64>) -> Result<Span, Problem> {
    match (before, after) {
        (Some(_), Some(_)) => Err(Problem::new(
            ErrorCode::BadRequest,
            "before and after exclude each other",
        )),
        (Some(before), None) => Ok(Span::Before(before)),
        (None, Some(after)) => Ok(Span::After(after)),
        (None, None) => Ok(Span::Before(u64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::id::FileId;
    use crate::protocol::Json;

    fn user(number: u128) -> UserId {
        UserId(Uuid::from_u128(number))
    }

    fn valid() -> Send {
        Send {
            id: "a".into(),
            to: Target::User(user(2)),
            body: Some("hello".into()),
            data: None,
            attachments: Vec::new(),
            reply_to: None,
            mentions: Vec::new(),
        }
    }

    fn refused(send: Send) -> ErrorCode {
        super::send(user(1), &send, &Limits::default()).unwrap_err().code
    }

    fn accepted(send: Send) -> ConversationId {
        super::send(user(1), &send, &Limits::default()).unwrap().0
    }

    #[test]
    fn a_direct_send_goes_to_the_conversation_of_the_two() {
        let direct = ConversationId::direct(user(1), user(2));
        assert_eq!(accepted(valid()), direct);
        let to = Target::User(user(1));
        assert_eq!(refused(Send { to, ..valid() }), ErrorCode::InvalidField);
    }

    #[test]
    fn an_id_has_one_to_sixty_four_bytes() {
        let with_id = |id: String| Send { id, ..valid() };
        assert_eq!(refused(with_id(String::new())), ErrorCode::InvalidField);
        assert_eq!(refused(with_id("\u{e4}".repeat(33))), ErrorCode::InvalidField);
        accepted(with_id("\u{e4}".repeat(32)));
    }

    #[test]
    fn a_message_has_something_to_say() {
        for body in [None, Some(String::new())] {
            assert_eq!(refused(Send { body, ..valid() }), ErrorCode::InvalidField);
        }
        let data = Some(Json::from(&serde_json::json!(0)));
        let (body, attachments) = (None, vec![FileId(Uuid::nil())]);
        accepted(Send {
            body: None,
            data,
            ..valid()
        });
        accepted(Send {
            body,
            attachments,
            ..valid()
        });
    }

    #[test]
    fn what_exceeds_a_limit_is_too_large_and_what_reaches_it_is_not() {
        let limits = Limits::default();
        let body = |bytes| Some("x".repeat(bytes));
        let with_body = |bytes| Send {
            body: body(bytes),
            ..valid()
        };
        accepted(with_body(limits.body_bytes));
        assert_eq!(refused(with_body(limits.body_bytes + 1)), ErrorCode::TooLarge);
        // The quotes count.
        let data = |bytes: usize| Some(Json::from(&serde_json::json!("x".repeat(bytes - 2))));
        let with_data = |bytes| Send {
            data: data(bytes),
            ..valid()
        };
        accepted(with_data(limits.data_bytes));
        assert_eq!(refused(with_data(limits.data_bytes + 1)), ErrorCode::TooLarge);
        let files = |count| vec![FileId(Uuid::nil()); count];
        let with_files = |count| Send {
            attachments: files(count),
            ..valid()
        };
        accepted(with_files(limits.attachments_per_message));
        assert_eq!(
            refused(with_files(limits.attachments_per_message + 1)),
            ErrorCode::TooLarge
        );
        let with_mentions = |count| Send {
            mentions: vec![user(2); count],
            ..valid()
        };
        accepted(with_mentions(100));
        assert_eq!(refused(with_mentions(101)), ErrorCode::InvalidField);
    }

    #[test]
    fn an_edit_has_a_text_within_the_limit() {
        let limits = Limits::default();
        let judged = |bytes| edit(&"x".repeat(bytes), &limits).map_err(|problem| problem.code);
        assert_eq!(judged(0), Err(ErrorCode::InvalidField));
        assert_eq!(judged(limits.body_bytes), Ok(()));
        assert_eq!(judged(limits.body_bytes + 1), Err(ErrorCode::TooLarge));
    }

    #[test]
    fn an_emoji_is_short_and_has_no_blanks() {
        for good in ["\u{1f426}", "\u{1f469}\u{200d}\u{1f4bb}", "+1"] {
            assert!(emoji(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\n", "\u{7f}", &"x".repeat(65)] {
            assert!(emoji(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_page_of_history_is_clamped_and_goes_one_way() {
        assert_eq!(
            [None, Some(0), Some(7), Some(9_999)].map(history_limit),
            [100, 1, 7, 500]
        );
        assert_eq!(span(None, None).unwrap(), Span::Before(u64::MAX));
        assert_eq!(span(Some(5), None).unwrap(), Span::Before(5));
        assert_eq!(span(None, Some(5)).unwrap(), Span::After(5));
        assert_eq!(span(Some(5), Some(1)).unwrap_err().code, ErrorCode::BadRequest);
    }
}
