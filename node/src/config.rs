//! The configuration: default, then file, then environment, then flags.
//!
//! Each part of the process owns its section, a struct made by `settings!` whose doc comments are the manual: the example
//! file and `print-config` are written from them. A name that is no key is an error wherever it stands, and every
//! complaint says where the value came from. Nothing reads the environment or a file but [`load`].

mod layers;
mod manual;
mod process;
mod sanity;
mod schema;
mod section;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rookery_actors::protocol::Limits;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

pub use self::layers::Origin;
use self::layers::{Assignment, CONFIG_VARIABLE, Layer};
pub use self::manual::uncommented;
pub use self::process::{Log, LogFormat, Process};
pub use self::schema::Schema;
use self::section::Part;
pub(crate) use self::section::settings;
pub use self::section::{Key, Section, optional};

/// Read from the working directory when no other file is named.
const DEFAULT_FILE: &str = "rookery.toml";

macro_rules! sections {
    ($($name:literal => $field:ident: $type:ty,)*) => {
        /// Everything an operator can decide.
        #[derive(Clone, PartialEq, Debug, Default)]
        pub struct Config {
            $(pub $field: $type,)*
        }

        /// All keys with their documentation.
        pub fn schema() -> Schema {
            Schema { parts: vec![$(Part::of::<$type>($name),)*] }
        }

        /// The configuration as one table a section.
        fn tables(config: &Config) -> BTreeMap<&'static str, Table> {
            BTreeMap::from([$(($name, table(&config.$field)),)*])
        }

        fn config(mut tables: BTreeMap<&'static str, Table>) -> Result<Config, toml::de::Error> {
            Ok(Config { $($field: section(&mut tables, $name)?,)* })
        }
    };
}

sections! {
    "" => process: Process,
    "log" => log: Log,
    "auth" => auth: crate::accounts::Settings,
    "gateway" => gateway: crate::gateway::Settings,
    "redis" => redis: crate::adapters::redis::Settings,
    "limits" => limits: Limits,
    "kafka" => kafka: crate::adapters::kafka::Settings,
    "s3" => s3: crate::adapters::s3::Settings,
    "mongodb" => mongodb: crate::adapters::mongo::Settings,
    "cluster" => cluster: crate::wiring::ClusterSettings,
}

impl Section for Limits {
    const ABOUT: &'static str =
        "What a client may do, and how much. What a client needs to know stands in `hello.limits` too.";
    const DOCS: &'static [(&'static str, &'static str)] = Limits::DOCS;
}

fn table<S: Section>(section: &S) -> Table {
    Table::try_from(section).expect("a section is a plain TOML table")
}

fn section<S: DeserializeOwned>(
    tables: &mut BTreeMap<&'static str, Table>,
    name: &'static str,
) -> Result<S, toml::de::Error> {
    tables.remove(name).unwrap_or_default().try_into()
}

/// What the command line says about the configuration.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config`
    pub file: Option<PathBuf>,
    /// Flags of their own: flag, key, value.
    pub named: Vec<(&'static str, &'static str, String)>,
    /// `--set`, in order.
    pub set: Vec<String>,
}

/// A configuration and where it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// What is probably not meant, one sentence each.
    pub warnings: Vec<String>,
    origins: BTreeMap<String, Origin>,
}

impl Loaded {
    /// Where the key's value was written.
    pub fn origin(&self, path: &str) -> &Origin {
        self.origins.get(path).unwrap_or(&Origin::Default)
    }

    /// The effective configuration as annotated TOML, secrets left out.
    pub fn print(&self) -> String {
        manual::effective(&schema(), self)
    }
}

/// The annotated example: every key with its default, commented out.
pub fn example() -> String {
    manual::example(&schema())
}

/// Everything that is wrong with a configuration, one sentence each.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has {} problem{}:\n  {}", .0.len(), if .0.len() == 1 { "" } else { "s" }, .0.join("\n  "))]
pub struct Invalid(pub Vec<String>);

/// The process's environment; what isn't text cannot be a key of ours, or is refused as one.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
}

/// Puts the layers together and checks the whole.
pub fn load(flags: &Flags, variables: impl Iterator<Item = (String, String)>) -> Result<Loaded, Invalid> {
    let schema = schema();
    let variables: Vec<_> = variables.collect();
    let file = file_of(flags, &variables);
    let mut layers = Vec::new();
    layers.extend(file.as_deref().map(|path| layers::file(&schema, path)));
    layers.push(layers::environment(&schema, variables.into_iter()));
    let named = flags.named.iter();
    layers.extend(named.map(|(flag, path, value)| layers::flag(&schema, flag, path, value)));
    layers.push(layers::set(&schema, &flags.set));
    assemble(file, layers)
}

/// A configuration from the text of a file alone.
pub fn parse(text: &str) -> Result<Loaded, Invalid> {
    let path = Path::new(DEFAULT_FILE);
    assemble(Some(path.into()), vec![layers::document(&schema(), path, text)])
}

fn file_of(flags: &Flags, variables: &[(String, String)]) -> Option<PathBuf> {
    let named = variables
        .iter()
        .find(|(name, value)| name == CONFIG_VARIABLE && !value.is_empty());
    flags
        .file
        .clone()
        .or_else(|| named.map(|(_, path)| path.into()))
        .or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists()))
}

