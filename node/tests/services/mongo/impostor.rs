//! Something that speaks enough of MongoDB's protocol to be asked who it is: a server that is too old, or that knows nobody.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use mongodb::bson::{Document, deserialize_from_slice, doc, serialize_to_vec};

/// The protocol's numbers for a question of the old kind, its answer, and a message of the new kind.
const QUERY: i32 = 2004;
const REPLY: i32 = 1;
const MESSAGE: i32 = 2013;

/// Starts one that claims this version of the protocol and answers every command but the first greeting with a refusal. It
/// ends with the test's process.
pub fn start(wire_version: i32) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            thread::spawn(move || while answer(&socket, wire_version).is_some() {});
        }
    });
    address
}

fn answer(mut socket: &TcpStream, wire_version: i32) -> Option<()> {
    let mut head = [0; 16];
    socket.read_exact(&mut head).ok()?;
    let number = |at: usize| i32::from_le_bytes(head[at..at + 4].try_into().unwrap());
    let (length, request, kind) = (number(0), number(4), number(12));
    let mut body = vec![0; length as usize - 16];
    socket.read_exact(&mut body).ok()?;
    let question = match kind {
        // Flags, a name that ends with 0, two numbers.
        QUERY => &body[4 + body[4..].iter().position(|byte| *byte == 0)? + 1 + 8..],
        // Flags, the kind of the only section.
        _ => &body[5..],
    };
    let question: Document = deserialize_from_slice(question).unwrap();
    let name = question.keys().next()?.to_lowercase();
    let said = serialize_to_vec(&match name.as_str() {
        "ismaster" | "hello" => greeting(wire_version),
        _ => doc! { "ok": 0, "code": 18, "codeName": "AuthenticationFailed", "errmsg": "Authentication failed." },
    });
    let (kind, before) = match kind {
        QUERY => (REPLY, [vec![0; 16], 1_i32.to_le_bytes().to_vec()].concat()),
        _ => (MESSAGE, vec![0; 5]),
    };
    let said = [before, said.unwrap()].concat();
    let numbers = [16 + said.len() as i32, 1, request, kind];
    let head: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    socket.write_all(&[head, said].concat()).ok()
}

fn greeting(wire_version: i32) -> Document {
    doc! {
        "ok": 1, "ismaster": true, "minWireVersion": 0, "maxWireVersion": wire_version, "maxBsonObjectSize": 16_777_216,
        "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000, "saslSupportedMechs": ["SCRAM-SHA-256"],
    }
}
