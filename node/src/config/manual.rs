//! The configuration as annotated TOML: the example file and `print-config`.

use std::fmt::Write;

use super::layers::Origin;
use super::schema::Schema;
use super::section::{Key, Part};
use super::{Loaded, tables};

/// Columns of a comment before it wraps.
const WIDTH: usize = 100;

/// The head of the example file.
const EXAMPLE_HEAD: &str = "\
Rookery's configuration: every key with its default. Made by `rookery example-config`.

Values come from, each overriding the one before: the defaults, this file (--config FILE, else ROOKERY_CONFIG, else \
./rookery.toml if it is there), the environment, the flags.

A key's environment variable is ROOKERY_ and its path in capitals, with two underscores after the section: \
ROOKERY_LISTEN, ROOKERY_LIMITS__SIGNUPS_PER_MINUTE. Any key can be given as a flag: \
--set limits.signups_per_minute=20. A key that does not exist is an error wherever it stands.
";

/// Every key, commented out, with its documentation and default.
pub fn example(schema: &Schema) -> String {
    let mut out = String::new();
    comment(&mut out, EXAMPLE_HEAD);
    write_parts(&mut out, schema, |key| format!("#{} = {}\n", key.name, key.default));
    out
}

/// The effective configuration with the origin of each value; secrets are left out.
pub fn effective(schema: &Schema, loaded: &Loaded) -> String {
    let tables = tables(&loaded.config);
    let mut out = String::new();
    comment(
        &mut out,
        "The effective configuration, with where each value comes from.",
    );
    write_parts(&mut out, schema, |key| {
        let origin = loaded.origin(&key.path());
        let value = tables
            .get(key.section)
            .and_then(|table| table.get(key.name))
            .unwrap_or(&key.default);
        let is_empty = value.as_str().is_some_and(str::is_empty);
        match (key.secret && !is_empty, origin) {
            (true, origin) => format!("# redacted; from {origin}\n#{} = \"...\"\n", key.name),
            (false, Origin::Default) => format!("{} = {value}\n", key.name),
            (false, origin) => format!("# from {origin}\n{} = {value}\n", key.name),
        }
    });
    out
}

fn write_parts(out: &mut String, schema: &Schema, line: impl Fn(&Key) -> String) {
    for Part { name, about, keys } in &schema.parts {
        out.push('\n');
        comment(out, about);
        if !name.is_empty() {
            writeln!(out, "[{name}]").ok();
        }
        for key in keys {
            out.push('\n');
            comment(out, key.doc);
            out.push_str(&line(key));
        }
    }
}

/// Wraps a text into comment lines; a blank line between paragraphs stays one.
fn comment(out: &mut String, text: &str) {
    for (index, paragraph) in text.trim().split("\n\n").enumerate() {
        if index > 0 {
            out.push_str("#\n");
        }
        let mut line = String::from("#");
        for word in paragraph.split_whitespace() {
            if line.len() + 1 + word.len() > WIDTH {
                writeln!(out, "{line}").ok();
                line = String::from("#");
            }
            line.push(' ');
            line.push_str(word);
        }
        writeln!(out, "{line}").ok();
    }
}

/// The example with every key uncommented, as an operator would do it.
pub fn uncommented(example: &str) -> String {
    let is_key = |line: &str| line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_lowercase());
    let lines = example.lines().map(|line| if is_key(line) { &line[1..] } else { line });
    lines.collect::<Vec<_>>().join("\n")
}
