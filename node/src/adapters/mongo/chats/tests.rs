//! Documents that any release wrote are read by this one, and this one writes them as they are recorded.

use mongodb::bson::{Document, deserialize_from_document, deserialize_from_slice, serialize_to_vec};
use rookery_actors::ports::chats::{Entry, Profile};
use rookery_cluster::testkit::recorded;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::conversation::{ChangeDoc, ProfileDoc, document};
use super::entry::EntryDoc;
use super::plan::{Roster, Standing};
use crate::adapters::tests::{conversation, fixtures, members, named_entries, profiles, user};

fn bytes(value: &impl Serialize) -> Vec<u8> {
    serialize_to_vec(&document(value).unwrap()).unwrap()
}

fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let document: Document = deserialize_from_slice(bytes).map_err(|error| error.to_string())?;
    deserialize_from_document(document).map_err(|error| error.to_string())
}

#[test]
fn recorded_entries_of_any_release_are_read() {
    let write = |entry: &Entry| match entry {
        Entry::Message(message) => bytes(&EntryDoc::of_message(conversation(), message, 3)),
        Entry::Update(update) => bytes(&EntryDoc::of_update(conversation(), update)),
    };
    let read = |bytes: &[u8]| {
        from_bytes::<EntryDoc>(bytes)?
            .into_entry()
            .ok_or_else(|| "no entry".to_owned())
    };
    recorded::hold(fixtures("mongo-entries"), &named_entries(), write, read);
}

#[test]
fn recorded_profiles_of_any_release_are_read() {
    let write = |profile: &Profile| bytes(&ProfileDoc::from(profile));
    let read = |bytes: &[u8]| from_bytes::<ProfileDoc>(bytes).map(Profile::from);
    recorded::hold(fixtures("mongo-profiles"), &profiles(), write, read);
}

/// What a commit leaves to be carried out, perhaps by a node of another release.
#[test]
fn recorded_changes_of_members_are_read() {
    let mut roster: Roster = members()
        .into_iter()
        .map(|member| (member.user, Standing::Member(member)))
        .collect();
    roster.insert(user(8), Standing::Gone { was: false });
    roster.insert(user(9), Standing::Gone { was: true });
    let write = |roster: &Roster| bytes(&ChangeDoc::of(70_000, roster));
    let read = |bytes: &[u8]| {
        let change: ChangeDoc = from_bytes(bytes)?;
        assert_eq!(change.v, 70_000);
        let standings = change.standings().map_err(|error| error.to_string())?;
        Ok(standings.into_iter().collect())
    };
    let samples = [("all".to_owned(), roster)];
    recorded::hold(fixtures("mongo-changes"), &samples, write, read);
}
