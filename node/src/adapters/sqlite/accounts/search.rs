//! Finding people by the beginning of their names.
//!
//! A search is one walk along `user_keys`, which holds each key (username, name, name from its second, third, ... word on)
//! folded to lower case, so a page costs what it shows however many people there are.

use rookery_actors::id::UserId;
use rookery_actors::ports::accounts::{Hit, SearchCursor};
use rusqlite::{Connection, params};

use super::{COLUMNS, account};

/// Words of a name that a search may begin at; a bound on what one account costs the index.
const NAME_WORDS: usize = 4;
/// Sorts behind every text that continues a prefix.
const LAST_CHARACTER: char = char::MAX;

/// Replaces the keys that a search finds the account by.
pub fn index(connection: &Connection, user: UserId, username: &str, name: &str) -> rusqlite::Result<()> {
    unindex(connection, user)?;
    let sql = "INSERT OR IGNORE INTO user_keys (key, user) VALUES (?1, ?2)";
    let mut statement = connection.prepare_cached(sql)?;
    for key in keys(username, name) {
        statement.execute(params![key, user.as_bytes()])?;
    }
    Ok(())
}

pub fn unindex(connection: &Connection, user: UserId) -> rusqlite::Result<()> {
    let sql = "DELETE FROM user_keys WHERE user = ?1";
    connection.prepare_cached(sql)?.execute([user.as_bytes()]).map(drop)
}

fn keys(username: &str, name: &str) -> Vec<String> {
    let name = name.to_lowercase();
    let mut keys = vec![username.to_lowercase()];
    let mut rest = name.trim_start();
    for _ in 0..NAME_WORDS {
        if rest.is_empty() {
            break;
        }
        keys.push(rest.to_owned());
        rest = rest
            .find(char::is_whitespace)
            .map_or("", |end| rest[end..].trim_start());
    }
    keys
}

/// A user with several keys that match is shown at the first of them only.
pub fn find(
    connection: &Connection,
    prefix: &str,
    after: Option<SearchCursor>,
    limit: usize,
) -> rusqlite::Result<Vec<Hit>> {
    let sql = format!(
        "SELECT {COLUMNS}, k.key FROM user_keys k JOIN users u ON u.id = k.user
         WHERE k.key >= ?1 AND k.key < ?2 AND (k.key, k.user) > (?3, ?4) AND u.deleted_at IS NULL
           AND NOT EXISTS (SELECT 1 FROM user_keys o WHERE o.user = k.user AND o.key >= ?1 AND o.key < k.key)
         ORDER BY k.key, k.user LIMIT ?5"
    );
    let end = format!("{prefix}{LAST_CHARACTER}");
    let (from_key, from_user) = match &after {
        Some(cursor) => (cursor.key.as_str(), cursor.user.as_bytes().as_slice()),
        None => ("", [].as_slice()),
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection
        .prepare_cached(&sql)?
        .query_map(params![prefix, end, from_key, from_user, limit], |row| {
            let account = account(row)?;
            let (key, user) = (row.get(10)?, account.id);
            let cursor = SearchCursor { key, user };
            Ok(Hit { cursor, account })
        })?
        .collect()
}

#[cfg(test)]
mod tests {
    use super::keys;

    #[test]
    fn a_name_is_found_from_each_of_its_first_words_on() {
        assert_eq!(
            keys("Ada", "Ada King  Lovelace"),
            ["ada", "ada king  lovelace", "king  lovelace", "lovelace"]
        );
        assert_eq!(keys("x", " a b c d e f ").len(), 5);
    }
}
