//! Where values come from: the file, the environment, the flags. Each layer becomes a list of assignments that say their
//! origin, so that every complaint, and `print-config`, can name it.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::DeTable;
use toml::{Table, Value};

use super::schema::{Schema, fits, read_as, wanted};
use super::section::Key;

/// Where a value was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Variable(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// One key that somebody set.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// `section.name`.
    pub path: String,
    pub value: Value,
    pub origin: Origin,
}

/// What one layer says, and what is wrong with it, one sentence each.
#[derive(Debug, Default)]
pub struct Layer {
    pub assignments: Vec<Assignment>,
    pub problems: Vec<String>,
}

impl Layer {
    fn assign(&mut self, key: &Key, value: Value, origin: Origin) {
        if fits(&key.default, &value) {
            let path = key.path();
            self.assignments.push(Assignment { path, value, origin });
        } else {
            self.wrong_type(key, &value.to_string(), &origin);
        }
    }

    fn assign_text(&mut self, key: &Key, text: &str, origin: Origin) {
        match read_as(&key.default, text) {
            Some(value) => self.assign(key, value, origin),
            None => self.wrong_type(key, &format!("{text:?}"), &origin),
        }
    }

    fn wrong_type(&mut self, key: &Key, shown: &str, origin: &Origin) {
        let shown = if key.secret { "what is given" } else { shown };
        let (path, wanted) = (key.path(), wanted(&key.default));
        self.problems
            .push(format!("{origin}: `{path}` wants {wanted}, not {shown}"));
    }
}

/// The configuration file.
pub fn file(schema: &Schema, path: &Path) -> Layer {
    match std::fs::read_to_string(path) {
        Ok(text) => document(schema, path, &text),
        Err(error) => Layer {
            problems: vec![format!(
                "cannot read the configuration file {}: {error}",
                path.display()
            )],
            ..Layer::default()
        },
    }
}

/// The text of a configuration file.
pub fn document(schema: &Schema, path: &Path, text: &str) -> Layer {
    let mut layer = Layer::default();
    let (table, spans) = match (toml::from_str::<Table>(text), DeTable::parse(text)) {
        (Ok(table), Ok(spans)) => (table, spans),
        (Err(error), _) | (_, Err(error)) => {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            let (path, what) = (path.display(), error.message());
            layer.problems.push(format!("{path}:{line}: not valid TOML: {what}"));
            return layer;
        }
    };
    for (name, value) in table {
        let here = spans.get_ref().get_key_value(name.as_str());
        let line = here.map_or(1, |(key, _)| line_of(text, key.span().start));
        let origin = |line| Origin::File {
            path: path.into(),
            line,
        };
        match value {
            Value::Table(section) if schema.is_section(&name) => {
                let inside = here.and_then(|(_, value)| value.get_ref().as_table());
                for (key, value) in section {
                    let line = inside
                        .and_then(|table| table.get_key_value(key.as_str()))
                        .map_or(line, |(key, _)| line_of(text, key.span().start));
                    entry(schema, &mut layer, &format!("{name}.{key}"), value, origin(line));
                }
            }
            value => entry(schema, &mut layer, &name, value, origin(line)),
        }
    }
    layer
}

fn entry(schema: &Schema, layer: &mut Layer, path: &str, value: Value, origin: Origin) {
    match schema.key(path) {
        Some(key) => layer.assign(key, value, origin),
        None => layer.problems.push(unknown(schema, path, &origin)),
    }
}

fn unknown(schema: &Schema, path: &str, origin: &Origin) -> String {
    if schema.is_section(path) {
        return format!("{origin}: `{path}` is a section, not a key; its keys are written `{path}.key`");
    }
    let suggestion = schema.suggestion(path, Key::path);
    format!("{origin}: unknown key `{path}`; {suggestion}")
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

/// The environment's `ROOKERY_` variables.
pub fn environment(schema: &Schema, variables: impl Iterator<Item = (String, String)>) -> Layer {
    let mut layer = Layer::default();
    for (name, value) in variables {
        if !name.starts_with("ROOKERY_") || name == CONFIG_VARIABLE || is_service_link(&name, &value) {
            continue;
        }
        match schema.keys().find(|key| key.variable() == name) {
            Some(key) => layer.assign_text(key, &value, Origin::Variable(name)),
            None => {
                let path = name["ROOKERY_".len()..].to_lowercase().replace("__", ".");
                let suggestion = schema.suggestion(&path, Key::variable);
                layer
                    .problems
                    .push(format!("unknown environment variable {name}; {suggestion}"));
            }
        }
    }
    layer
}

/// Names the configuration file.
pub const CONFIG_VARIABLE: &str = "ROOKERY_CONFIG";

/// Kubernetes puts variables of this shape into every container beside a service called `rookery` or `rookery-...`.
fn is_service_link(name: &str, value: &str) -> bool {
    let url = value.starts_with("tcp://") || value.starts_with("udp://");
    let port_of = |protocol: &str| name.contains("_PORT_") && name.contains(protocol);
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.ends_with("_PORT") && url)
        || port_of("_TCP")
        || port_of("_UDP")
}

/// `--set key.path=value`.
pub fn set(schema: &Schema, settings: &[String]) -> Layer {
    let mut layer = Layer::default();
    for setting in settings {
        let Some((path, value)) = setting.split_once('=') else {
            layer.problems.push(format!(
                "flag --set {setting}: wants key=value, such as --set limits.devices_per_user=5"
            ));
            continue;
        };
        let (path, origin) = (path.trim(), Origin::Flag("--set".into()));
        match schema.key(path) {
            Some(key) => layer.assign_text(key, value.trim(), origin),
            None => layer.problems.push(unknown(schema, path, &origin)),
        }
    }
    layer
}

/// A flag of its own for a key.
pub fn flag(schema: &Schema, flag: &str, path: &str, value: &str) -> Layer {
    let mut layer = Layer::default();
    let key = schema.key(path).expect("a flag stands for a key that exists");
    layer.assign_text(key, value, Origin::Flag(flag.to_owned()));
    layer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_links_of_kubernetes_are_not_ours() {
        for (name, value) in [
            ("ROOKERY_SERVICE_HOST", "10.0.0.1"),
            ("ROOKERY_SERVICE_PORT_HTTP", "8080"),
            ("ROOKERY_PORT", "tcp://10.0.0.1:8080"),
            ("ROOKERY_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("ROOKERY_REDIS_SERVICE_HOST", "10.0.0.1"),
        ] {
            assert!(is_service_link(name, value), "{name}");
        }
        assert!(!is_service_link("ROOKERY_LISTEN", "127.0.0.1:8080"));
        assert!(!is_service_link("ROOKERY_PORT", "8080"));
    }

    #[test]
    fn lines_are_counted_from_one() {
        assert_eq!(line_of("a\nb\nc", 0), 1);
        assert_eq!(line_of("a\nb\nc", 2), 2);
        assert_eq!(line_of("a\nb\nc", 99), 3);
    }
}
