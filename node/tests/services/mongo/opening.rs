//! What is wrong with the server is said at start, in one sentence.

use rookery_node::adapters::mongo::{Mongo, Settings};

use super::{impostor, open, settings, support};

async fn refused(settings: &Settings) -> String {
    match Mongo::open(settings).await {
        Ok(_) => panic!("it opens"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let url = format!("mongodb://ada:hush@{address}");
    let settings = Settings {
        selection_timeout_ms: 300,
        ..settings(url, "rookery".into())
    };
    let said = refused(&settings).await;
    assert!(
        said.starts_with("cannot reach the MongoDB server at 127.0.0.1:"),
        "{said}"
    );
    assert!(!said.contains("hush") && !said.contains('\n'), "{said}");
}

#[tokio::test]
async fn a_server_that_is_too_old_is_told_from_one_that_refuses() {
    let too_old = impostor::start(8);
    let said = refused(&settings(format!("mongodb://{too_old}"), "rookery".into())).await;
    assert!(
        said.starts_with(&format!("the MongoDB server at {too_old} is too old: 4.4")),
        "{said}"
    );
    let stranger = impostor::start(13);
    let url = format!("mongodb://ada:hush@{stranger}");
    let said = refused(&settings(url, "rookery".into())).await;
    assert!(
        said.starts_with(&format!("the MongoDB server at {stranger} refuses the credentials")),
        "{said}"
    );
    assert!(!said.contains("hush"), "{said}");
}

#[tokio::test]
async fn opening_twice_makes_the_indexes_once() {
    let database = support::fresh("opening");
    open(&database).await;
    open(&database).await;
}
