//! How much one load engine takes in: a writer feeds it ready-made frames as fast as it reads them, and no server is involved.
//!
//! What a fan-out reports is only worth reading while it is well below this.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::Context;
use bytes::BytesMut;
use rookery_actors::id::{ConversationId, DeviceId, UserId};
use rookery_actors::protocol::server::Hello;
use rookery_actors::protocol::view::Message;
use rookery_actors::protocol::websocket::{Opcode, server_frame};
use rookery_actors::protocol::{Codec, Limits, ServerFrame};
use rookery_actors::time::Timestamp;

use crate::cli::Calibrate;
use crate::client::payload::{self, Key};
use crate::fleet::Fleet;
use crate::measure::Op;
use crate::plan::{Acks, ClientPlan, Command, ConversationPlan, Pace, Plan, Size, Who};
use crate::report::Section;
use crate::sys::{CpuClock, interrupted, now_ns};

const RUN: u32 = 1;
/// A sender that is no client of the engine, so that its sends need not be known to it.
const SENDER: u32 = 1_000_000;
const BODY: usize = 100;
const CONNECT_RATE: f64 = 20_000.0;

pub fn calibrate(options: &Calibrate) -> anyhow::Result<Section> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let conversation = ConversationId::fresh();
    let mut fleet = Fleet::start(plan(options, &listener, conversation)?, 1)?;
    fleet.all(&Command::Window {
        from_ns: now_ns(),
        to_ns: u64::MAX,
    })?;
    fleet.connect(&Who::All, CONNECT_RATE, now_ns())?;
    let greeted = (0..options.connections).map(|_| greet(listener.accept()?.0));
    let mut sockets = greeted.collect::<anyhow::Result<Vec<_>>>()?;
    while !fleet.settled(Vec::new())?.is_calm() && !interrupted() {}
    let clock = CpuClock::of(std::process::id())?;
    let (began, used) = (now_ns(), clock.read().unwrap_or(0));
    let written = feed(options, conversation, &mut sockets)?;
    while fleet.measures()?.counts.delivered < written && !interrupted() {}
    let seconds = (now_ns() - began) as f64 / 1e9;
    let used = clock.read().unwrap_or(0) - used;
    let window = fleet.measures()?;
    let title = format!(
        "{} connections, {} messages a write",
        options.connections, options.batch
    );
    let mut section = Section::new("calibrate", &title);
    section.latencies(&window);
    section.counts = window.counts;
    section.figure(
        "deliveries_per_second",
        written as f64 / seconds,
        "/s",
        "taken in, parsed and audited by one engine",
    );
    let about = "processor time of each, the writer's included";
    section.figure(
        "cpu_per_delivery",
        used as f64 / 1000.0 / written.max(1) as f64,
        "us",
        about,
    );
    if let Some(ms) = window.millis(Op::Delivered, 99.0) {
        section.figure("queued_p99", ms, "ms", "how long what was written waited to be read");
    }
    Ok(section)
}

fn plan(options: &Calibrate, listener: &TcpListener, conversation: ConversationId) -> anyhow::Result<Plan> {
    let client = |number| ClientPlan {
        number,
        user: UserId::fresh(),
        token: "none".into(),
        door: number,
        pace: Pace::Fast,
        conversations: vec![0],
    };
    Ok(Plan {
        run: RUN,
        seed: 1,
        doors: vec![listener.local_addr()?],
        sources: Vec::new(),
        acks: Acks::Never,
        size: Size { min: BODY, max: BODY },
        unanswered: 1,
        patience_ms: 0,
        journal: false,
        clients: (0..options.connections).map(client).collect(),
        conversations: vec![ConversationPlan {
            number: 0,
            id: conversation,
            pair: None,
        }],
    })
}

/// Answers one upgrade and says hello.
fn greet(mut socket: TcpStream) -> anyhow::Result<TcpStream> {
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    while !head.ends_with(b"\r\n\r\n") {
        let count = socket.read(&mut piece).context("reading an upgrade")?;
        anyhow::ensure!(count > 0, "a client went away");
        head.extend_from_slice(&piece[..count]);
    }
    let hello = Hello {
        user: UserId::fresh(),
        device: DeviceId::fresh(),
        connection: String::new(),
        node: String::new(),
        heartbeat_s: 30,
        limits: Limits::default(),
    };
    let mut out = BytesMut::from(crate::client::UPGRADED);
    write(&ServerFrame::Hello(Box::new(hello)), &mut out);
    let sync = ServerFrame::Sync {
        conversations: Vec::new(),
        more: false,
    };
    write(&sync, &mut out);
    socket.write_all(&out)?;
    Ok(socket)
}

fn write(frame: &ServerFrame, out: &mut BytesMut) {
    server_frame(Opcode::Text, out, |out| Codec::Json.write(frame, out));
}

/// Writes every message to every socket; the number of deliveries that makes.
fn feed(options: &Calibrate, conversation: ConversationId, sockets: &mut [TcpStream]) -> anyhow::Result<u64> {
    let from = UserId::fresh();
    let batch = options.batch.max(1);
    let mut written = 0;
    let mut bytes = BytesMut::new();
    while written < options.messages && !interrupted() {
        bytes.clear();
        for seq in written + 1..=written + batch {
            write(&message(conversation, from, seq), &mut bytes);
        }
        sockets.iter_mut().try_for_each(|socket| socket.write_all(&bytes))?;
        written += batch;
    }
    Ok(written * sockets.len() as u64)
}

fn message(conversation: ConversationId, from: UserId, seq: u64) -> ServerFrame {
    let key = Key::new(SENDER, seq as u32);
    ServerFrame::Message(Box::new(Message {
        conversation,
        seq,
        id: key.id(RUN).to_string(),
        from,
        at: Timestamp::now(),
        body: payload::body(key, now_ns(), BODY),
        data: None,
        attachments: Vec::new(),
        reply_to: None,
        mentions: Vec::new(),
        edited_at: None,
        deleted: false,
        reactions: Vec::new(),
    }))
}

#[cfg(test)]
mod tests {
    use super::calibrate;
    use crate::cli::Calibrate;

    #[test]
    fn everything_written_is_taken_in() {
        let options = Calibrate {
            connections: 5,
            batch: 7,
            messages: 70,
        };
        let section = calibrate(&options).unwrap();
        assert_eq!((section.counts.delivered, section.counts.replayed), (350, 0));
        assert!(section.value("deliveries_per_second").unwrap() > 0.0);
    }
}
