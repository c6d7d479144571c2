//! A WebSocket client that waits for what it expects, with a deadline, and keeps what it did not ask for.

use std::collections::VecDeque;
use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

pub use super::opening::{Codec, Opening};
use super::user::{number, text};
use super::wire::{Event, masked_frame, read_all, write_all};

/// How long a client waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// An open connection.
pub struct Client {
    pub user: String,
    pub device: String,
    pub hello: Value,
    /// The conversations of the `sync` frames.
    pub sync: Vec<Value>,
    /// The subprotocol the server chose.
    pub protocol: Option<String>,
    codec: Codec,
    out: mpsc::UnboundedSender<Vec<u8>>,
    events: mpsc::UnboundedReceiver<Event>,
    /// Frames that came while something else was waited for.
    kept: VecDeque<Value>,
    reading: watch::Sender<bool>,
    reader: AbortHandle,
    ended: Option<u16>,
    requests: u64,
}

impl Client {
    pub(super) fn over(stream: TokioIo<Upgraded>, protocol: Option<String>) -> Self {
        let codec = match protocol.as_deref() {
            Some("rookery.v1.msgpack") => Codec::MsgPack,
            _ => Codec::Json,
        };
        let (read, write) = tokio::io::split(stream);
        let (out, outgoing) = mpsc::unbounded_channel();
        let (arrived, events) = mpsc::unbounded_channel();
        let (reading, gate) = watch::channel(true);
        tokio::spawn(write_all(write, outgoing));
        let reader = tokio::spawn(read_all(read, codec, arrived, gate, out.clone())).abort_handle();
        Self {
            user: String::new(),
            device: String::new(),
            hello: Value::Null,
            sync: Vec::new(),
            protocol,
            codec,
            out,
            events,
            kept: VecDeque::new(),
            reading,
            reader,
            ended: None,
            requests: 0,
        }
    }

    /// Reads `hello`, which is always first, and the `sync` frames, which always follow.
    pub async fn greet(&mut self) {
        let hello = self.next().await;
        assert_eq!(hello["t"], "hello", "the first frame: {hello}");
        self.user = text(&hello["user"]);
        self.device = text(&hello["device"]);
        self.hello = hello;
        loop {
            let sync = self.next().await;
            assert_eq!(sync["t"], "sync", "after hello: {sync}");
            self.sync.extend(sync["conversations"].as_array().unwrap().clone());
            if sync["more"] == false {
                return;
            }
        }
    }

    /// The `sync` item of a conversation.
    pub fn news(&self, conversation: &str) -> Option<&Value> {
        self.sync.iter().find(|item| item["id"] == conversation)
    }

    // --- writing ---

    pub fn write(&self, frame: &Value) {
        let (opcode, payload) = match self.codec {
            Codec::Json => (0x1, frame.to_string().into_bytes()),
            Codec::MsgPack => (0x2, rmp_serde::to_vec_named(frame).unwrap()),
        };
        self.write_raw(masked_frame(0x80 | opcode, &payload));
    }

    /// Bytes as they are, frame or not.
    pub fn write_raw(&self, bytes: Vec<u8>) {
        self.out.send(bytes).ok();
    }

    /// A frame of that first byte (FIN, RSV, opcode), well masked.
    pub fn write_frame(&self, first: u8, payload: &[u8]) {
        self.write_raw(masked_frame(first, payload));
    }

    /// Writes a `send` without waiting for its answer.
    pub fn write_send(&self, to: Value, id: &str, body: &str) {
        self.write(&json!({"t": "send", "to": to, "id": id, "body": body}));
    }

    pub fn ack(&self, conversation: &str, seq: u64) {
        self.write(&json!({"t": "ack", "conversation": conversation, "seq": seq}));
    }

    pub fn read(&self, conversation: &str, seq: u64) {
        self.write(&json!({"t": "read", "conversation": conversation, "seq": seq}));
    }

    pub fn typing(&self, conversation: &str) {
        self.write(&json!({"t": "typing", "conversation": conversation}));
    }

    /// From now on nothing is read (beyond a frame that is being read already).
    pub fn stop_reading(&self) {
        self.reading.send_replace(false);
    }

    pub fn go_on_reading(&self) {
        self.reading.send_replace(true);
    }

    // --- requests ---

    fn fresh_id(&mut self) -> String {
        self.requests += 1;
        format!("q{}", self.requests)
    }

