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

async fn start(authority: &Authority, names: &[&str], properties: &str) -> Service {
    let (certificate, key) = authority.certificate_of(names);
    // The broker tries its certificate on itself before it starts.
    let stores = "ssl.keystore.type=PEM\nssl.keystore.location=keystore.pem\n\
                  ssl.truststore.type=PEM\nssl.truststore.location=ca.pem\n";
    let files = [
        ("own.properties", &*(properties.to_owned() + stores)),
        ("keystore.pem", &(key + &certificate)),
        ("ca.pem", &authority.issuer.pem()),
    ];
    Service::with("kafka", &files).await
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_either_mechanism_work_and_what_does_not_fit_is_said() {
    let authority = Authority::new();
    let service = start(&authority, HERE, &own_properties("SASL_SSL")).await;
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
    let service = start(&authority, ELSEWHERE, &own_properties("SASL_SSL")).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_signs_in_and_without_one_that_is_said() {
    let authority = Authority::new();
    let properties = "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:SSL\nssl.client.auth=required\n";
    let service = start(&authority, HERE, properties).await;
    let signed = |by: &Authority| {
        let (certificate, key) = by.certificate_of(&["ada"]);
        let (certificate_file, key_file) = (by.directory.path().join("ada.pem"), by.directory.path().join("ada.key"));
        std::fs::write(&certificate_file, certificate).unwrap();
        std::fs::write(&key_file, key).unwrap();
        Settings {
            security_protocol: "ssl".into(),
            ssl_ca_file: authority.file(),
            ssl_certificate_file: certificate_file,
            ssl_key_file: key_file,
            append_timeout_ms: 9_000,
            ..settings(&service.address())
        }
    };
    let good = signed(&authority);
    works(&good).await;
    let stranger = Authority::new();
    let nobody = Settings {
        ssl_certificate_file: PathBuf::new(),
        ssl_key_file: PathBuf::new(),
        ..good.clone()
    };
    for settings in [nobody, signed(&stranger)] {
        refused(open(&settings), &[&*good.brokers, "kafka.ssl_certificate_file"]).await;
    }
}
