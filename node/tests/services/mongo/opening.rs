//! What is wrong with the server is said at start, in one sentence.

use rookery_node::adapters::mongo::{Mongo, Settings};

use super::{open, settings, support};

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
async fn opening_twice_makes_the_indexes_once() {
    let database = support::fresh("opening");
    open(&database).await;
    open(&database).await;
}
