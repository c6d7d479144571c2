//! What the controller and the load engines say to each other. The engines may be threads or processes: the same messages
//! travel through a channel or as JSON lines through pipes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use rookery_actors::id::{ConversationId, UserId};
use serde::{Deserialize, Serialize};

use crate::audit::Findings;
use crate::chaos::Sent;
use crate::measure::{Counts, Measures};
use crate::schedule::{Shape, Spacing};

/// Everything an engine needs to know before it opens a socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Marks this run's message ids, so that another run's messages are not mistaken for ours.
    pub run: u32,
    pub seed: u64,
    /// Where clients may come in: each begins with one of them by its number, and takes another when it loses one.
    pub doors: Vec<SocketAddr>,
    /// Source addresses to bind, in turn; empty leaves it to the kernel.
    pub sources: Vec<Ipv4Addr>,
    pub acks: Acks,
    pub size: Size,
    /// Sends of one client that may be unanswered at once; the rest wait their turn, with their old stamps.
    pub unanswered: u32,
    /// A client leaves a connection on which nothing answers it for so long; 0 waits for ever.
    pub patience_ms: u64,
    /// Every send is kept with its times.
    pub journal: bool,
    pub clients: Vec<ClientPlan>,
    pub conversations: Vec<ConversationPlan>,
}

/// One virtual client: one user's one device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientPlan {
    pub number: u32,
    pub user: UserId,
    pub token: String,
    /// Where it comes in first; beyond the doors there are, they are counted round.
    pub door: u32,
    pub pace: Pace,
    /// Numbers of the conversations it is a member of.
    pub conversations: Vec<u32>,
}

/// By which node of a cluster a client comes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Route {
    /// By the one that `GET /api/connect` names: where its session is.
    #[default]
    Home,
    /// By all of them in turn, as behind a balancer that knows nothing of sessions.
    Spread,
}

/// How a client reads its socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    Fast,
    /// At most so many bytes a second: it stays connected and falls behind.
    Slow {
        bytes_per_second: u32,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConversationPlan {
    pub number: u32,
    pub id: ConversationId,
    /// The two users of a direct conversation; none for a group.
    pub pair: Option<[UserId; 2]>,
}

/// When clients say what has reached them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acks {
    Never,
    /// Each client's progress, this often.
    Every {
        ms: u64,
    },
    /// Every message acked and read on its own.
    Each,
}

/// How long bodies are: evenly spread between the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Size {
    pub min: usize,
    pub max: usize,
}

/// Something that goes on for a while at a rate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Activity {
    pub what: What,
    pub rate: f64,
    pub spacing: Spacing,
    pub shape: Shape,
    pub start_ns: u64,
    pub stop_ns: u64,
    pub seed: u64,
}

/// A client and one of its conversations.
pub type Lane = (u32, u32);

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Messages on these lanes: in turn, or drawn at random.
    Send {
        lanes: Vec<Lane>,
        random: bool,
    },
    Typing {
        lanes: Vec<Lane>,
    },
    React {
        lanes: Vec<Lane>,
    },
    History {
        lanes: Vec<Lane>,
    },
    /// Clients that vanish and come back after a while.
    Reconnect {
        clients: Vec<u32>,
        away_ms: (u64, u64),
    },
}

/// Whom a command is for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    All,
    These(Vec<u32>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    Plan(Box<Plan>),
    /// Connect at this rate from that moment, and stay connected.
    Connect {
        who: Who,
        rate: f64,
        start_ns: u64,
    },
    /// Drop sockets without a word, and stay away.
    Cut(Who),
    Start(Activity),
    /// End every activity now.
    Halt,
    /// Send acks that wait.
    Flush,
    Window {
        from_ns: u64,
        to_ns: u64,
    },
    Measures,
    /// Ask what is still open; the heads are what other engines know.
    Settle {
        heads: Vec<(u32, u32)>,
    },
    /// Fresh access tokens.
    Tokens(Vec<(u32, String)>),
    /// The servers are elsewhere now.
    Retarget(Vec<SocketAddr>),
    Evidence,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    Progress(Box<Progress>),
    Measures(Box<Measures>),
    Settled(Box<Settled>),
    Evidence(Box<Evidence>),
    Failed(String),
}

/// How it goes, a few times a second.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    pub at_ns: u64,
    pub online: u64,
    pub unanswered: u64,
    pub total: Counts,
    /// Median and 99th percentile of the last moments, in ms.
    pub sent_ms: Option<(f64, f64)>,
    pub delivered_ms: Option<(f64, f64)>,
    pub violations: u64,
}

/// What is still open.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Settled {
    /// Activities that have not ended.
    pub running: u64,
    pub unanswered: u64,
    /// Clients that should be live and aren't.
    pub offline: u64,
    /// Pairs of client and conversation that lack something.
    pub behind: u64,
    /// Highest seq known of each conversation.
    pub heads: Vec<(u32, u32)>,
}

impl Settled {
    pub fn is_calm(&self) -> bool {
        self.running + self.unanswered + self.offline + self.behind == 0
    }
}

/// What an engine saw, for the audit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    pub total: Counts,
    pub incidents: BTreeMap<String, u64>,
    pub clients: Vec<ClientEvidence>,
    /// Which message each seq of each conversation was seen to be (0: not seen).
    pub ledgers: Vec<(u32, Vec<u64>)>,
    pub findings: Findings,
    /// Every send, where the plan asks for them.
    pub journal: Vec<Sent>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ClientEvidence {
    pub number: u32,
    /// For each message it tried to send: conversation and answered seq.
    pub attempts: Vec<(u32, u32)>,
    /// For each conversation: up to where it has everything, and the first it lacks beyond, if any.
    pub reached: Vec<Reached>,
    /// It was live at the end and reads as fast as it can: it must have everything.
    pub complete: bool,
}

/// A conversation, up to where a client has everything of it, and the first it lacks although it has later ones.
pub type Reached = (u32, u32, Option<u32>);

/// Answered seq of an attempt that has no answer.
pub const UNANSWERED: u32 = 0;
/// Answered seq of an attempt that was refused.
pub const REFUSED: u32 = u32::MAX;
