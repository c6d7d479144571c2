//! Writing many documents in one round trip.
//!
//! `update` is sent as the command itself, because the driver's own bulk write wants MongoDB 8.0. Neither command is ordered:
//! one document that is refused holds up no other.

use std::future::IntoFuture;

use mongodb::bson::{Document, RawArrayBuf, RawDocumentBuf, doc, rawdoc};
use mongodb::error::{Error, ErrorKind, WriteFailure};
use mongodb::options::ReturnDocument;
use rookery_actors::ports::{PortError, PortResult};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::failure::{DUPLICATE_KEY, code, port_error};
use super::meters::Kind;
use super::{Mongo, failure};

/// Most updates in one command: a few milliseconds of the server's time.
const UPDATES: usize = 1_000;
/// A command is sent when its updates have so many bytes: the server takes 48 MB, and one update may have 16.
const BYTES: usize = 16 << 20;

/// One update of a bulk.
pub struct Update {
    filter: Document,
    /// Operators, or a whole document in place of the old one.
    change: Document,
    upsert: bool,
    multi: bool,
}

impl Update {
    /// Changes the document, if it is there and as the filter says.
    pub fn one(filter: Document, change: Document) -> Self {
        Self {
            filter,
            change,
            upsert: false,
            multi: false,
        }
    }

    /// Changes the document, or makes it. Where it is there and not as the filter says, it is refused as taken.
    pub fn upsert(filter: Document, change: Document) -> Self {
        Self {
            upsert: true,
            ..Self::one(filter, change)
        }
    }

    /// Changes every document that is as the filter says.
    pub fn many(filter: Document, change: Document) -> Self {
        Self {
            multi: true,
            ..Self::one(filter, change)
        }
    }

    fn encode(&self) -> Result<RawDocumentBuf, mongodb::bson::error::Error> {
        RawDocumentBuf::try_from(&doc! {
            "q": &self.filter,
            "u": &self.change,
            "upsert": self.upsert,
            "multi": self.multi,
        })
    }
}

/// What became of a bulk of updates.
#[derive(Default, Debug)]
pub struct Updated {
    /// Documents that matched or were made.
    pub matched: u64,
    /// Indexes of the updates that a unique index refused.
    pub taken: Vec<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply {
    #[serde(default)]
    n: i64,
    #[serde(default)]
    write_errors: Vec<Refusal>,
    write_concern_error: Option<Unconfirmed>,
}

#[derive(Deserialize)]
struct Refusal {
    index: i32,
    code: i32,
}

#[derive(Deserialize)]
struct Unconfirmed {
    code: i32,
}

impl Mongo {
    /// Carries updates out, in no order. The refusals of unique indexes are told, everything else is an error.
    pub(super) async fn update(&self, collection: &str, updates: &[Update]) -> PortResult<Updated> {
        let mut all = Updated::default();
        let (mut first, mut count, mut bytes, mut array) = (0, 0, 0, RawArrayBuf::new());
        for update in updates {
            let update = update.encode().map_err(|error| unencodable(&error))?;
            if count == UPDATES || (count > 0 && bytes + update.as_bytes().len() > BYTES) {
                self.update_some(collection, std::mem::take(&mut array), first, &mut all)
                    .await?;
                (first, count, bytes) = (first + count, 0, 0);
            }
            count += 1;
            bytes += update.as_bytes().len();
            array.push(update);
        }
        if count > 0 {
            self.update_some(collection, array, first, &mut all).await?;
        }
        Ok(all)
    }