fn assemble(file: Option<PathBuf>, layers: Vec<Layer>) -> Result<Loaded, Invalid> {
    let mut problems = Vec::new();
    let mut assigned = BTreeMap::new();
    for layer in layers {
        problems.extend(layer.problems);
        for assignment in layer.assignments {
            if let Err(problem) = alone(&assignment) {
                problems.push(problem);
            }
            assigned.insert(assignment.path.clone(), assignment);
        }
    }
    if !problems.is_empty() {
        return Err(Invalid(problems));
    }
    let mut tables = tables(&Config::default());
    assigned.values().for_each(|assignment| put(&mut tables, assignment));
    let config = config(tables).map_err(|error| Invalid(vec![error.message().to_owned()]))?;
    let origins = assigned
        .into_iter()
        .map(|(path, assignment)| (path, assignment.origin))
        .collect();
    let mut loaded = Loaded {
        config,
        file,
        warnings: Vec::new(),
        origins,
    };
    let problems = sanity::problems(&loaded);
    loaded.warnings = sanity::warnings(&loaded);
    if problems.is_empty() {
        Ok(loaded)
    } else {
        Err(Invalid(problems))
    }
}

/// Whether one value, alone on top of the defaults, is of its key's range: so that the complaint can name it.
fn alone(assignment: &Assignment) -> Result<(), String> {
    let mut tables = tables(&Config::default());
    put(&mut tables, assignment);
    let Err(error) = config(tables) else { return Ok(()) };
    let Assignment { path, value, origin } = assignment;
    let schema = schema();
    let key = schema.key(path).expect("only keys that exist are assigned");
    let what = match (key.secret, &key.default) {
        (true, _) => "its value cannot be used".to_owned(),
        (false, Value::String(text)) if text.parse::<std::net::SocketAddr>().is_ok() => {
            format!("wants {}, not {value}", schema::wanted(&key.default))
        }
        (false, _) => error.message().lines().next().unwrap_or_default().to_owned(),
    };
    Err(format!("{origin}: `{path}`: {what}"))
}

fn put(tables: &mut BTreeMap<&'static str, Table>, assignment: &Assignment) {
    let (section, name) = assignment.path.rsplit_once('.').unwrap_or(("", &assignment.path));
    if let Some(table) = tables.get_mut(section) {
        table.insert(name.to_owned(), assignment.value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_with_every_line_uncommented_is_the_defaults() {
        let loaded = parse(&uncommented(&example())).expect("the example is valid");
        assert_eq!(loaded.config, Config::default());
        let named = schema()
            .keys()
            .filter(|key| *loaded.origin(&key.path()) == Origin::Default)
            .count();
        assert_eq!(named, 0, "the example leaves keys out");
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same_configuration() {
        let changed = "listen = \"0.0.0.0:0\"\n[limits]\nbody_bytes = 1000\n[log]\nformat = \"json\"\n";
        let loaded = parse(changed).expect("valid");
        let again = parse(&loaded.print()).expect("what is printed is valid");
        assert_eq!(loaded.config, again.config);
        assert_ne!(again.config, Config::default());
    }

    #[test]
    fn a_secret_is_not_printed() {
        let loaded = parse("admin_token = \"hush-hush-hush-hush\"").expect("valid");
        assert!(!loaded.print().contains("hush"));
        assert!(!example().contains("hush"));
    }

    #[test]
    fn no_two_keys_share_a_variable() {
        let schema = schema();
        let mut variables: Vec<_> = schema.keys().map(Key::variable).collect();
        let all = variables.len();
        variables.sort();
        variables.dedup();
        assert_eq!(variables.len(), all);
    }

    #[test]
    fn every_key_is_documented() {
        for key in schema().keys() {
            assert!(key.doc.trim().ends_with('.'), "{} has no sentence", key.path());
        }
    }

    #[test]
    fn each_layer_overrides_the_one_before() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("r.toml");
        let text = "node = \"file\"\ndrain_seconds = 3\n[limits]\nlogins_per_minute = 1\nsignups_per_minute = 1\n";
        std::fs::write(&file, text).expect("written");
        let flags = Flags {
            file: Some(file.clone()),
            named: Vec::new(),
            set: vec!["limits.logins_per_minute=3".into()],
        };
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let variables = [
            variable("ROOKERY_LIMITS__LOGINS_PER_MINUTE", "2"),
            variable("ROOKERY_LIMITS__SIGNUPS_PER_MINUTE", "2"),
            variable("ROOKERY_NODE", "environment"),
        ];
        let loaded = load(&flags, variables.into_iter()).expect("valid");
        assert_eq!(loaded.config.process.drain_seconds, 3);
        assert_eq!(loaded.config.process.node, "environment");
        assert_eq!(loaded.config.limits.signups_per_minute, 2);
        assert_eq!(loaded.config.limits.logins_per_minute, 3);
        assert_eq!(*loaded.origin("limits.logins_per_minute"), Origin::Flag("--set".into()));
        assert_eq!(*loaded.origin("drain_seconds"), Origin::File { path: file, line: 2 });
    }
}
