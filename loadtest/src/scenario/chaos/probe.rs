//! Requests over HTTP beside the sockets, one after the other through all nodes, as a balancer would spread them: a node that
//! takes no connection is passed over, anything else that goes wrong is a failed request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::http::Http;

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(50);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Probe {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    requests: AtomicU64,
    failed: AtomicU64,
    failures: Mutex<BTreeMap<String, u64>>,
}

impl Probe {
    /// Reads inboxes of these users until it is dropped.
    pub fn start(doors: Vec<SocketAddr>, tokens: Vec<String>) -> anyhow::Result<Self> {
        let shared = Arc::<Shared>::default();
        let theirs = shared.clone();
        let thread = std::thread::Builder::new().name("probe".into());
        let thread = thread.spawn(move || {
            let turns = (0..doors.len()).cycle().zip(tokens.iter().cycle());
            for (door, token) in turns.take_while(|_| !theirs.ended.load(Ordering::Relaxed)) {
                theirs.ask(&mut Http::among(&doors, door).patient(PATIENCE), token);
                std::thread::sleep(PAUSE);
            }
        })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Requests so far, and those that failed.
    pub fn counts(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.shared.requests), read(&self.shared.failed))
    }

    /// What went wrong, and how often.
    pub fn failures(&self) -> BTreeMap<String, u64> {
        self.shared
            .failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Shared {
    fn ask(&self, http: &mut Http, token: &str) {
        let broken = match http.request("GET", "/api/conversations", Some(token), b"") {
            Ok(answer) if answer.status < 500 => None,
            Ok(answer) => Some(format!("http {}", answer.status)),
            Err(crate::http::Error::Io { source, .. }) => Some(format!("http: {}", source.kind())),
            Err(error) => Some(error.to_string()),
        };
        self.requests.fetch_add(1, Ordering::Relaxed);
        if let Some(broken) = broken {
            self.failed.fetch_add(1, Ordering::Relaxed);
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            *failures.entry(broken).or_default() += 1;
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::Probe;

    #[test]
    fn answers_of_a_broken_server_are_failures_and_shut_doors_are_passed_over() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let shut = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let probe = Probe::start(vec![shut, open], vec!["a".into()]).unwrap();
        for answer in ["HTTP/1.1 200 OK", "HTTP/1.1 503 Service Unavailable"] {
            let (mut socket, _) = listener.accept().unwrap();
            assert!(socket.read(&mut [0; 1024]).unwrap() > 0);
            socket
                .write_all(format!("{answer}\r\nContent-Length: 0\r\n\r\n").as_bytes())
                .unwrap();
        }
        while probe.counts().0 < 2 {
            std::thread::yield_now();
        }
        assert_eq!(probe.failures().get("http 503"), Some(&1));
        assert_eq!(probe.counts(), (2, 1));
        drop(listener);
    }
}
