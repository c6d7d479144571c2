//! Checks of the whole: values that are each of their type and together, or out of range, make no sense.

use rookery_actors::protocol::Limits;
use toml::Value;

use crate::wiring;

use super::{Loaded, Process, schema, table, tables};

/// Shortest admin token taken from an operator.
const ADMIN_TOKEN_BYTES: usize = 16;
/// Most worker threads; more only adds contention.
const MOST_WORKERS: usize = 1024;
/// Least that may wait for the store: what is said between two of its commits must have room.
const LEAST_UNSTORED: usize = 64 * 1024;
/// Longest drain, in seconds.
const LONGEST_DRAIN: u32 = 3600;
/// Largest frame a node may be told to take: it is held in memory whole.
const LARGEST_FRAME: usize = 16 * 1024 * 1024;
/// Limits for which 0 has a meaning: the thing is not allowed, or never done.
const ZERO_ALLOWED: [&str; 5] = [
    "attachments_per_message",
    "receipt_push_members",
    "watch_users",
    "sync_messages",
    "sync_messages_total",
];

/// What makes the whole unusable, one sentence each, naming the keys and where their values come from.
pub fn problems(loaded: &Loaded) -> Vec<String> {
    let rules = musts(&loaded.config.process, &loaded.config.limits);
    let auth = loaded.config.auth.check().err();
    let gateway = loaded.config.gateway.check().err();
    let kafka = loaded.config.kafka.check().err();
    let mongodb = loaded.config.mongodb.check().err();
    let redis = loaded.config.redis.check().err();
    broken(rules, loaded)
        .chain(zeros(loaded))
        .chain(filter(loaded))
        .chain(auth)
        .chain(gateway)
        .chain(kafka)
        .chain(loaded.config.s3.check().err())
        .chain(mongodb)
        .chain(redis)
        .chain(wiring::mix(&loaded.config).err())
        .collect()
}

/// What works and is probably not meant, in the same form.
pub fn warnings(loaded: &Loaded) -> Vec<String> {
    broken(shoulds(&loaded.config.limits), loaded).collect()
}

fn broken(rules: Vec<Rule>, loaded: &Loaded) -> impl Iterator<Item = String> {
    rules
        .into_iter()
        .filter(|rule| !rule.holds)
        .map(|rule| rule.complaint(loaded))
}

/// A rule over keys.
struct Rule {
    holds: bool,
    keys: &'static [&'static str],
    must: &'static str,
}

impl Rule {
    fn complaint(&self, loaded: &Loaded) -> String {
        let tables = tables(&loaded.config);
        let shown = |path: &&str| {
            let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
            let secret = schema().key(path).is_some_and(|key| key.secret);
            let value = tables
                .get(section)
                .and_then(|table| table.get(name))
                .filter(|_| !secret);
            let value = value.map(|value| format!(" = {value}")).unwrap_or_default();
            format!("`{path}`{value} ({})", loaded.origin(path))
        };
        let keys: Vec<_> = self.keys.iter().map(shown).collect();
        format!("{}: {}", keys.join(" and "), self.must)
    }
}

fn rule(holds: bool, keys: &'static [&'static str], must: &'static str) -> Rule {
    Rule { holds, keys, must }
}

/// Pairs that go together oddly. Who tries something out may mean just that, so they are said and not refused.
fn shoulds(limits: &Limits) -> Vec<Rule> {
    vec![
        rule(
            limits.idle_seconds > limits.heartbeat_seconds,
            &["limits.idle_seconds", "limits.heartbeat_seconds"],
            "a socket is closed as idle before the first heartbeat can draw a sign of life from it",
        ),
        rule(
            limits.messages_burst >= limits.messages_per_second,
            &["limits.messages_burst", "limits.messages_per_second"],
            "a burst below the rate keeps users from reaching the rate",
        ),
        rule(
            limits.frames_burst >= limits.frames_per_second,
            &["limits.frames_burst", "limits.frames_per_second"],
            "a burst below the rate keeps connections from reaching the rate",
        ),
        rule(
            limits.frame_bytes >= limits.body_bytes.saturating_add(limits.data_bytes),
            &["limits.frame_bytes", "limits.body_bytes", "limits.data_bytes"],
            "a frame has no room for the largest body with the largest data",
        ),
        rule(
            limits.outbound_queue_bytes >= limits.frame_bytes,
            &["limits.outbound_queue_bytes", "limits.frame_bytes"],
            "a socket that is behind has no room for the largest frame",
        ),
    ]
}

