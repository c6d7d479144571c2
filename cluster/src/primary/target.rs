//! Where a Redis may be found, and how its primary is found there.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError,
    RedisResult, TlsCertificates, Value, cmd,
};

use super::fault;
use super::sentinels::{self, Watched};

/// A connection on which nothing is heard is probed after this, so that one that only listens ends when its server is gone.
const QUIET: Duration = Duration::from_secs(5);

/// How an address of Sentinels begins, and how one of each of them then would.
const SENTINELS: [(&str, &str); 4] = [
    ("sentinel://", "redis://"),
    ("redis+sentinel://", "redis://"),
    ("sentinels://", "rediss://"),
    ("rediss+sentinel://", "rediss://"),
];

/// Where Redis may be found. Cheap to clone. Written as
/// * `redis://[user:password@]host:port[/db]`, or `rediss://` for TLS,
/// * several of these with commas between: whichever says that it is the primary,
/// * `sentinel://[user:password@]host:port,host:port/name[/db]`, or `sentinels://` for TLS to them and to the primary:
///   Sentinels, and the name that they know the primary by. User and password are the primary's; Sentinels that have their
///   own are told those of `?sentinel_username=user&sentinel_password=password`. Many clients write these two
///   `redis+sentinel://` and `rediss+sentinel://`, which is read as well.
#[derive(Clone)]
pub struct Target {
    servers: Arc<[ConnectionInfo]>,
    /// That the servers are Sentinels, and of whom.
    watched: Option<Arc<Watched>>,
    /// Whom to ask first: who had an answer the last time.
    first: Arc<AtomicUsize>,
    /// Certificates in PEM form to trust instead of the public authorities'.
    authorities: Option<Arc<[u8]>>,
}

/// A text that names no Redis. Says what is wrong without repeating the text, which may hold a password.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotAnAddress(pub(super) String);

impl Target {
    /// Reads an address as written above.
    pub fn parse(text: &str) -> Result<Self, NotAnAddress> {
        for (scheme, plain) in SENTINELS {
            if let Some(rest) = text.strip_prefix(scheme) {
                let (servers, watched) = sentinels::parse(plain, rest)?;
                return Ok(Self::of(servers, Some(Arc::new(watched))));
            }
        }
        let servers: Vec<_> = text
            .split(',')
            .map(|url| server(url.trim()))
            .collect::<Result<_, _>>()?;
        Ok(Self::of(servers, None))
    }

    /// Trusts these authorities, in PEM form, in place of the public ones.
    #[must_use]
    pub fn trusting(mut self, authorities: Vec<u8>) -> Self {
        self.authorities = Some(authorities.into());
        self
    }

    /// Whether nothing is said to any of them in the clear.
    pub fn has_tls(&self) -> bool {
        self.servers.iter().all(|server| has_tls(server.addr()))
    }

    fn of(servers: Vec<ConnectionInfo>, watched: Option<Arc<Watched>>) -> Self {
        Self {
            servers: servers.into(),
            watched,
            first: Arc::default(),
            authorities: None,
        }
    }

    /// How many there are to try.
    pub(super) fn addresses(&self) -> u32 {
        self.servers.len().max(1) as u32
    }

