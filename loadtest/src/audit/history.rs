//! Reads whole histories over HTTP.

use std::borrow::Cow;

use rookery_actors::id::ConversationId;
use serde::Deserialize;

use super::Entry;
use crate::client::payload::{self, Key};
use crate::http::{Error, Http};

/// Messages asked for at a time: the most the contract allows.
const PAGE: usize = 500;

/// A page of history; only what the audit needs.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    items: Vec<Item<'a>>,
    more: bool,
}

#[derive(Deserialize)]
struct Item<'a> {
    seq: u64,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    body: Cow<'a, str>,
}

/// The whole history of a conversation, oldest first, as the member with that token reads it.
pub fn fetch(http: &mut Http, conversation: ConversationId, token: &str) -> Result<Vec<Entry>, Error> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let after = entries.last().map_or(0, |entry| entry.seq);
        let path = format!("/api/messages/{conversation}?after={after}&limit={PAGE}");
        let answer = http.request("GET", &path, Some(token), b"")?;
        let what = || format!("GET {path}");
        if answer.status != 200 {
            return Err(Error::Refused {
                what: what(),
                status: answer.status,
                body: String::from_utf8_lossy(&answer.body).into_owned(),
            });
        }
        let page: Page<'_> =
            serde_json::from_slice(&answer.body).map_err(|source| Error::Unreadable { what: what(), source })?;
        entries.extend(page.items.into_iter().map(entry));
        // A server whose pages do not advance would keep us here for ever.
        if !page.more || entries.last().map_or(0, |entry| entry.seq) <= after {
            return Ok(entries);
        }
    }
}

fn entry(item: Item<'_>) -> Entry {
    // The run is checked by the book; the text follows from the key whatever the run.
    let key = item.id.get(..8).and_then(|run| u32::from_str_radix(run, 16).ok());
    let key = key.and_then(|run| Key::read(run, item.id.as_bytes()));
    Entry {
        seq: item.seq,
        intact: key.is_none_or(|key| payload::is_intact(key, &item.body)),
        id: item.id.into_owned(),
    }
}
