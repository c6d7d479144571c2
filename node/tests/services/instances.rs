//! The instances themselves: a service of a test's own keeps its address and its data over whatever is done to it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::Service;

/// One command to Redis in its inline form; nothing where nobody answers in time.
fn ask(address: &str, command: &str) -> Option<String> {
    let mut socket = TcpStream::connect(address.strip_prefix("redis://")?).ok()?;
    socket.set_read_timeout(Some(Duration::from_millis(200))).ok()?;
    socket.write_all(format!("{command}\r\n").as_bytes()).ok()?;
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line).ok()?;
    Some(line.trim().to_owned())
}

#[tokio::test]
async fn a_service_can_be_stopped_killed_and_paused() {
    let redis = Service::start("redis").await;
    let address = redis.address();
    assert_eq!(ask(&address, "SET kept yes"), Some("+OK".into()));
    redis.stop().await;
    assert_eq!(ask(&address, "PING"), None);

    redis.start_again().await;
    assert_eq!(redis.address(), address);
    assert_eq!(ask(&address, "STRLEN kept"), Some(":3".into()));
    redis.pause();
    assert_eq!(ask(&address, "PING"), None);
    redis.resume();
    assert_eq!(ask(&address, "PING"), Some("+PONG".into()));

    redis.kill().await;
    assert_eq!(ask(&address, "PING"), None);
}