    /// A client of the primary.
    pub(super) async fn find(&self, config: &AsyncConnectionConfig) -> RedisResult<Client> {
        let first = self.first.load(Ordering::Relaxed);
        let mut failed = RedisError::from((ErrorKind::InvalidClientConfig, "no address of a Redis is given"));
        for nth in 0..self.servers.len() {
            let index = (first + nth) % self.servers.len();
            match self.find_at(&self.servers[index], config).await {
                Ok(client) => {
                    self.first.store(index, Ordering::Relaxed);
                    return Ok(client);
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    async fn find_at(&self, server: &ConnectionInfo, config: &AsyncConnectionConfig) -> RedisResult<Client> {
        let Some(watched) = &self.watched else {
            let client = self.client(server.clone())?;
            if self.servers.len() > 1 {
                is_primary(&client, config).await?;
            }
            return Ok(client);
        };
        let address = self.ask_as_it_wants(server, watched, config).await?;
        let client = self.client(watched.primary_at(address))?;
        // Right after a failover a Sentinel may still name the former one.
        is_primary(&client, config).await?;
        Ok(client)
    }

    /// Asks a Sentinel where the primary is, with the credentials that it wants.
    async fn ask_as_it_wants(
        &self,
        sentinel: &ConnectionInfo,
        watched: &Watched,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<(String, u16)> {
        let mut answer = self.ask(sentinel.clone(), &watched.name, config).await;
        // One that nothing is said of has no password more often than not, and then refuses to be told one.
        if answer.as_ref().is_err_and(fault::is_of_credentials)
            && let Some(settings) = watched.shared_credentials()
        {
            let sentinel = sentinel.clone().set_redis_settings(settings);
            answer = self.ask(sentinel, &watched.name, config).await;
        }
        answer.map_err(|error| match fault::is_of_credentials(&error) {
            true => sentinels::wants_others(sentinel),
            false => error,
        })
    }

    async fn ask(
        &self,
        sentinel: ConnectionInfo,
        name: &str,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<(String, u16)> {
        let client = self.client(sentinel)?;
        let mut connection = client.get_multiplexed_async_connection_with_config(config).await?;
        let mut question = cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
        let answer: Option<(String, u16)> = question.query_async(&mut connection).await?;
        let unknown = "a sentinel does not know the primary";
        answer.ok_or_else(|| RedisError::from((ErrorKind::MasterNameNotFoundBySentinel, unknown, name.to_owned())))
    }

    fn client(&self, server: ConnectionInfo) -> RedisResult<Client> {
        match &self.authorities {
            Some(authorities) if has_tls(server.addr()) => Client::build_with_tls(
                server,
                TlsCertificates {
                    client_tls: None,
                    root_cert: Some(authorities.to_vec()),
                },
            ),
            _ => Client::open(server),
        }
    }
}

/// The addresses, and no password.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<_> = self.servers.iter().map(|server| server.addr().to_string()).collect();
        let addresses = addresses.join(", ");
        match &self.watched {
            Some(watched) => write!(f, "{} behind the sentinels {addresses}", watched.name),
            None => f.write_str(&addresses),
        }
    }
}

fn has_tls(address: &ConnectionAddr) -> bool {
    matches!(address, ConnectionAddr::TcpTls { .. })
}

pub(super) fn server(url: &str) -> Result<ConnectionInfo, NotAnAddress> {
    let scheme = ["redis://", "rediss://"].iter().any(|scheme| url.starts_with(scheme));
    if !scheme {
        return Err(NotAnAddress(
            "must begin with redis://, rediss://, sentinel:// or sentinels://".into(),
        ));
    }
    if ["?sentinel_", "&sentinel_"].iter().any(|key| url.contains(key)) {
        return Err(NotAnAddress(
            "has a user or a password of Sentinels, but must then begin with sentinel:// or sentinels://".into(),
        ));
    }
    let info = url
        .into_connection_info()
        .map_err(|error| NotAnAddress(error.to_string()))?;
    let keepalive = redis::io::tcp::socket2::TcpKeepalive::new()
        .with_time(QUIET)
        .with_interval(QUIET);
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    Ok(info.set_tcp_settings(settings))
}

async fn is_primary(client: &Client, config: &AsyncConnectionConfig) -> RedisResult<()> {
    let mut connection = client.get_multiplexed_async_connection_with_config(config).await?;
    let role: Vec<Value> = cmd("ROLE").query_async(&mut connection).await?;
    match role.first() {
        Some(Value::BulkString(role)) if role == b"master" => Ok(()),
        _ => {
            let address = client.get_connection_info().addr().to_string();
            let what = "a server is no primary at the moment";
            Err(RedisError::from((ErrorKind::Io, what, address)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_redis_is_read() {
        for (text, shown) in [
            ("redis://localhost:7000", "localhost:7000"),
            ("redis://ada:secret@cache/3", "cache:6379"),
            ("rediss://:secret@cache:7001", "cache:7001"),
            ("redis://a:1,redis://b:2, redis://c:3", "a:1, b:2, c:3"),
            ("sentinel://a,b:5/main", "main behind the sentinels a:26379, b:5"),
            ("sentinels://ada:secret@a:1/main/2", "main behind the sentinels a:1"),
            ("redis+sentinel://a,b:5/main", "main behind the sentinels a:26379, b:5"),
            ("rediss+sentinel://a/main/1", "main behind the sentinels a:26379"),
        ] {
            let target = Target::parse(text).expect(text);
            assert_eq!(target.to_string(), shown);
            let has_tls = ["rediss", "sentinels"].iter().any(|scheme| text.starts_with(scheme));
            assert_eq!(target.has_tls(), has_tls, "{text}");
        }
    }

    #[test]
    fn what_names_no_redis_is_refused_without_repeating_it() {
        for text in [
            "",
            "localhost:6379",
            "http://secret",
            "redis://",
            "sentinel://secret:1",
            "sentinel://secret:1/",
            "redis://a?sentinel_password=secret",
        ] {
            let error = Target::parse(text).err().expect(text).to_string();
            assert!(!error.contains("secret") && !error.is_empty(), "{error}");
        }
    }
}
