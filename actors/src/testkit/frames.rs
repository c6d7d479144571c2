//! Frames that tests have clients say.

use crate::protocol::{ClientFrame, Send, Target};

/// A message of text alone, which its id tells.
pub fn text(id: &str, to: Target) -> ClientFrame {
    ClientFrame::Send(Box::new(Send {
        id: id.into(),
        to,
        body: Some(format!("text of {id}")),
        data: None,
        attachments: Vec::new(),
        reply_to: None,
        mentions: Vec::new(),
    }))
}
