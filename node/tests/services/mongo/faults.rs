//! The server is killed under projections: what was confirmed is there, and the replay mends the rest.

use std::sync::Arc;
use std::time::Duration;

use rookery_actors::ports::chats::ChatStore;
use rookery_node::adapters::mongo::{Mongo, MongoChats};

use super::race::{Story, everything, expected, project};
use super::story::Dice;
use crate::support::{self, Service};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_nothing_that_the_log_has() {
    let server = Service::start("mongodb").await;
    let settings = super::settings(server.address(), support::fresh("killed"));
    let store: Arc<dyn ChatStore> = Arc::new(MongoChats::new(Mongo::open(&settings).await.expect("it opens")));
    let mut dice = Dice::new(21);
    let story = Story::made_up(&mut dice, 3, 400);
    let projector = tokio::spawn(project(Arc::clone(&store), Arc::clone(&story), 22));
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.kill().await;
        server.start_again().await;
    }
    projector.await.unwrap();
    // A node that lost its positions replays the whole log.
    project(Arc::clone(&store), Arc::clone(&story), 23).await;
    assert_eq!(everything(store.as_ref(), &story).await, expected(&story).await);
}