    /// Makes a request and waits for its answer, which may be an `error`.
    pub async fn request(&mut self, mut frame: Value) -> Value {
        if frame["id"].is_null() {
            frame["id"] = self.fresh_id().into();
        }
        let id = frame["id"].clone();
        self.write(&frame);
        self.expect(&format!("an answer to {frame}"), |answer| {
            answer["t"] != "message" && answer["id"] == id
        })
        .await
    }

    /// Makes a request that must succeed.
    pub async fn ok(&mut self, frame: Value) -> Value {
        let answer = self.request(frame.clone()).await;
        assert_ne!(answer["t"], "error", "{frame} was answered {answer}");
        answer
    }

    /// Makes a request that must be refused with this code.
    pub async fn refused(&mut self, frame: Value, code: &str) -> Value {
        let answer = self.request(frame.clone()).await;
        assert_eq!(answer["t"], "error", "{frame} was answered {answer}");
        assert_eq!(answer["code"], code, "{frame} was answered {answer}");
        assert!(answer["message"].is_string(), "{answer}");
        answer
    }

    /// Sends a text to a conversation; answers its seq.
    pub async fn say(&mut self, conversation: &str, body: &str) -> u64 {
        let id = format!("{}-{}", uuid::Uuid::now_v7(), self.requests);
        let to = json!({"conversation": conversation});
        let sent = self.ok(json!({"t": "send", "to": to, "id": id, "body": body})).await;
        assert_eq!(sent["t"], "sent", "{sent}");
        number(&sent["seq"])
    }

    /// Sends the same text under the ids `m<n>`, as many at once as a user may have unanswered, and waits for every answer.
    pub async fn pour(&mut self, conversation: &str, numbers: std::ops::RangeInclusive<u64>, body: &str) {
        /// Below the server's limit of 64, so that none is refused.
        const AT_ONCE: usize = 48;
        let mut unanswered = 0;
        for n in numbers {
            if unanswered == AT_ONCE {
                self.expect_t("sent").await;
                unanswered -= 1;
            }
            self.write_send(json!({"conversation": conversation}), &format!("m{n}"), body);
            unanswered += 1;
        }
        for _ in 0..unanswered {
            self.expect_t("sent").await;
        }
    }

    /// Returns when the server has taken everything written so far, having answered it.
    pub async fn settle(&mut self) {
        let pong = self.request(json!({"t": "ping"})).await;
        assert_eq!(pong["t"], "pong", "{pong}");
    }

    // --- reading ---

    /// The next frame, kept ones first.
    pub async fn next(&mut self) -> Value {
        match self.kept.pop_front() {
            Some(frame) => frame,
            None => self.arriving("the next frame").await,
        }
    }

    /// The first frame that matches, those kept included; others are kept.
    pub async fn expect(&mut self, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        if let Some(index) = self.kept.iter().position(&matches) {
            return self.kept.remove(index).unwrap();
        }
        loop {
            let frame = self.arriving(what).await;
            if matches(&frame) {
                return frame;
            }
            self.kept.push_back(frame);
        }
    }

    /// The next frame of a kind.
    pub async fn expect_t(&mut self, t: &str) -> Value {
        self.expect(&format!("a {t}"), |frame| frame["t"] == t).await
    }

    /// The next message of a conversation.
    pub async fn message(&mut self, conversation: &str) -> Value {
        let what = format!("a message of {conversation}");
        self.expect(&what, |frame| {
            frame["t"] == "message" && frame["conversation"] == conversation
        })
        .await
    }

    /// The next update of a conversation.
    pub async fn update(&mut self, conversation: &str) -> Value {
        let what = format!("an update of {conversation}");
        self.expect(&what, |frame| {
            frame["t"] == "update" && frame["conversation"] == conversation
        })
        .await
    }

    /// Everything of a conversation from `first` to `last`, each seq once and in order, whether as a message, an update or
    /// within a gap.
    pub async fn stream(&mut self, conversation: &str, first: u64, last: u64) -> Vec<Value> {
        let sequenced = |frame: &Value| {
            ["message", "update", "gap"].iter().any(|t| frame["t"] == *t) && frame["conversation"] == conversation
        };
        let mut frames = Vec::new();
        let mut due = first;
        while due <= last {
            let frame = self.expect(&format!("seq {due} of {conversation}"), sequenced).await;
            let (from, to) = match frame["t"].as_str() {
                Some("gap") => (number(&frame["from"]), number(&frame["to"])),
                _ => (number(&frame["seq"]), number(&frame["seq"])),
            };
            assert_eq!(from, due, "seq {due} of {conversation} is next, not {frame}");
            due = to + 1;
            frames.push(frame);
        }
        frames
    }

