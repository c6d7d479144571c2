//! Projections: what the log says of a conversation, made rows.

use std::collections::BTreeMap;

use rookery_actors::ports::chats::{Entry, Profile, Projection, Step, StoredChange, StoredMessage, StoredUpdate};
use rookery_actors::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Result};

use super::clients::Chunk;
use super::keys::{Id, No};
use super::{code, history, people};

/// Applies projections in order, within the caller's transaction.
pub fn all(sql: &Connection, batch: &[Projection]) -> Result<()> {
    for projection in batch {
        if let Some(mut target) = Target::open(sql, projection)? {
            for step in &projection.steps {
                target.apply(step)?;
            }
            target.close(projection)?;
        }
    }
    Ok(())
}

/// A conversation that takes a projection.
struct Target<'a> {
    sql: &'a Connection,
    no: No,
    head: u64,
    deleted: bool,
    profile: Option<Vec<u8>>,
    clients: Chunk,
    /// Messages into which updates were folded, by seq; written at the end, once however many there were.
    folded: BTreeMap<u64, StoredMessage>,
}

impl<'a> Target<'a> {
    /// `None` when the projection is no news.
    fn open(sql: &'a Connection, projection: &Projection) -> Result<Option<Self>> {
        let mut select =
            sql.prepare_cached("SELECT no, head, applied, deleted, clients FROM conversations WHERE id = ?1")?;
        let stored = select.query_row([Id(projection.conversation.0)], |row| {
            let columns: (i64, i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok((columns, row.get::<_, Vec<u8>>(4)?))
        });
        let (no, head, deleted, clients) = match stored.optional()? {
            Some(((_, _, applied, _), _)) if applied as u64 >= projection.applied => return Ok(None),
            Some(((no, head, _, deleted), clients)) => (No(no), head as u64, deleted != 0, clients),
            None => (create(sql, projection)?, 0, false, Vec::new()),
        };
        Ok(Some(Self {
            sql,
            no,
            head,
            deleted,
            profile: None,
            clients: Chunk::latest(no, head, clients),
            folded: BTreeMap::new(),
        }))
    }

    fn apply(&mut self, step: &Step) -> Result<()> {
        match step {
            // A tombstone takes nothing any more.
            _ if self.deleted => Ok(()),
            Step::Profile(profile) => {
                self.profile = Some(code::profile(profile));
                Ok(())
            }
            Step::Entry(entry) => self.entry(entry),
            Step::Joined(members) => members.iter().try_for_each(|one| people::join(self.sql, self.no, one)),
            Step::Left(users) => users
                .iter()
                .try_for_each(|user| people::leave(self.sql, self.no, *user)),
            Step::Deleted => {
                self.bury();
                Ok(())
            }
        }
    }

    fn entry(&mut self, entry: &Entry) -> Result<()> {
        if !history::insert(self.sql, self.no, entry)? {
            return Ok(());
        }
        match entry {
            Entry::Message(message) => self.clients.insert(self.sql, message.seq, message.from, &message.id),
            Entry::Update(update) => self.fold(update),
        }
    }

    fn fold(&mut self, update: &StoredUpdate) -> Result<()> {
        let message = match self.folded.remove(&update.of) {
            Some(message) => Some(message),
            None => history::message_of(self.sql, self.no, update.of)?,
        };
        let Some(mut message) = message else { return Ok(()) };
        message.fold(update);
        // An edit that comes after the deletion brings its text just as one that came before.
        if message.deleted && matches!(update.change, StoredChange::Edit { .. } | StoredChange::Delete) {
            history::scrub_edits(self.sql, self.no, update.of)?;
        }
        self.folded.insert(message.seq, message);
        Ok(())
    }

    fn bury(&mut self) {
        self.deleted = true;
        self.folded.clear();
        self.profile = Some(code::profile(&Profile::Group {
            name: String::new(),
            photo: None,
            description: None,
            created_at: Timestamp::default(),
            updated_at: Timestamp::default(),
            last_change: None,
        }));
    }

    fn close(mut self, projection: &Projection) -> Result<()> {
        for message in self.folded.values() {
            history::rewrite(self.sql, self.no, message)?;
        }
        let head = projection.head.max(self.head);
        let clients = match self.deleted {
            false => self.clients.finish(self.sql, head)?,
            true => &[],
        };
        let mut update = self.sql.prepare_cached(
            "UPDATE conversations SET head = ?2, applied = ?3, active_at = ?4, deleted = max(deleted, ?5),
                 profile = coalesce(?6, profile), clients = ?7 WHERE no = ?1",
        )?;
        let (applied, active_at) = (projection.applied as i64, projection.active_at.0);
        let row = (
            self.no.0,
            head as i64,
            applied,
            active_at,
            self.deleted,
            &self.profile,
            clients,
        );
        update.execute(row)?;
        Ok(())
    }
}

fn create(sql: &Connection, projection: &Projection) -> Result<No> {
    let mut insert = sql.prepare_cached(
        "INSERT INTO conversations(id, head, applied, active_at, deleted, clients) VALUES (?1, 0, 0, ?2, 0, x'')",
    )?;
    insert.execute((Id(projection.conversation.0), projection.active_at.0))?;
    Ok(No(sql.last_insert_rowid()))
}