/// What a node cannot start with.
fn musts(process: &Process, limits: &Limits) -> Vec<Rule> {
    vec![
        rule(
            limits.frame_bytes <= LARGEST_FRAME,
            &["limits.frame_bytes"],
            "a frame is held in memory whole; at most 16777216 (16 MiB)",
        ),
        rule(
            process.listen != process.admin_listen || process.listen.port() == 0,
            &["listen", "admin_listen"],
            "clients and operators must not share an address",
        ),
        rule(
            process.admin_token.is_empty() || process.admin_token_file.as_os_str().is_empty(),
            &["admin_token", "admin_token_file"],
            "give one or the other",
        ),
        rule(
            process.admin_token.is_empty() || process.admin_token.len() >= ADMIN_TOKEN_BYTES,
            &["admin_token"],
            "must have at least 16 bytes",
        ),
        rule(
            !process.data_dir.as_os_str().is_empty(),
            &["data_dir"],
            "must name a directory",
        ),
        rule(
            process.worker_threads <= MOST_WORKERS,
            &["worker_threads"],
            "at most 1024",
        ),
        rule(
            process.unstored_bytes >= LEAST_UNSTORED,
            &["unstored_bytes"],
            "at least 65536: less would refuse messages while the store keeps up",
        ),
        rule(
            (1..=LONGEST_DRAIN).contains(&process.drain_seconds),
            &["drain_seconds"],
            "from 1 to 3600",
        ),
        rule(
            is_name(&process.node),
            &["node"],
            "at most 64 letters, digits, dots, hyphens and underscores",
        ),
    ]
}

fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// Limits of 0 where 0 would refuse everybody.
fn zeros(loaded: &Loaded) -> Vec<String> {
    let limits = table(&loaded.config.limits);
    let zero =
        |(name, value): &(&String, &Value)| value.as_integer() == Some(0) && !ZERO_ALLOWED.contains(&name.as_str());
    let named = limits.iter().filter(zero).map(|(name, _)| format!("limits.{name}"));
    named
        .map(|path| format!("{}: `{path}` must be at least 1", loaded.origin(&path)))
        .collect()
}

/// A log filter that cannot be read.
fn filter(loaded: &Loaded) -> Option<String> {
    let filter = &loaded.config.log.filter;
    let error = tracing_subscriber::EnvFilter::builder().parse(filter).err()?;
    let origin = loaded.origin("log.filter");
    Some(format!(
        "{origin}: `log.filter`: {filter:?} is not a filter of levels and modules ({error})"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    #[test]
    fn values_that_cannot_work_are_refused_by_name_and_origin() {
        for (text, words) in [
            (
                "[limits]\nframe_bytes = 17000000",
                vec!["limits.frame_bytes", "16 MiB", "rookery.toml:2"],
            ),
            (
                "[limits]\ndevices_per_user = 0",
                vec!["limits.devices_per_user", "at least 1"],
            ),
            (
                "listen = \"127.0.0.1:9090\"",
                vec!["listen", "admin_listen", "(default)"],
            ),
            ("admin_token = \"short\"", vec!["admin_token", "16 bytes"]),
            ("node = \"a b\"", vec!["node", "letters"]),
            ("[auth]\naccess_token_seconds = 0", vec!["auth.access_token_seconds"]),
            ("[auth]\npassword_memory_kib = 1", vec!["auth.password_memory_kib"]),
            ("drain_seconds = 0", vec!["drain_seconds"]),
            (
                "unstored_bytes = 65535",
                vec!["unstored_bytes", "65536", "rookery.toml:1"],
            ),
            ("[redis]\nurl = \"localhost\"", vec!["redis.url", "redis://"]),
            ("[log]\nfilter = \"a=b=c\"", vec!["log.filter", "rookery.toml:2"]),
        ] {
            let error = parse(text).expect_err(text).to_string();
            for word in words {
                assert!(error.contains(word), "{text}: {error:?} does not say {word:?}");
            }
        }
    }

    #[test]
    fn values_that_are_probably_not_meant_are_said() {
        assert_eq!(parse("").expect("valid").warnings, Vec::<String>::new());
        for (text, words) in [
            (
                "[limits]\nheartbeat_seconds = 80",
                vec!["limits.idle_seconds", "= 75 (default)", "rookery.toml:2"],
            ),
            (
                "[limits]\nmessages_per_second = 50",
                vec!["limits.messages_burst", "burst"],
            ),
            ("[limits]\nframes_burst = 5", vec!["limits.frames_burst"]),
            (
                "[limits]\nbody_bytes = 65536",
                vec!["limits.frame_bytes", "limits.body_bytes"],
            ),
            (
                "[limits]\noutbound_queue_bytes = 40000",
                vec!["limits.outbound_queue_bytes"],
            ),
        ] {
            let warnings = parse(text).expect(text).warnings.join("\n");
            for word in words {
                assert!(warnings.contains(word), "{text}: {warnings:?} does not say {word:?}");
            }
        }
    }
}
