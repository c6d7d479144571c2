//! Promise: a configuration that is wrong is refused with a sentence that says what, where it was written, and what was
//! probably meant; and the manual is in step with the code. Proven on the real binary.

use std::path::Path;
use std::process::{Command, Output};

/// A directory of its own, so that no `rookery.toml` of anybody's is read.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).expect("written");
    }

    fn rookery(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rookery"));
        command.args(arguments).current_dir(self.0.path()).env_clear();
        command
            .envs(variables.iter().copied())
            .output()
            .expect("the binary runs")
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Refused with the status of a wrong configuration, saying all the words.
#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    for word in words {
        assert!(said.contains(word), "{said:?} does not say {word:?}");
    }
}

#[test]
fn what_is_wrong_in_the_file_is_said_with_its_line_and_the_nearest_key() {
    for (text, words) in [
        (
            "lisen = \"127.0.0.1:1\"",
            vec!["./rookery.toml:1", "`lisen`", "did you mean `listen`?"],
        ),
        (
            "\n[limits]\nbody_byte = 1",
            vec!["rookery.toml:3", "`limits.body_byte`", "`limits.body_bytes`"],
        ),
        (
            "body_bytes = 1",
            vec!["`body_bytes`", "did you mean `limits.body_bytes`?"],
        ),
        ("[limit]\nbody_bytes = 1", vec!["rookery.toml:1", "`limit`"]),
        (
            "[limits]\nqwertyuiopasdf = 1",
            vec!["`limits.qwertyuiopasdf`", "example-config"],
        ),
        ("limits = 3", vec!["`limits` is a section"]),
        ("[listen]\na = 1", vec!["`listen` wants an IP address and a port"]),
        (
            "listen = 8080",
            vec!["rookery.toml:1", "`listen` wants an IP address and a port", "not 8080"],
        ),
        (
            "listen = \"here\"",
            vec!["rookery.toml:1", "`listen`", "127.0.0.1:8080", "here"],
        ),
        (
            "[limits]\nbody_bytes = \"many\"",
            vec!["`limits.body_bytes` wants a whole number, not \"many\""],
        ),
        (
            "[limits]\nbody_bytes = 1.5",
            vec!["`limits.body_bytes` wants a whole number"],
        ),
        (
            "[limits]\nbody_bytes = -1",
            vec!["rookery.toml:2", "`limits.body_bytes`", "-1"],
        ),
        (
            "[limits]\nlogins_per_minute = 5000000000",
            vec!["`limits.logins_per_minute`", "5000000000"],
        ),
        ("[log]\nformat = \"xml\"", vec!["`log.format`", "xml", "text", "json"]),
        ("[log]\nfilter = true", vec!["`log.filter` wants a string"]),
        (
            "[gateway]\ncors_origins = \"x\"",
            vec!["`gateway.cors_origins` wants a list"],
        ),
        (
            "[gateway]\ntrusted_proxies = [\"x/y\"]",
            vec!["rookery.toml:2", "`gateway.trusted_proxies`"],
        ),
        ("listen = ", vec!["rookery.toml:1", "not valid TOML"]),
        (
            "a = 1\nnode = \"x\"\nnode = \"y\"",
            vec!["rookery.toml:3", "not valid TOML"],
        ),
        (
            "[limits]\nheartbeat_seconds = 0",
            vec!["rookery.toml:2", "`limits.heartbeat_seconds` must be at least 1"],
        ),
        ("admin_token = 3", vec!["`admin_token` wants a string"]),
    ] {
        let place = Place::new();
        place.write("rookery.toml", text);
        refused(
            &place.rookery(&["check"], &[]),
            &words
                .iter()
                .map(|word| word.trim_start_matches("./"))
                .collect::<Vec<_>>(),
        );
    }
}

#[test]
fn what_is_wrong_in_the_environment_is_said_with_the_variables_name() {
    for (name, value, words) in [
        ("ROOKERY_LISTN", "x", vec!["ROOKERY_LISTN", "`ROOKERY_LISTEN`"]),
        ("ROOKERY_LIMITS__BODYBYTES", "1", vec!["`ROOKERY_LIMITS__BODY_BYTES`"]),
        ("ROOKERY_LIMITS_BODY_BYTES", "1", vec!["`ROOKERY_LIMITS__BODY_BYTES`"]),
        (
            "ROOKERY_LIMITS__BODY_BYTES",
            "many",
            vec!["ROOKERY_LIMITS__BODY_BYTES", "a whole number", "many"],
        ),
        (
            "ROOKERY_LIMITS__BODY_BYTES",
            "",
            vec!["ROOKERY_LIMITS__BODY_BYTES", "a whole number"],
        ),
        ("ROOKERY_LIMITS__BODY_BYTES", "-5", vec!["ROOKERY_LIMITS__BODY_BYTES"]),
        (
            "ROOKERY_ADMIN_LISTEN",
            "localhost",
            vec!["ROOKERY_ADMIN_LISTEN", "127.0.0.1:8080"],
        ),
        ("ROOKERY_LOG__FORMAT", "yaml", vec!["ROOKERY_LOG__FORMAT", "yaml"]),
        ("ROOKERY_CONFIG", "absent.toml", vec!["absent.toml", "cannot read"]),
    ] {
        refused(&Place::new().rookery(&["check"], &[(name, value)]), &words);
    }
}

