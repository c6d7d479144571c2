//! The section `cluster` of the configuration.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rookery_cluster::id::DEFAULT_SHARDS;

crate::config::settings! {
    /// A node among others. It is one as soon as the event log is on Kafka, the store on MongoDB, the directory on Redis and
    /// contents in S3; nodes that name the same of these are a cluster, and need nothing else of each other's configuration
    /// but the same `shards` and `token_keys_dir`.
    pub struct Settings {
        /// Where other nodes connect, by QUIC over UDP. Port 0 takes a free one.
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9100));
        /// The address under which other nodes reach `listen`, as `host:port` or a host alone. Empty: as it listens, which
        /// must then not be every address of the machine.
        advertise: String = String::new();
        /// Where clients reach this very node, such as `https://node1.chat.example.org`: `/api/connect` and a `goaway` send
        /// them to the node that has their session. Empty: any node will do.
        #[serde(with = "crate::config::optional")]
        public_url: Option<String> = None;
        /// Into how many shards everything is divided. The same for all nodes, for the life of the cluster.
        shards: u16 = DEFAULT_SHARDS;
        /// A directory with the keys that sign access tokens, of the same content on every node: a volume that they share, or
        /// a secret that is mounted. Where it is writable and empty, a first key is made; `rotate-key` makes further ones.
        token_keys_dir: PathBuf = PathBuf::new();
        /// The certificate with which the node meets the others, as a PEM file. It must have the node's name as a DNS name,
        /// and be good for servers and clients. Empty: the node makes one at start, which the others know by its
        /// fingerprint in the membership.
        certificate_file: PathBuf = PathBuf::new();
        /// The key of that certificate, as a PEM file.
        key_file: PathBuf = PathBuf::new();
        /// The certificates that sign all nodes', as a PEM file.
        ca_file: PathBuf = PathBuf::new();
        /// How long to wait at start for services that are away, in seconds, beyond the 10 s or so that each try takes. 0 ends
        /// the process at once, with what is wrong.
        wait_seconds: u32 = 0;
    }
}

impl Settings {
    /// Says what is wrong with them, for a node that is in a cluster, naming the key.
    pub fn check(&self) -> Result<(), String> {
        if self.listen.ip().is_unspecified() && self.advertise.is_empty() {
            return Err(format!(
                "cluster.advertise must say how other nodes reach this one, as cluster.listen is {}",
                self.listen
            ));
        }
        if self.shards == 0 {
            return Err("cluster.shards must be at least 1".into());
        }
        if self.token_keys_dir.as_os_str().is_empty() {
            return Err(
                "cluster.token_keys_dir must name a directory with the same keys on every node, or tokens that \
                        one node gives are strangers to the others"
                    .into(),
            );
        }
        let files = [&self.certificate_file, &self.key_file, &self.ca_file];
        let given = files.iter().filter(|file| !file.as_os_str().is_empty()).count();
        if given != 0 && given != files.len() {
            return Err("cluster.certificate_file, cluster.key_file and cluster.ca_file go together".into());
        }
        let url = self.public_url.as_deref().unwrap_or("https://");
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err("cluster.public_url must begin with http:// or https://".into());
        }
        Ok(())
    }

    /// Whether an authority signs the nodes' certificates.
    pub fn has_certificate(&self) -> bool {
        !self.certificate_file.as_os_str().is_empty()
    }

    pub fn wait(&self) -> Duration {
        Duration::from_secs(self.wait_seconds.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_must_be_reachable_and_share_the_keys() {
        let good = Settings {
            token_keys_dir: "keys".into(),
            ..Settings::default()
        };
        assert_eq!(good.check(), Ok(()));
        type Change = fn(&mut Settings);
        let broken: [(Change, &str); 5] = [
            (|s| s.token_keys_dir = PathBuf::new(), "cluster.token_keys_dir"),
            (
                |s| s.listen = SocketAddr::from(([0, 0, 0, 0], 9100)),
                "cluster.advertise",
            ),
            (|s| s.key_file = "key.pem".into(), "go together"),
            (|s| s.public_url = Some("chat.example.org".into()), "cluster.public_url"),
            (|s| s.shards = 0, "cluster.shards"),
        ];
        for (break_it, word) in broken {
            let mut settings = good.clone();
            break_it(&mut settings);
            let complaint = settings.check().expect_err(word);
            assert!(complaint.contains(word), "{complaint}");
        }
    }
}
