//! Which adapters stand behind the ports: a function of what is configured. Pure.

use crate::config::Config;

/// What can work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mix {
    /// Everything in the data directory of one node, contents perhaps in S3.
    Alone,
    /// Everything on services, which other nodes may share.
    Cluster,
}

/// The mix that is configured, or what is wrong with it, in one sentence.
pub fn mix(config: &Config) -> Result<Mix, String> {
    let services = [
        ("kafka.brokers", config.kafka.is_chosen()),
        ("mongodb.url", config.mongodb.is_chosen()),
        ("redis.url", config.redis.is_set()),
        ("s3.bucket", config.s3.is_chosen()),
    ];
    let named = |chosen: bool| {
        let of = services.iter().filter(|(_, is)| *is == chosen);
        of.map(|(key, _)| format!("`{key}`")).collect::<Vec<_>>()
    };
    let (set, missing) = (named(true), named(false));
    if missing.is_empty() {
        return config.cluster.check().map(|()| Mix::Cluster);
    }
    if set.is_empty() || set == ["`s3.bucket`"] {
        return match config.cluster == Default::default() {
            true => Ok(Mix::Alone),
            false => Err(format!(
                "the section `cluster` is for nodes on services, and not set here are {}; a node on its data directory \
                 is a cluster by itself",
                missing.join(", ")
            )),
        };
    }
    Err(format!(
        "the event log, the store, the directory and contents go to services together, or stay in the data directory \
         (contents alone may go): set are {}, and not {}",
        set.join(", "),
        missing.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(keys: &[&str]) -> Config {
        let mut config = Config::default();
        for key in keys {
            match *key {
                "kafka" => config.kafka.brokers = "a:9092".into(),
                "mongodb" => config.mongodb.url = "mongodb://a".into(),
                "redis" => config.redis.url = "redis://a".into(),
                "s3" => config.s3.bucket = "a".into(),
                _ => config.cluster.token_keys_dir = "keys".into(),
            }
        }
        config
    }

    #[test]
    fn all_services_make_a_cluster_and_none_makes_a_node_alone() {
        assert_eq!(mix(&with(&[])), Ok(Mix::Alone));
        assert_eq!(mix(&with(&["s3"])), Ok(Mix::Alone));
        assert_eq!(
            mix(&with(&["kafka", "mongodb", "redis", "s3", "keys"])),
            Ok(Mix::Cluster)
        );
    }

    #[test]
    fn what_cannot_work_is_told_by_its_keys() {
        let half = mix(&with(&["kafka", "redis"])).expect_err("refused");
        assert!(
            half.contains("set are `kafka.brokers`, `redis.url`, and not `mongodb.url`, `s3.bucket`"),
            "{half}"
        );
        let embedded = mix(&with(&["keys"])).expect_err("refused");
        assert!(
            embedded.contains("section `cluster`") && embedded.contains("`kafka.brokers`"),
            "{embedded}"
        );
        let keyless = mix(&with(&["kafka", "mongodb", "redis", "s3"])).expect_err("refused");
        assert!(keyless.contains("cluster.token_keys_dir"), "{keyless}");
    }
}
