//! Finding people by the beginning of their names.
//!
//! Each account holds its keys (username, name, name from its second, third, ... word on), folded to lower case and followed
//! by its id, in fields with an index each: they change with the account in one write, and a page is the merge of as many
//! walks along indexes, so that it costs what it shows however many people there are. One field with a list would not do:
//! its index cannot be walked in the order of the key that matched.

use std::collections::BTreeMap;

use mongodb::bson::{Document, doc};
use rookery_actors::id::UserId;
use rookery_actors::ports::PortResult;
use rookery_actors::ports::accounts::{Hit, SearchCursor};

use super::super::Mongo;
use super::super::query::Query;
use super::{ACCOUNTS, AccountDoc};

/// Words of a name that a search may begin at; a bound on what one account costs the indexes.
const NAME_WORDS: usize = 4;
/// Fields of keys: the username's and the name's.
pub const FIELDS: usize = 1 + NAME_WORDS;
/// Stands between a key and the id, before every character of a name.
const END: char = '\0';
/// Sorts behind every text that continues a prefix.
const LAST_CHARACTER: char = char::MAX;

/// The path of a field.
pub fn field(nth: usize) -> String {
    format!("find.{}", name_of(nth))
}

/// The name of a field; a number alone would be taken for a place in a list.
fn name_of(nth: usize) -> String {
    format!("k{nth}")
}

/// What an account is found by, as the document under `find`.
pub fn document(user: UserId, username: &str, name: &str) -> Document {
    let keys = keys(username, name).into_iter().enumerate();
    keys.map(|(nth, key)| (name_of(nth), entry(&key, user).into()))
        .collect()
}

fn entry(key: &str, user: UserId) -> String {
    format!("{key}{END}{user}")
}

fn keys(username: &str, name: &str) -> Vec<String> {
    let name = name.to_lowercase();
    let mut keys = vec![username.to_lowercase()];
    let mut rest = name.trim_start();
    while keys.len() < FIELDS && !rest.is_empty() {
        keys.push(rest.to_owned());
        rest = rest
            .find(char::is_whitespace)
            .map_or("", |end| rest[end..].trim_start());
    }
    keys
}

/// The accounts that a prefix finds, in order of key and user, each at the first of its keys that match.
pub async fn find(mongo: &Mongo, prefix: &str, after: Option<SearchCursor>, limit: usize) -> PortResult<Vec<Hit>> {
    let prefix = prefix.to_lowercase();
    let mut after = after.map(|cursor| entry(&cursor.key, cursor.user));
    let mut hits = Vec::new();
    while hits.len() < limit {
        let (found, end) = page(mongo, &prefix, after.as_deref(), limit).await?;
        let lacking = limit - hits.len();
        hits.extend(
            found
                .into_iter()
                .filter_map(|(entry, account)| hit(&prefix, &entry, account))
                .take(lacking),
        );
        match end {
            Some(end) => after = Some(end),
            None => break,
        }
    }
    Ok(hits)
}

/// What all walks find next up to where the shortest of them ends, in order, and that end; none when all came to theirs.
async fn page(
    mongo: &Mongo,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> PortResult<(BTreeMap<String, AccountDoc>, Option<String>)> {
    let walks = (0..FIELDS).map(|nth| walk(mongo, nth, prefix, after, limit));
    let walks = futures_util::future::try_join_all(walks).await?;
    let full = walks.iter().filter(|walk| walk.len() >= limit);
    let end = full
        .filter_map(|walk| walk.last().map(|(entry, _)| entry.clone()))
        .min();
    let within = |entry: &String| end.as_ref().is_none_or(|end| entry <= end);
    let found = walks.into_iter().flatten().filter(|(entry, _)| within(entry)).collect();
    Ok((found, end))
}

async fn walk(
    mongo: &Mongo,
    nth: usize,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> PortResult<Vec<(String, AccountDoc)>> {
    let field = field(nth);
    let mut range = doc! { "$gte": prefix, "$lt": format!("{prefix}{LAST_CHARACTER}") };
    if let Some(after) = after {
        range.insert("$gt", after);
    }
    let query = Query::of(doc! { &field: range }).sort(doc! { &field: 1 }).limit(limit);
    let found: Vec<AccountDoc> = mongo.find(ACCOUNTS, query).await?;
    let entry = |account: AccountDoc| Some((account.find.get(&name_of(nth))?.clone(), account));
    Ok(found.into_iter().filter_map(entry).collect())
}

/// The account at this entry, unless it has an earlier one that matches too.
fn hit(prefix: &str, entry: &str, account: AccountDoc) -> Option<Hit> {
    let first = account.find.values().filter(|entry| entry.starts_with(prefix)).min()?;
    let (key, _) = entry.rsplit_once(END).filter(|_| first == entry)?;
    let key = key.to_owned();
    let account = account.living()?;
    let cursor = SearchCursor { key, user: account.id };
    Some(Hit { cursor, account })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_from_each_of_its_first_words_on() {
        assert_eq!(
            keys("Ada", "Ada King  Lovelace"),
            ["ada", "ada king  lovelace", "king  lovelace", "lovelace"]
        );
        assert_eq!(keys("x", " a b c d e f ").len(), FIELDS);
    }

    #[test]
    fn entries_stand_in_order_of_key_then_user() {
        let mut users = [UserId::fresh(), UserId::fresh()];
        users.sort_unstable();
        let [one, other] = users;
        let entries = [
            entry("ann", one),
            entry("ann", other),
            entry("ann b", one),
            entry("anna", one),
        ];
        assert!(entries.is_sorted());
        assert_eq!(document(one, "Ann", "").get("k0"), Some(&entries[0].clone().into()));
    }
}
