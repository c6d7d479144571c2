//! The bytes of a client's WebSocket: one task reads (fastwebsockets' `read_frame` is not cancel safe), one writes whatever it
//! is given, frames or not.

use fastwebsockets::{OpCode, Role, WebSocket};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};

use super::opening::Codec;

/// What the reading task saw.
pub enum Event {
    Object(Value),
    Pong(Vec<u8>),
    /// A close frame: its code (1005 when there is none).
    Closed(u16),
    /// The stream ended without a close frame.
    Broken(String),
}

/// A client's frame: masked, as RFC 6455 wants it.
pub fn masked_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

pub async fn write_all(mut stream: WriteHalf<TokioIo<Upgraded>>, mut outgoing: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(bytes) = outgoing.recv().await {
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
        stream.flush().await.ok();
    }
}

pub async fn read_all(
    stream: ReadHalf<TokioIo<Upgraded>>,
    codec: Codec,
    arrived: mpsc::UnboundedSender<Event>,
    mut gate: watch::Receiver<bool>,
    out: mpsc::UnboundedSender<Vec<u8>>,
) {
    let mut socket = WebSocket::after_handshake(tokio::io::join(stream, tokio::io::sink()), Role::Client);
    socket.set_auto_close(false);
    socket.set_auto_pong(false);
    let broken = loop {
        if gate.wait_for(|reading| *reading).await.is_err() {
            break "the client is gone".into();
        }
        let frame = match socket.read_frame().await {
            Ok(frame) => frame,
            Err(error) => break error.to_string(),
        };
        assert!(frame.fin, "the server does not fragment");
        let event = match (frame.opcode, codec) {
            (OpCode::Text, Codec::Json) => Event::Object(serde_json::from_slice(&frame.payload).unwrap()),
            (OpCode::Binary, Codec::MsgPack) => Event::Object(rmp_serde::from_slice(&frame.payload).unwrap()),
            (OpCode::Pong, _) => Event::Pong(frame.payload.to_vec()),
            (OpCode::Ping, _) => {
                out.send(masked_frame(0x8a, &frame.payload)).ok();
                continue;
            }
            (OpCode::Close, _) => {
                out.send(masked_frame(0x88, &frame.payload)).ok();
                Event::Closed(
                    frame
                        .payload
                        .get(..2)
                        .map_or(1005, |code| u16::from_be_bytes([code[0], code[1]])),
                )
            }
            (opcode, _) => panic!("a {opcode:?} frame under {codec:?}"),
        };
        let closing = matches!(event, Event::Closed(_));
        arrived.send(event).ok();
        if closing {
            socket.into_inner().into_inner().0.read_u8().await.ok();
            break "closed".into();
        }
    };
    arrived.send(Event::Broken(broken)).ok();
}
