//! What needs OpenSSL.

use std::path::Path;
use std::process::Command;

use super::*;
use crate::support::kafka;

/// Lets Kafka's own tool, signed in as the broker, give this user a password for SCRAM.
async fn add_scram_user(service: &Service, authority: &Authority, user: &str) {
    let config = authority.directory.path().join("tool.properties");
    let login = "org.apache.kafka.common.security.plain.PlainLoginModule required";
    let text = format!(
        "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nssl.truststore.type=PEM\nssl.truststore.location={}\n\
         sasl.jaas.config={login} username=\"broker\" password=\"{SECRET}\";\n",
        authority.file().display()
    );
    std::fs::write(&config, text).unwrap();
    let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/services");
    let tool = r#". "$0/where.sh"; exec "${jvm[@]}" "-Dlog4j2.configurationFile=$0/kafka/log4j2.properties" \
        -cp "$kafka_home/lib/*" kafka.admin.ConfigCommand "$@""#;
    let mut command = Command::new("bash");
    command.args(["-euc", tool]).arg(services);
    command
        .args(["--bootstrap-server", &service.address(), "--command-config"])
        .arg(config);
    command.args([
        "--alter",
        "--entity-type",
        "users",
        "--entity-name",
        user,
        "--add-config",
    ]);
    command.arg(format!("SCRAM-SHA-512=[iterations=4096,password={SECRET}]"));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

async fn start(authority: &Authority, names: &[&str]) -> Service {
    let (certificate, key) = authority.certificate_of(names);
    // The broker tries its certificate on itself before it starts.
    let stores = "ssl.keystore.type=PEM\nssl.keystore.location=keystore.pem\n\
                  ssl.truststore.type=PEM\nssl.truststore.location=ca.pem\n";
    let files = [
        ("own.properties", &*(own_properties("SASL_SSL") + stores)),
        ("keystore.pem", &(key + &certificate)),
        ("ca.pem", &authority.issuer.pem()),
    ];
    Service::with("kafka", &files).await
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_either_mechanism_work_and_what_does_not_fit_is_said() {
    let authority = Authority::new();
    let service = start(&authority, &["localhost", "127.0.0.1"]).await;
    let good = Settings {
        ssl_ca_file: authority.file(),
        ..signed_in(&service.address(), "sasl_ssl")
    };
    works(&good).await;
    add_scram_user(&service, &authority, "eve").await;
    let scram = Settings {
        sasl_mechanism: "SCRAM-SHA-512".into(),
        sasl_username: "eve".into(),
        topic: format!("{}-scram", good.topic),
        ..good.clone()
    };
    works(&scram).await;

    for good in [&good, &scram] {
        let wrong = Settings {
            sasl_password: "wrong-hush-hush".into(),
            ..good.clone()
        };
        is_for_the_operator(&refused(open(&wrong), &[&*good.brokers, "kafka.sasl_password"]).await);
    }
    let other = Authority::new();
    for file in [other.file(), PathBuf::new()] {
        let untrusting = Settings {
            ssl_ca_file: file,
            ..good.clone()
        };
        is_for_the_operator(&refused(open(&untrusting), &[&*good.brokers, "kafka.ssl_ca_file"]).await);
    }
    let empty = Settings {
        ssl_ca_file: other.no_certificate(),
        ..good.clone()
    };
    is_for_the_operator(&refused(open(&empty), &["kafka.ssl_ca_file", "holds no certificate"]).await);
    let plain = Settings {
        security_protocol: "sasl_plaintext".into(),
        ssl_ca_file: PathBuf::new(),
        ..good.clone()
    };
    refused(open(&plain), &[&*good.brokers, "kafka.security_protocol"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_by_another_name_or_without_tls_is_said() {
    let authority = Authority::new();
    let service = start(&authority, ELSEWHERE).await;
    let asked = Settings {
        ssl_ca_file: authority.file(),
        ..signed_in(&service.address(), "sasl_ssl")
    };
    let words = [&*asked.brokers, "kafka.brokers names that stand in it"];
    is_for_the_operator(&refused(open(&asked), &words).await);

    let no_tls = Settings {
        security_protocol: "ssl".into(),
        ssl_ca_file: authority.file(),
        ..settings(&kafka())
    };
    refused(open(&no_tls), &[&*no_tls.brokers, "kafka.security_protocol"]).await;
}
