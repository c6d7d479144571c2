//! A small HTTP/1.1 client for what the harness does beside the sockets: sign-ups, groups, history. Blocking, keep-alive.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How long one answer may take, unless said otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

/// The head of an answer: its status, its fields, and how many bytes it took.
pub struct Head<'a> {
    pub status: u16,
    pub length: usize,
    fields: &'a str,
}

impl<'a> Head<'a> {
    /// The value of a field, whatever the case of its name.
    pub fn field(&self, name: &str) -> Option<&'a str> {
        self.fields.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Reads the head of an answer; `None` while it isn't whole.
pub fn head(bytes: &[u8]) -> Option<Head<'_>> {
    let length = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..length]).ok()?;
    let (first, fields) = text.split_once("\r\n")?;
    let status = first.split(' ').nth(1)?.parse().ok()?;
    Some(Head { status, length, fields })
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// What went wrong with a request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what}")]
    Io { what: String, source: io::Error },
    #[error("{what} answered {status}: {body}")]
    Refused { what: String, status: u16, body: String },
    #[error("{what} answered what cannot be read")]
    Unreadable { what: String, source: serde_json::Error },
}

/// One keep-alive connection, reopened when the server has closed it; to another of the doors where one is shut.
pub struct Http {
    doors: Vec<SocketAddr>,
    at: usize,
    patience: Duration,
    socket: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Http {
    pub fn new(to: SocketAddr) -> Self {
        Self::among(&[to], 0)
    }

    /// Through any of these doors, the `first` to begin with.
    pub fn among(doors: &[SocketAddr], first: usize) -> Self {
        Self {
            doors: doors.to_vec(),
            at: first % doors.len().max(1),
            patience: PATIENCE,
            socket: None,
            buffer: Vec::new(),
        }
    }

    /// The same, with another patience for each answer.
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// `POST` of JSON, read as JSON.
    pub fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        token: Option<&str>,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let what = format!("POST {path}");
        let body = serde_json::to_vec(body).map_err(|source| Error::Unreadable {
            what: what.clone(),
            source,
        })?;
        read(&what, &self.request("POST", path, token, &body)?)
    }

    /// `GET` of JSON.
    pub fn get<T: DeserializeOwned>(&mut self, path: &str, token: &str) -> Result<T, Error> {
        read(&format!("GET {path}"), &self.request("GET", path, Some(token), &[])?)
    }

    /// Any request; an answer of any status is an answer.
    pub fn request(&mut self, method: &str, path: &str, token: Option<&str>, body: &[u8]) -> Result<Answer, Error> {
        let kept = self.socket.is_some();
        let answer = self.attempt(method, path, token, body);
        let answer = match answer {
            // A kept connection may have been closed meanwhile: once more on a fresh one.
            Err(_) if kept => self.attempt(method, path, token, body),
            answer => answer,
        };
        answer.map_err(|source| Error::Io {
            what: format!("{method} http://{}{path}", self.door()),
            source,
        })
    }

    fn door(&self) -> SocketAddr {
        self.doors[self.at]
    }

    /// A connection through the present door, or the first of the others that opens.
    fn connect(&mut self) -> io::Result<TcpStream> {
        let mut answer = connect(self.door(), self.patience);
        for _ in 1..self.doors.len() {
            if answer.is_ok() {
                break;
            }
            self.at = (self.at + 1) % self.doors.len();
            answer = connect(self.door(), self.patience);
        }
        answer
    }

    fn attempt(&mut self, method: &str, path: &str, token: Option<&str>, body: &[u8]) -> io::Result<Answer> {
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => self.connect()?,
        };
        let bearer = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{bearer}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.door(),
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        socket.write_all(&request)?;
        self.buffer.clear();
        let (answer, keep) = receive(&mut socket, &mut self.buffer)?;
        if keep {
            self.socket = Some(socket);
        }
        Ok(answer)
    }
}

/// The address of `http://host:port`.
pub fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("ws://"));
    let rest = rest.with_context(|| format!("{url}: only http:// is spoken here"))?;
    let authority = rest.split('/').next().unwrap_or(rest);
    let authority = if authority.contains(':') {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let mut found = authority
        .to_socket_addrs()
        .with_context(|| format!("looking up {authority}"))?;
    found.next().with_context(|| format!("{authority} has no address"))
}

