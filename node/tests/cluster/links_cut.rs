//! Two nodes that cannot reach each other, while both reach Redis and the third: what crosses that link waits, and nothing else.

use std::time::Duration;

use crate::support::Server;
use crate::traffic::Traffic;

#[tokio::test]
async fn a_link_that_is_cut_and_mended_loses_doubles_and_reorders_nothing() {
    let (server, link) = Server::wired().await;
    let traffic = Traffic::start(&server).await;
    traffic.goes_on(20).await;
    for _ in 0..2 {
        link.cut();
        // Longer than a lease, and than a silent link is believed in.
        tokio::time::sleep(Duration::from_secs(4)).await;
        traffic.goes_on_in_part(20).await;
        link.mend();
        traffic.goes_on(20).await;
    }
    server.agree().await;
    traffic.end().await;
}