    /// Takes out the frames of a kind that have come by the way.
    pub fn kept(&mut self, t: &str) -> Vec<Value> {
        let (wanted, rest) = self.kept.drain(..).partition(|frame| frame["t"] == t);
        self.kept = rest;
        Vec::from(wanted as VecDeque<Value>)
    }

    /// Asserts that nothing of a kind has come, having given the server time to answer everything.
    pub async fn has_no(&mut self, t: &str) {
        self.settle().await;
        let found = self.kept(t);
        assert!(found.is_empty(), "unexpected: {found:?}");
    }

    async fn arriving(&mut self, what: &str) -> Value {
        match tokio::time::timeout(PATIENCE, self.heard()).await {
            Ok(Ok(frame)) => frame,
            Ok(Err(Some(code))) => self.lost(what, &format!("closed with {code}")),
            Ok(Err(None)) => self.lost(what, "broken"),
            Err(_) => self.lost(what, &format!("did not come within {PATIENCE:?}")),
        }
    }

    /// The frame that comes next, kept ones aside, or how the socket ended: with which code, if with any.
    pub async fn heard(&mut self) -> Result<Value, Option<u16>> {
        loop {
            match self.events.recv().await {
                Some(Event::Object(frame)) => return Ok(frame),
                Some(Event::Pong(_)) => {}
                Some(Event::Closed(code)) => {
                    self.ended = Some(code);
                    return Err(Some(code));
                }
                Some(Event::Broken(_)) | None => return Err(None),
            }
        }
    }

    async fn event(&mut self, what: &str) -> Event {
        match tokio::time::timeout(PATIENCE, self.events.recv()).await {
            Ok(Some(event)) => event,
            Ok(None) => Event::Broken("ended before".into()),
            Err(_) => self.lost(what, &format!("did not come within {PATIENCE:?}")),
        }
    }

    fn lost(&self, what: &str, why: &str) -> ! {
        panic!("{}: waiting for {what}: {why}; kept: {:?}", self.user, self.kept)
    }

    /// Waits for a WebSocket pong with that payload.
    pub async fn pong(&mut self, payload: &[u8]) {
        loop {
            match self.event("a websocket pong").await {
                Event::Pong(got) if got == payload => return,
                Event::Closed(code) => self.lost("a pong", &format!("closed with {code}")),
                Event::Broken(why) => self.lost("a pong", &why),
                Event::Object(frame) => self.kept.push_back(frame),
                Event::Pong(_) => {}
            }
        }
    }

    /// Waits until the server closes the socket; answers the code. Frames before it are kept.
    pub async fn closed(&mut self) -> u16 {
        if let Some(code) = self.ended {
            return code;
        }
        loop {
            match self.event("a close").await {
                Event::Closed(code) => {
                    self.ended = Some(code);
                    return code;
                }
                Event::Broken(why) => self.lost("a close frame", &why),
                Event::Object(frame) => self.kept.push_back(frame),
                Event::Pong(_) => {}
            }
        }
    }

    /// Whether the server has closed the socket, as far as is known without waiting.
    pub fn has_ended(&mut self) -> bool {
        while let Ok(event) = self.events.try_recv() {
            match event {
                Event::Closed(code) => self.ended = Some(code),
                Event::Broken(why) => self.ended = self.ended.or_else(|| self.lost("nothing", &why)),
                Event::Object(frame) => self.kept.push_back(frame),
                Event::Pong(_) => {}
            }
        }
        self.ended.is_some()
    }

    /// Reads until the stream is gone in whatever way; answers the frames and the close code, if there was one.
    pub async fn drain(&mut self) -> (Vec<Value>, Option<u16>) {
        let mut frames: Vec<Value> = self.kept.drain(..).collect();
        loop {
            match self.event("the end").await {
                Event::Object(frame) => frames.push(frame),
                Event::Closed(code) => self.ended = Some(code),
                Event::Broken(_) => return (frames, self.ended),
                Event::Pong(_) => {}
            }
        }
    }

    /// Says goodbye and waits for the server's.
    pub async fn close(mut self) {
        self.write_frame(0x88, &1000u16.to_be_bytes());
        assert_eq!(self.closed().await, 1000, "a goodbye is answered alike");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