fn connect(to: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&to, patience)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(patience))?;
    socket.set_write_timeout(Some(patience))?;
    Ok(socket)
}

fn read<T: DeserializeOwned>(what: &str, answer: &Answer) -> Result<T, Error> {
    if !(200..300).contains(&answer.status) {
        return Err(Error::Refused {
            what: what.into(),
            status: answer.status,
            body: String::from_utf8_lossy(&answer.body).chars().take(300).collect(),
        });
    }
    serde_json::from_slice(&answer.body).map_err(|source| Error::Unreadable {
        what: what.into(),
        source,
    })
}

/// Reads one answer, and whether the connection may be used again.
fn receive(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<(Answer, bool)> {
    let (status, start, body, keep) = loop {
        if let Some(head) = head(buffer) {
            let keep = !head
                .field("connection")
                .is_some_and(|value| value.eq_ignore_ascii_case("close"));
            let chunked = head
                .field("transfer-encoding")
                .is_some_and(|value| value.contains("chunked"));
            let size = head.field("content-length").and_then(|size| size.parse().ok());
            let body = match (chunked, size) {
                (true, _) => Body::Chunked,
                (false, Some(size)) => Body::Sized(size),
                (false, None) if head.status == 204 || head.status == 304 => Body::Sized(0),
                (false, None) => Body::ToEnd,
            };
            break (head.status, head.length, body, keep);
        }
        if more(socket, buffer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let bytes = match body {
        Body::Sized(size) => {
            while buffer.len() < start + size {
                if more(socket, buffer)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            buffer[start..start + size].to_vec()
        }
        Body::ToEnd => {
            while more(socket, buffer)? > 0 {}
            buffer[start..].to_vec()
        }
        Body::Chunked => loop {
            if let Some(bytes) = dechunk(&buffer[start..]) {
                break bytes;
            }
            if more(socket, buffer)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        },
    };
    let keep = keep && !matches!(body, Body::ToEnd);
    Ok((Answer { status, body: bytes }, keep))
}

#[derive(Clone, Copy)]
enum Body {
    Sized(usize),
    Chunked,
    ToEnd,
}

fn more(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let mut piece = [0; 16 * 1024];
    let count = socket.read(&mut piece)?;
    buffer.extend_from_slice(&piece[..count]);
    Ok(count)
}

/// The bytes of a chunked body; `None` while the last chunk has not come.
fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        rest = &rest[line + 2..];
        let chunk = rest.get(..size)?;
        rest = rest.get(size + 2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_whole_and_its_fields_by_any_case() {
        let text = b"HTTP/1.1 201 Created\r\nContent-Length: 3\r\nX-A: b\r\n\r\nabc";
        assert!(head(&text[..30]).is_none());
        let found = head(text).unwrap();
        assert_eq!((found.status, found.length), (201, text.len() - 3));
        assert_eq!((found.field("content-length"), found.field("x-b")), (Some("3"), None));
    }

    #[test]
    fn a_url_names_an_address() {
        assert_eq!(address("http://127.0.0.1:8080/").unwrap().port(), 8080);
        assert_eq!(address("http://127.0.0.1").unwrap().port(), 80);
        assert!(address("https://127.0.0.1").is_err());
    }

    #[test]
    fn a_request_goes_through_another_door_where_one_is_shut() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let shut = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            assert!(socket.read(&mut [0; 1024]).unwrap() > 0);
            socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        });
        let answer = Http::among(&[open, shut], 1).request("GET", "/", None, b"").unwrap();
        assert_eq!(answer.status, 204);
        server.join().unwrap();
    }

    #[test]
    fn chunks_are_joined_once_the_last_has_come() {
        let text = b"4\r\nwiki\r\n5;x=y\r\npedia\r\n0\r\n\r\n";
        assert_eq!(dechunk(text), Some(b"wikipedia".to_vec()));
        assert_eq!(dechunk(&text[..text.len() - 5]), None);
    }
}
