//! The store of conversations and accounts. The server that stands in for MongoDB has TLS and knows no passwords; who refuses
//! one is in `mongo/opening.rs`.

use rookery_actors::testkit::accounts;
use rookery_node::adapters::mongo::{Mongo, MongoAccounts, Settings};

use super::*;
use crate::support::Service;

fn settings(url: String, authority: &Authority) -> Settings {
    Settings {
        url,
        database: fresh("tls"),
        tls_ca_file: authority.file(),
        command_timeout_ms: 60_000,
        selection_timeout_ms: 30_000,
        connect_timeout_ms: 30_000,
        ..Settings::default()
    }
}

/// The same without patience for what will not come.
fn hasty(settings: &Settings) -> Settings {
    Settings {
        command_timeout_ms: 10_000,
        selection_timeout_ms: 1_000,
        ..settings.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_is_reached_over_tls_and_what_does_not_fit_is_said() {
    let authority = Authority::new();
    let (certificate, key) = authority.certificate();
    let service = Service::with("mongodb", &[("cert.pem", &certificate), ("key.pem", &key)]).await;
    let good = settings(service.address(), &authority);
    let place = good.url.replace("mongodb://", "");
    let fresh = async || {
        let settings = settings(service.address(), &authority);
        Arc::new(MongoAccounts::new(
            Mongo::open(&settings).await.expect("the store opens"),
        )) as _
    };
    accounts::suite(fresh).await;

    let good = hasty(&good);
    let with = |change: &dyn Fn(&mut Settings)| {
        let mut settings = good.clone();
        change(&mut settings);
        async move { Mongo::open(&settings).await }
    };
    let other = Authority::new();
    let untrusted = [&*place, "invalid peer certificate", "mongodb.tls_ca_file"];
    is_for_the_operator(&refused(with(&|it| it.tls_ca_file = other.file()), &untrusted).await);
    let nobody = with(&|it| {
        it.tls_ca_file = PathBuf::new();
        it.url = format!("mongodb://ada:{SECRET}@{place}/?tls=true");
    });
    is_for_the_operator(&refused(nobody, &untrusted).await);
    let empty = with(&|it| it.tls_ca_file = other.no_certificate());
    is_for_the_operator(&refused(empty, &["mongodb.tls_ca_file", "holds no certificate"]).await);
    let plain = with(&|it| it.tls_ca_file = PathBuf::new());
    refused(plain, &[&*place, "not asked for TLS (mongodb.tls_ca_file"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_or_by_another_name_is_said() {
    let authority = Authority::new();
    let asked = hasty(&settings(crate::support::mongodb(), &authority));
    refused(Mongo::open(&asked), &["is asked for TLS", "[mongodb]"]).await;

    let (certificate, key) = authority.certificate_of(ELSEWHERE);
    let elsewhere = Service::with("mongodb", &[("cert.pem", &certificate), ("key.pem", &key)]).await;
    let asked = hasty(&settings(elsewhere.address(), &authority));
    let words = ["not valid for name", "mongodb.url a name that stands in it"];
    is_for_the_operator(&refused(Mongo::open(&asked), &words).await);
}