    async fn update_some(
        &self,
        collection: &str,
        updates: RawArrayBuf,
        first: usize,
        all: &mut Updated,
    ) -> PortResult<()> {
        let command = rawdoc! {
            "update": collection,
            "updates": updates,
            "ordered": false,
            "writeConcern": { "w": "majority", "j": true },
        };
        let sent = self.0.database.run_raw_command(command);
        let reply = self.command(Kind::Update, sent.into_future()).await?;
        let reply: Reply = mongodb::bson::deserialize_from_document(reply)
            .map_err(|error| PortError::Broken(format!("MongoDB: an answer to `update` cannot be read: {error}")))?;
        if let Some(failed) = reply.write_concern_error {
            let said = format!("MongoDB: a write was not confirmed by the majority ({})", failed.code);
            return Err(PortError::Unknown(said));
        }
        for refusal in reply.write_errors {
            if refusal.code != DUPLICATE_KEY {
                let said = format!("MongoDB: an update of {collection} failed with code {}", refusal.code);
                return Err(PortError::Broken(said));
            }
            all.taken.push(first + refusal.index as usize);
        }
        all.matched += reply.n as u64;
        Ok(())
    }

    /// Changes one document; whether it was there and as the filter says.
    pub(super) async fn update_one(&self, collection: &str, filter: Document, change: Document) -> PortResult<bool> {
        let updated = self.update(collection, &[Update::one(filter, change)]).await?;
        Ok(updated.matched > 0)
    }

    /// Inserts documents, in no order; answers the indexes of those that a unique index refused, in order.
    pub(super) async fn insert<T>(&self, collection: &str, documents: &[T]) -> PortResult<Vec<usize>>
    where
        T: Serialize + Send + Sync,
    {
        if documents.is_empty() {
            return Ok(Vec::new());
        }
        let collection = self.collection::<T>(collection);
        let sent = collection.insert_many(documents).ordered(false);
        match self.attempt(Kind::Insert, sent.into_future()).await? {
            Ok(_) => Ok(Vec::new()),
            Err(error) => taken(&error),
        }
    }

    /// Inserts one document; false when a unique index refused it.
    pub(super) async fn insert_one<T>(&self, collection: &str, document: &T) -> PortResult<bool>
    where
        T: Serialize + Send + Sync,
    {
        let collection = self.collection::<T>(collection);
        match self
            .attempt(Kind::Insert, collection.insert_one(document).into_future())
            .await?
        {
            Ok(_) => Ok(true),
            Err(error) if code(&error) == Some(DUPLICATE_KEY) => Ok(false),
            Err(error) => Err(port_error(&error, true)),
        }
    }

    /// Changes one document and answers it as it was before or is after; `Err` when a unique index refused.
    pub(super) async fn find_and_update<T>(
        &self,
        collection: &str,
        filter: Document,
        change: Document,
        answered: ReturnDocument,
    ) -> PortResult<Result<Option<T>, Taken>>
    where
        T: DeserializeOwned + Send + Sync,
    {
        let collection = self.collection::<T>(collection);
        let sent = collection.find_one_and_update(filter, change).return_document(answered);
        match self.attempt(Kind::FindAndModify, sent.into_future()).await? {
            Ok(document) => Ok(Ok(document)),
            Err(error) if code(&error) == Some(DUPLICATE_KEY) => Ok(Err(Taken)),
            Err(error) => Err(failure::port_error(&error, true)),
        }
    }
}

/// A unique index refused a change.
#[derive(Debug)]
pub struct Taken;

/// The indexes of the documents that were there, if nothing else went wrong.
fn taken(error: &Error) -> PortResult<Vec<usize>> {
    let only_taken = |errors: &Vec<mongodb::error::IndexedWriteError>| errors.iter().all(|it| it.code == DUPLICATE_KEY);
    match error.kind.as_ref() {
        ErrorKind::InsertMany(failed) if failed.write_concern_error.is_none() => match &failed.write_errors {
            Some(errors) if only_taken(errors) => {
                let mut taken: Vec<_> = errors.iter().map(|it| it.index).collect();
                taken.sort_unstable();
                Ok(taken)
            }
            _ => Err(port_error(error, true)),
        },
        ErrorKind::InsertMany(_) | ErrorKind::Write(WriteFailure::WriteConcernError(_)) => Err(PortError::Unknown(
            "MongoDB: an insert was not confirmed by the majority".into(),
        )),
        _ => Err(port_error(error, true)),
    }
}

fn unencodable(error: &mongodb::bson::error::Error) -> PortError {
    PortError::Broken(format!("MongoDB: a document cannot be written: {error}"))
}