#[test]
fn what_is_wrong_in_the_flags_is_said_with_the_flags_name() {
    for (arguments, words) in [
        (
            vec!["--set", "limits.bodybytes=1"],
            vec!["flag --set", "`limits.body_bytes`"],
        ),
        (
            vec!["--set", "limits.body_bytes=x"],
            vec!["flag --set", "a whole number"],
        ),
        (vec!["--set", "limits.body_bytes"], vec!["key=value"]),
        (vec!["--set", "limits=1"], vec!["`limits` is a section"]),
        (vec!["--listen", "8080"], vec!["flag --listen", "127.0.0.1:8080"]),
        (vec!["--config", "absent.toml"], vec!["absent.toml"]),
        (vec!["--data-dir", ""], vec!["data_dir"]),
    ] {
        refused(
            &Place::new().rookery(&[&["check"], &arguments[..]].concat(), &[]),
            &words,
        );
    }
}

#[test]
fn what_is_probably_not_meant_is_said_and_not_refused() {
    let output = Place::new().rookery(&["check", "--set", "limits.heartbeat_seconds=80"], &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    for word in ["warning", "`limits.idle_seconds` = 75 (default)", "flag --set"] {
        assert!(stderr(&output).contains(word), "{}", stderr(&output));
    }
}

#[test]
fn every_problem_is_said_at_once() {
    let place = Place::new();
    place.write("rookery.toml", "lisen = 1\n[limits]\nbody_bytes = true\n");
    let output = place.rookery(&["print-config", "--set", "a=b"], &[("ROOKERY_NODES", "x")]);
    refused(
        &output,
        &["4 problems", "lisen", "limits.body_bytes", "`a`", "ROOKERY_NODES"],
    );
}

#[test]
fn a_secret_stays_out_of_what_is_printed() {
    let place = Place::new();
    let secret = ("ROOKERY_ADMIN_TOKEN", "correct-horse-battery");
    let printed = place.rookery(&["print-config"], &[secret]);
    assert!(printed.status.success(), "{}", stderr(&printed));
    assert!(stdout(&printed).contains("redacted; from environment variable ROOKERY_ADMIN_TOKEN"));
    let refusal = place.rookery(&["print-config"], &[secret, ("ROOKERY_ADMIN_TOKEN_FILE", "x")]);
    refused(&refusal, &["`admin_token`", "one or the other"]);
    let both = stdout(&printed) + &stderr(&refusal);
    assert!(!both.contains("horse"), "{both}");
}

#[test]
fn print_config_reads_back_as_itself_and_names_origins() {
    let place = Place::new();
    place.write(
        "here.toml",
        "node = \"n-1\"\n[gateway]\ncors_origins = [\"https://a.example\"]\n",
    );
    let variables = [
        ("ROOKERY_CONFIG", "here.toml"),
        ("ROOKERY_LIMITS__SIGNUPS_PER_MINUTE", "77"),
    ];
    let first = stdout(&place.rookery(&["print-config", "--listen", "127.0.0.1:0"], &variables));
    for line in [
        "# from here.toml:1\nnode = \"n-1\"",
        "# from flag --listen\nlisten = \"127.0.0.1:0\"",
        "# from environment variable ROOKERY_LIMITS__SIGNUPS_PER_MINUTE\nsignups_per_minute = 77",
        "cors_origins = [\"https://a.example\"]",
    ] {
        assert!(first.contains(line), "{first}\nlacks {line}");
    }
    place.write("again.toml", &first);
    let again = stdout(&place.rookery(&["print-config", "--config", "again.toml"], &[]));
    let values = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(values(&first), values(&again));
}

#[test]
fn the_example_file_is_in_step_with_the_code() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/rookery.example.toml");
    let made = stdout(&Place::new().rookery(&["example-config"], &[]));
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == made,
        "deploy/rookery.example.toml is stale: cargo run --bin rookery -- example-config > deploy/rookery.example.toml"
    );
}

#[test]
fn help_says_what_it_does_and_where_configuration_comes_from() {
    let help = stdout(&Place::new().rookery(&["--help"], &[]));
    for word in [
        "rookery.toml",
        "ROOKERY_CONFIG",
        "ROOKERY_LIMITS__SIGNUPS_PER_MINUTE",
        "Examples",
        "SIGTERM",
        "78",
    ] {
        assert!(help.contains(word), "--help does not say {word}");
    }
    let version = stdout(&Place::new().rookery(&["--version"], &[]));
    assert_eq!(version.trim(), format!("rookery {}", env!("CARGO_PKG_VERSION")));
    let wrong = Place::new().rookery(&["serve", "--lisen", "x"], &[]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("--listen"), "{}", stderr(&wrong));
}
