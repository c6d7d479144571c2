//! Sentinels as an address names them, and the primary that they watch.

use std::sync::Arc;

use redis::{ConnectionAddr, ConnectionInfo, ErrorKind, RedisConnectionInfo, RedisError, parse_redis_url};

use super::target::{NotAnAddress, server};

/// The port of a Sentinel of which none is named.
const PORT: u16 = 26379;

/// A primary that Sentinels watch.
pub(super) struct Watched {
    /// What they know it by.
    pub name: Arc<str>,
    /// How to meet it. Where it is stands in no address; it is put in when it is known.
    primary: ConnectionInfo,
    /// Whether the Sentinels have a password of their own.
    apart: bool,
}

impl Watched {
    /// The way to the primary, which is there at the moment.
    pub fn primary_at(&self, (host, port): (String, u16)) -> ConnectionInfo {
        let address = match self.primary.addr() {
            ConnectionAddr::TcpTls { insecure, .. } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: *insecure,
                tls_params: None,
            },
            _ => ConnectionAddr::Tcp(host, port),
        };
        self.primary.clone().set_addr(address)
    }

    /// The primary's credentials, for Sentinels that may have the same.
    pub fn shared_credentials(&self) -> Option<RedisConnectionInfo> {
        let settings = self.primary.redis_settings();
        let may_be = !self.apart && settings.password().is_some();
        may_be.then(|| settings.clone().set_db(0))
    }
}

/// Reads `[user:password@]host:port,host:port/name[/db][?parameters]`: the Sentinels, and whom they watch. With `scheme` each
/// of them is met, and the primary.
pub(super) fn parse(scheme: &str, rest: &str) -> Result<(Vec<ConnectionInfo>, Watched), NotAnAddress> {
    let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (credentials, rest) = match rest.rsplit_once('@') {
        Some((credentials, rest)) => (format!("{credentials}@"), rest),
        None => (String::new(), rest),
    };
    let wanted = || NotAnAddress("wants sentinel://host:port,host:port/name-of-the-primary".into());
    let (hosts, name) = rest.split_once('/').ok_or_else(wanted)?;
    let (name, db) = name.split_once('/').unwrap_or((name, ""));
    if name.is_empty() {
        return Err(wanted());
    }
    let own = own_credentials(parameters)?;
    let sentinels = hosts.split(',').map(|host| {
        let sentinel = server(&format!("{scheme}{}", with_port(host.trim())))?;
        Ok(match &own {
            Some(settings) => sentinel.set_redis_settings(settings.clone()),
            None => sentinel,
        })
    });
    let watched = Watched {
        name: name.into(),
        primary: server(&format!("{scheme}{credentials}primary/{db}"))?,
        apart: own.is_some(),
    };
    Ok((sentinels.collect::<Result<_, _>>()?, watched))
}

/// What the parameters say of the Sentinels' own user and password.
fn own_credentials(parameters: &str) -> Result<Option<RedisConnectionInfo>, NotAnAddress> {
    // In a form a plus is a space, in a password it is a plus.
    let url = format!("redis://sentinel/?{}", parameters.replace('+', "%2B"));
    let url = parse_redis_url(&url).ok_or_else(|| NotAnAddress("has parameters that cannot be read".into()))?;
    let mut settings = RedisConnectionInfo::default();
    for (key, value) in url.query_pairs() {
        settings = match &*key {
            "sentinel_username" => settings.set_username(value),
            "sentinel_password" => settings.set_password(value),
            _ => {
                let known = "knows no parameters but sentinel_username and sentinel_password";
                return Err(NotAnAddress(known.into()));
            }
        };
    }
    match (settings.username(), settings.password()) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(NotAnAddress(
            "names a sentinel_username and wants a sentinel_password too".into(),
        )),
        (_, Some(_)) => Ok(Some(settings)),
    }
}

/// The error of a Sentinel that wants other credentials, told apart from the primary's.
pub(super) fn wants_others(sentinel: &ConnectionInfo) -> RedisError {
    let what = "a sentinel wants another sentinel_password, or sentinel_username, than the address has";
    RedisError::from((ErrorKind::AuthenticationFailed, what, sentinel.addr().to_string()))
}

/// A Sentinel's usual port, unless another is named.
fn with_port(host: &str) -> String {
    let named = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if named {
        host.to_owned()
    } else {
        format!("{host}:{PORT}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(info: &ConnectionInfo) -> (Option<&str>, Option<&str>, i64) {
        let settings = info.redis_settings();
        (settings.username(), settings.password(), settings.db())
    }

    #[test]
    fn the_primary_is_met_as_the_address_says() {
        let (_, watched) = parse("rediss://", "ada:secret@a:1/main/2").expect("valid");
        let found = watched.primary_at(("here".into(), 7));
        assert!(matches!(found.addr(), ConnectionAddr::TcpTls { host, port: 7, .. } if host == "here"));
        assert_eq!(credentials(&found), (Some("ada"), Some("secret"), 2));
    }

    #[test]
    fn sentinels_are_told_the_primarys_password_only_where_they_have_none_of_their_own() {
        let (sentinels, watched) = parse("redis://", "ada:secret@a,b/main/2").expect("valid");
        assert!(sentinels.iter().all(|one| credentials(one) == (None, None, 0)));
        let shared = watched.shared_credentials().expect("may be shared");
        assert_eq!((shared.password(), shared.db()), (Some("secret"), 0));

        let text = "ada:secret@a,b/main/2?sentinel_username=guard&sentinel_password=a+b%26c/d";
        let (sentinels, watched) = parse("redis://", text).expect("valid");
        let own = (Some("guard"), Some("a+b&c/d"), 0);
        assert!(sentinels.iter().all(|one| credentials(one) == own));
        assert!(watched.shared_credentials().is_none());
    }

    #[test]
    fn parameters_that_mean_nothing_are_refused_without_repeating_them() {
        for parameters in ["sentinel_pasword=secret", "secret", "sentinel_username=secret"] {
            let error = parse("redis://", &format!("a/main?{parameters}"))
                .err()
                .expect(parameters);
            assert!(error.to_string().contains("sentinel_password"), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
