//! Connecting, and making the indexes. Nothing is served before both are done.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::event::EventHandler;
use mongodb::options::{
    Acknowledgment, ClientOptions, IndexOptions, ReadConcern, ReadPreference, SelectionCriteria, Tls, TlsOptions,
    WriteConcern,
};
use mongodb::{Client, IndexModel};
use rookery_actors::ports::{PortError, PortResult};

use super::meters::{self, Meters};
use super::{Inner, Mongo, Settings, accounts, chats, failure, files};
use crate::adapters::authorities;

/// An index takes so long on a collection that has everything already; making one anew on a large collection takes longer,
/// and the node waits for it.
const INDEX_PATIENCE: Duration = Duration::from_secs(10 * 60);
/// The servers' answer about themselves that says they are a cluster of shards.
const ROUTER: &str = "isdbgrid";

/// An index to be made.
pub struct Index {
    pub collection: &'static str,
    pub keys: Document,
    pub unique: bool,
    /// Only documents that have the field.
    pub sparse: bool,
}

impl Index {
    /// Over documents that have the field.
    pub fn sparse(collection: &'static str, field: &str) -> Self {
        Self {
            collection,
            keys: doc! { field: 1 },
            unique: false,
            sparse: true,
        }
    }

    /// Over documents that have the field, of which no two have the same.
    pub fn unique(collection: &'static str, field: &str) -> Self {
        Self {
            unique: true,
            ..Self::sparse(collection, field)
        }
    }
}

pub async fn open(settings: &Settings) -> PortResult<Mongo> {
    let url = settings.read_url().map_err(PortError::Broken)?;
    let options = options(settings, &url).await?;
    let hosts: Vec<_> = options.hosts.iter().map(ToString::to_string).collect();
    let place = hosts.join(",");
    let has_tls = matches!(options.tls, Some(Tls::Enabled(_)));
    let wrong = |error: &Error| failure::at_start(error, &place, has_tls);
    let client = Client::with_options(options).map_err(|error| wrong(&error))?;
    let database = client.database(&settings.database);
    let about = database.run_command(doc! { "isMaster": 1 });
    let Ok(about) = tokio::time::timeout(settings.command_timeout(), about.into_future()).await else {
        let said = format!("the MongoDB server at {place} does not answer within mongodb.command_timeout_ms");
        return Err(PortError::Unavailable(said));
    };
    let about = about.map_err(|error| wrong(&error))?;
    let mongo = Mongo(Arc::new(Inner {
        database,
        deadline: settings.command_timeout(),
        replicated: about.contains_key("setName") || about.get_str("msg").is_ok_and(|kind| kind == ROUTER),
        meters: Meters::new(),
    }));
    for index in chats::indexes()
        .into_iter()
        .chain(accounts::indexes())
        .chain(files::indexes())
    {
        make(&mongo, index).await.map_err(|error| wrong(&error))?;
    }
    Ok(mongo)
}

async fn options(settings: &Settings, url: &str) -> PortResult<ClientOptions> {
    let parsed = ClientOptions::parse(url).await;
    let mut options = parsed.map_err(|error| PortError::Broken(unusable(url, &error)))?;
    // What the stores promise does not hold with any other choice.
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    options.read_concern = Some(ReadConcern::local());
    options.write_concern = Some(
        WriteConcern::builder()
            .w(Acknowledgment::Majority)
            .journal(true)
            .build(),
    );
    options.app_name.get_or_insert_with(|| "rookery".into());
    options.max_pool_size = Some(settings.pool_size);
    options.max_connecting = Some(settings.pool_size.clamp(2, 8));
    options.server_selection_timeout = Some(settings.selection_timeout());
    options.connect_timeout = Some(settings.connect_timeout());
    options.cmap_event_handler = Some(EventHandler::callback(meters::connections()));
    if let Some(file) = settings.tls_ca_file() {
        authorities::read("mongodb.tls_ca_file", file).map_err(PortError::Broken)?;
        let given = match options.tls.take() {
            Some(Tls::Enabled(given)) => given,
            _ => TlsOptions::default(),
        };
        let mut with_ca = given;
        with_ca.ca_file_path = Some(file.to_owned());
        options.tls = Some(Tls::Enabled(with_ca));
    }
    Ok(options)
}

/// What is wrong with a URL, without what it says of who signs in.
fn unusable(url: &str, error: &Error) -> String {
    let said = match error.kind.as_ref() {
        ErrorKind::InvalidArgument { message, .. } => message.clone(),
        other => other.to_string(),
    };
    let secret = url
        .split_once("://")
        .and_then(|(_, rest)| rest.rsplit_once('@'))
        .map(|(secret, _)| secret);
    let shows = |secret: &str| secret.split(':').any(|part| !part.is_empty() && said.contains(part));
    if secret.is_some_and(shows) {
        return "mongodb.url cannot be used; it must read like mongodb://user:password@host:27017".into();
    }
    format!("mongodb.url cannot be used: {said}")
}

async fn make(mongo: &Mongo, index: Index) -> Result<(), Error> {
    let options = IndexOptions::builder()
        .unique(Some(true).filter(|_| index.unique))
        .sparse(Some(true).filter(|_| index.sparse))
        .build();
    let model = IndexModel::builder().keys(index.keys).options(options).build();
    let collection = mongo.collection::<Document>(index.collection);
    let made = tokio::time::timeout(INDEX_PATIENCE, collection.create_index(model).into_future());
    match made.await {
        Ok(made) => made.map(drop),
        Err(_) => Err(Error::custom(format!(
            "an index of {} was not made in time",
            index.collection
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Settings, options};

    async fn refused(url: &str) -> String {
        let settings = Settings::default();
        options(&settings, url).await.expect_err(url).to_string()
    }

    #[tokio::test]
    async fn a_url_that_cannot_be_used_is_refused_without_its_password() {
        for url in [
            "nonsense",
            "http://host",
            "mongodb://ada:hush/hush@host",
            "mongodb://ada:hush@host:port",
            "mongodb://ada:hu%zzsh@host",
        ] {
            let said = refused(url).await;
            assert!(said.starts_with("mongodb.url cannot be used"), "{said}");
            assert!(!said.contains("hush") && !said.contains("zzsh"), "{said}");
        }
    }

    #[tokio::test]
    async fn what_the_url_says_of_concerns_is_overruled() {
        let url = "mongodb://host/?w=1&readPreference=secondary&readConcernLevel=majority&maxPoolSize=3";
        let options = options(&Settings::default(), url).await.expect("it can be used");
        let concern = options.write_concern.expect("one is set");
        assert_eq!(
            (concern.w, concern.journal),
            (Some(super::Acknowledgment::Majority), Some(true))
        );
        assert_eq!(options.max_pool_size, Some(32));
        assert_eq!(
            options.selection_criteria,
            Some(super::SelectionCriteria::ReadPreference(super::ReadPreference::Primary))
        );
    }

    #[tokio::test]
    async fn a_certificate_file_that_is_missing_is_named() {
        let settings = Settings {
            tls_ca_file: "/nowhere/ca.pem".into(),
            ..Settings::default()
        };
        let said = options(&settings, "mongodb://host")
            .await
            .expect_err("it is missing")
            .to_string();
        assert!(said.contains("/nowhere/ca.pem"), "{said}");
    }
}
