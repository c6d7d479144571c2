//! Reading documents.

use std::future::IntoFuture;

use futures_util::TryStreamExt as _;
use mongodb::bson::Document;
use mongodb::options::{FindOneOptions, FindOptions, ReadConcern};
use rookery_actors::ports::PortResult;
use serde::de::DeserializeOwned;

use super::Mongo;
use super::meters::Kind;

/// A question, in the words of `find`.
#[derive(Default)]
pub struct Query {
    pub filter: Document,
    /// Only these fields; empty takes all.
    pub fields: Document,
    pub sort: Document,
    pub limit: Option<usize>,
}

impl Query {
    pub fn of(filter: Document) -> Self {
        Self {
            filter,
            ..Self::default()
        }
    }

    pub fn fields(mut self, fields: Document) -> Self {
        self.fields = fields;
        self
    }

    pub fn sort(mut self, sort: Document) -> Self {
        self.sort = sort;
        self
    }

    /// At most so many, which must not be none: to the server 0 means all.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    fn options(&self) -> FindOptions {
        let given = |document: &Document| Some(document.clone()).filter(|document| !document.is_empty());
        // Beyond this no limit is one.
        let limit = self.limit.and_then(|limit| i32::try_from(limit).ok()).map(i64::from);
        FindOptions::builder()
            .projection(given(&self.fields))
            .sort(given(&self.sort))
            .limit(limit)
            .build()
    }
}

impl Mongo {
    /// Everything that answers a query.
    pub(super) async fn find<T>(&self, collection: &str, query: Query) -> PortResult<Vec<T>>
    where
        T: DeserializeOwned + Send + Sync + Unpin,
    {
        let collection = self.collection::<T>(collection);
        let options = query.options();
        let documents = async {
            collection
                .find(query.filter)
                .with_options(options)
                .await?
                .try_collect()
                .await
        };
        self.command(Kind::Find, documents).await
    }

    /// The document with this id, or with whatever the filter says of one.
    pub(super) async fn find_one<T>(
        &self,
        collection: &str,
        filter: Document,
        fields: Document,
    ) -> PortResult<Option<T>>
    where
        T: DeserializeOwned + Send + Sync,
    {
        let projection = Some(fields).filter(|fields| !fields.is_empty());
        let options = FindOneOptions::builder().projection(projection).build();
        let collection = self.collection::<T>(collection);
        let found = collection.find_one(filter).with_options(options);
        self.command(Kind::Find, found.into_future()).await
    }

    /// One document as the majority has it at this moment: also from a server that has lost its office without knowing, no
    /// answer comes that is older than a write confirmed before the question.
    pub(super) async fn find_newest<T>(&self, collection: &str, filter: Document) -> PortResult<Option<T>>
    where
        T: DeserializeOwned + Send + Sync,
    {
        let concern = self.0.replicated.then(ReadConcern::linearizable);
        let options = FindOneOptions::builder()
            .read_concern(concern)
            .max_time(self.0.deadline)
            .build();
        let collection = self.collection::<T>(collection);
        let found = collection.find_one(filter).with_options(options);
        self.command(Kind::Find, found.into_future()).await
    }

    /// How many documents match, counted up to `most`, which must not be 0.
    pub(super) async fn count(&self, collection: &str, filter: Document, most: u32) -> PortResult<u32> {
        let collection = self.collection::<Document>(collection);
        let counted = collection.count_documents(filter).limit(u64::from(most));
        let counted = self.command(Kind::Count, counted.into_future()).await?;
        Ok(u32::try_from(counted).unwrap_or(most))
    }
}
