//! The command line.

pub mod commands;
mod failure;
pub mod operator;
mod reference;
mod table;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use self::failure::{Failure, Status};
use crate::config::Flags;

const AFTER_HELP: &str = "\
Examples:
  rookery                                  a complete server on 127.0.0.1:8080, data in ./data
  rookery --listen 0.0.0.0:8080 --data-dir /var/lib/rookery
  rookery --set limits.signups_per_minute=100
  ROOKERY_LIMITS__SIGNUPS_PER_MINUTE=100 rookery
  rookery example-config > rookery.toml    the manual of the configuration, to edit
  rookery check --config rookery.toml      is it valid, and is the data directory usable?
  rookery print-config                     what is in effect, and where each value comes from
  rookery nodes --config rookery.toml      the cluster that the running server is part of

Configuration, each overriding the one before:
  1. the defaults
  2. a TOML file: --config FILE, else $ROOKERY_CONFIG, else ./rookery.toml if it is there
  3. the environment: ROOKERY_ and the key in capitals, two underscores after the section
     (ROOKERY_LISTEN, ROOKERY_DATA_DIR, ROOKERY_LIMITS__SIGNUPS_PER_MINUTE)
  4. the flags above
A key that does not exist is an error wherever it stands.

Exit status:
  0   stopped as asked, or everything is in order
  1   not healthy (health), or the drain was cut short
  2   the command line is wrong
  69  a port is taken, an address is not this machine's, or a service is away
  70  something inside failed
  73  the data directory cannot be used: not ours, in use, newer than this version, broken
  78  the configuration is wrong";

/// Rookery, a chat server: groups and direct messages over WebSocket and HTTP, durable in one directory.
///
/// Without a subcommand it serves. It prints the addresses it listens on to standard output, logs to standard error, and
/// on SIGTERM or SIGINT tells its clients to go, flushes and stops; a second signal stops it at once. SIGHUP reads the
/// token keys and the certificate of the public listener again.
#[derive(Clone, Debug, Parser)]
#[command(name = "rookery", version, after_long_help = AFTER_HELP, after_help = "`--help` shows examples, where configuration comes from, and the exit status.")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub sources: Sources,
}

#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the server (the default).
    Serve,
    /// Say whether the configuration is valid and the data directory usable; changes nothing.
    Check,
    /// Print the effective configuration as annotated TOML, secrets left out.
    PrintConfig,
    /// Print every key of the configuration with its documentation and default.
    ExampleConfig,
    /// Make a new key for signing tokens; tokens signed with the old ones stay valid until they expire.
    ///
    /// A running server takes the new key at SIGHUP, or when it next starts.
    RotateKey,
    /// Ask the running server's admin listener whether it is ready, for a container's health check.
    Health {
        /// Ask only whether the process lives, not whether it is ready for clients.
        #[arg(long)]
        live: bool,
    },
    /// Print the cluster's nodes, as the running server sees them.
    Nodes {
        /// Print the admin listener's answer as it is.
        #[arg(long)]
        json: bool,
    },
    /// Print which node owns which shards.
    Shards {
        /// Print the admin listener's answer as it is.
        #[arg(long)]
        json: bool,
    },
    /// Tell the running server to hand over what it owns, send its clients elsewhere, and stop.
    Drain {
        /// Print the admin listener's answer as it is.
        #[arg(long)]
        json: bool,
    },
    /// Print a page of the reference.
    Docs {
        #[arg(value_enum)]
        page: Page,
    },
}

/// The pages that are made from the code.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Page {
    /// Every metric: name, type, labels, meaning.
    Metrics,
    /// Every error code and close code: what it means and what a client should do.
    Errors,
}

/// Where the configuration comes from.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Configuration")]
pub struct Sources {
    /// The configuration file [default: $ROOKERY_CONFIG, else ./rookery.toml if it is there]
    #[arg(long, short, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Where clients connect, for HTTP and WebSocket [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", global = true)]
    pub listen: Option<String>,
    /// Where operators connect: health, metrics, /admin [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDRESS", global = true)]
    pub admin_listen: Option<String>,
    /// The directory that holds everything this node keeps [default: ./data]
    #[arg(long, value_name = "DIRECTORY", global = true)]
    pub data_dir: Option<String>,
    /// Any key of the configuration; may be repeated
    #[arg(long, value_name = "KEY=VALUE", global = true)]
    pub set: Vec<String>,
}

impl Sources {
    /// The flags as the loader takes them.
    pub fn flags(&self) -> Flags {
        let own = [
            ("--listen", "listen", &self.listen),
            ("--admin-listen", "admin_listen", &self.admin_listen),
            ("--data-dir", "data_dir", &self.data_dir),
        ];
        Flags {
            file: self.config.clone(),
            named: own
                .into_iter()
                .filter_map(|(flag, key, value)| Some((flag, key, value.clone()?)))
                .collect(),
            set: self.set.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
        let cli = Cli::parse_from(["rookery", "check", "--listen", "127.0.0.1:1", "--set", "a=b"]);
        assert_eq!(
            cli.sources.flags().named,
            [("--listen", "listen", "127.0.0.1:1".to_owned())]
        );
    }
}
