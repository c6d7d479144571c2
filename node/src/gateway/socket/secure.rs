//! TLS under one socket: between the plain bytes of its frames and what is on the wire. Pure: the socket is a `Read` or `Write`.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::mem::take;

use rustls::ServerConnection;

pub struct Secure {
    session: ServerConnection,
    /// The last byte that was taken is encrypted, and not told as written yet.
    owed: bool,
}

impl Secure {
    /// After the handshake.
    pub fn new(session: ServerConnection) -> Self {
        Self { session, owed: false }
    }

    /// Encrypts and writes. What it says it wrote the socket has, but for the last byte of a write that the socket did not
    /// take whole: that is told once it has. So whoever writes knows that there is more to be done, waits for the socket, and
    /// takes the frame of that byte for begun, as it is.
    pub fn write(&mut self, slices: &[IoSlice<'_>], socket: &mut impl Write) -> io::Result<usize> {
        self.flush(socket)?;
        if take(&mut self.owed) {
            return Ok(1);
        }
        let taken = self.session.writer().write_vectored(slices)?;
        match self.flush(socket) {
            Ok(()) => Ok(taken),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.owed = true;
                if taken > 1 { Ok(taken - 1) } else { Err(error) }
            }
            Err(error) => Err(error),
        }
    }

    /// Reads and decrypts. 0 is the end, said by TLS or not: whether the client meant it the WebSocket knows.
    pub fn read(&mut self, buffer: &mut [u8], socket: &mut (impl Read + Write)) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            self.session.read_tls(socket)?;
            let processed = self.session.process_new_packets();
            // An alert, or the answer to an update of keys. Where the socket takes it not at once, it goes with the next write.
            let flushed = self.flush(socket);
            processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            match flushed {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }

    /// What is decrypted already and was not read.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        match self.session.reader().read_to_end(&mut rest) {
            Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::UnexpectedEof) => Err(error),
            _ => Ok(rest),
        }
    }

    /// Says that nothing more will come.
    pub fn finish(&mut self, socket: &mut impl Write) {
        self.session.send_close_notify();
        // A client that does not take it learns by the end of the stream.
        self.flush(socket).ok();
    }

    fn flush(&mut self, socket: &mut impl Write) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};

    use super::*;

    /// What is on its way in one direction, and how much the socket takes.
    struct Pipe {
        bytes: Vec<u8>,
        room: usize,
    }

    impl Read for Pipe {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.bytes.is_empty() {
                return Err(ErrorKind::WouldBlock.into());
            }
            let count = buffer.len().min(self.bytes.len());
            buffer[..count].copy_from_slice(&self.bytes[..count]);
            self.bytes.drain(..count);
            Ok(count)
        }
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room.saturating_sub(self.bytes.len()));
            if count == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.bytes.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Both ends after their handshake.
    fn pair() -> (Secure, ClientConnection) {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(own.cert.der().clone()).unwrap();
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        while client.is_handshaking() || server.is_handshaking() || client.wants_write() || server.wants_write() {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            wire.clear();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets().unwrap();
        }
        (Secure::new(server), client)
    }

    /// What the client reads of everything that is on its way.
    fn heard(client: &mut ClientConnection, wire: &mut Pipe) -> Vec<u8> {
        let mut heard = Vec::new();
        while !wire.bytes.is_empty() {
            client.read_tls(wire).unwrap();
            client.process_new_packets().unwrap();
            client.reader().read_to_end(&mut heard).ok();
        }
        heard
    }

    #[test]
    fn a_slow_socket_gets_every_byte_once_and_the_writer_hears_of_the_last_when_it_is_there() {
        let (mut server, mut client) = pair();
        let mut wire = Pipe {
            bytes: Vec::new(),
            room: 700,
        };
        let all: Vec<u8> = (0..40_000_u32).map(|n| n as u8).collect();
        let (mut written, mut read, mut blocked) = (0, Vec::new(), 0);
        while written < all.len() {
            match server.write(&[IoSlice::new(&all[written..])], &mut wire) {
                Ok(count) => written += count,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    assert!(written < all.len(), "who is blocked has something left to write");
                    blocked += 1;
                    read.extend(heard(&mut client, &mut wire));
                }
            }
        }
        read.extend(heard(&mut client, &mut wire));
        assert!(blocked > 10, "{blocked}");
        assert!(read == all, "{} bytes of {}", read.len(), all.len());
    }

    #[test]
    fn it_reads_what_came_however_small_the_buffer_and_then_says_that_there_is_no_more() {
        let (mut server, mut client) = pair();
        let mut wire = Pipe {
            bytes: Vec::new(),
            room: usize::MAX,
        };
        client.writer().write_all(b"hello there").unwrap();
        client.write_tls(&mut wire).unwrap();
        let mut buffer = [0; 5];
        assert_eq!(server.read(&mut buffer, &mut wire).unwrap(), 5);
        assert_eq!(&buffer, b"hello");
        assert_eq!(server.rest().unwrap(), b" there");
        let nothing = server.read(&mut buffer, &mut wire).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        client.send_close_notify();
        client.write_tls(&mut wire).unwrap();
        assert_eq!(server.read(&mut buffer, &mut wire).unwrap(), 0);
    }

    #[test]
    fn bytes_that_are_no_tls_end_it() {
        let (mut server, _) = pair();
        let mut wire = Pipe {
            bytes: b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            room: usize::MAX,
        };
        let error = server.read(&mut [0; 64], &mut wire).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }
}
