//! A shard as this node sees it: whether it is served here ([`life`]), what was appended and not read back yet, what was read back and not stored yet, and the supervisor
//! of everything that is active in it.
//!
//! Read-back is usually free: a report of an own append that names exactly the next offset is applied from memory. Only a
//! hole (another writer's record, an append of unknown outcome) is filled by reading the log.
//!
//! A record of a later release, which this one does not understand, is not passed: what is behind it stays unread, and the
//! shard is not served here. Two nodes of which one skipped a record would make two histories.

pub mod life;
mod readback;
mod watermark;

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use rookery_cluster::id::ShardId;

use self::life::{Life, Opening};
use self::readback::Readback as Order;
use self::watermark::Watermark;
use crate::conversation::actor::{Body, Msg, Readback};
use crate::conversation::command::Record;
use crate::conversation::record::Undecodable;
use crate::defaults;
use crate::hub::Hub;
use crate::id::ConversationId;
use crate::interchange::Origin;
use crate::ports::log::{self, Offset, Report, Reports};
use crate::ports::{PortError, PortResult};
use crate::supervisor::Supervisor;

/// One shard.
pub struct Shard {
    pub id: ShardId,
    pub supervisor: Supervisor,
    pub life: Life,
    inner: Mutex<Inner>,
    watermark: Mutex<Watermark>,
}

struct Inner {
    order: Order<Due>,
    pending: HashMap<u64, Pending>,
    next_token: u64,
    /// An append of unknown outcome may stand in the log.
    doubtful: bool,
    /// Records of others stand in the log up to here, at least.
    grown: Offset,
    /// A task is reading the log already.
    filling: bool,
    /// Appends are taken.
    taking: bool,
    /// Records are read back.
    reading: bool,
    /// Counts the times the shard was opened: what an earlier time left behind does nothing any more.
    life: u64,
}

struct Pending {
    record: Box<Record>,
    origin: Origin,
}

struct Due {
    conversation: ConversationId,
    record: Body,
    origin: Origin,
}

/// Takes the log's reports to their shards.
pub struct Courier {
    pub core: Weak<Hub>,
}

impl Reports for Courier {
    fn appended(&self, shard: ShardId, reports: Vec<Report>) {
        if let Some(core) = self.core.upgrade() {
            core.shards[usize::from(shard.0)].reported(&core, reports);
        }
    }

    fn grew(&self, shard: ShardId, end: Offset) {
        if let Some(core) = self.core.upgrade() {
            core.shards[usize::from(shard.0)].grew(&core, end);
        }
    }
}

impl Inner {
    fn is_short_of(&self, end: Offset) -> bool {
        self.reading && self.order.next() < end
    }

    /// Whether records have to be read from the log. One of unknown outcome is looked for when no own append is under way:
    /// a report to come would show it as a hole. So are those of other writers.
    fn wants_reading(&self) -> bool {
        let unseen = self.doubtful || self.grown > self.order.next();
        self.reading && (self.order.hole().is_some() || (unseen && self.pending.is_empty()))
    }

    /// Own records behind a hole, which nobody fills any more.
    fn stranded(&mut self) -> impl Iterator<Item = (Box<Record>, Origin)> + use<> {
        let own = |due: Due| match due.record {
            Body::Own(record) => Some((record, due.origin)),
            Body::Foreign(_) => None,
        };
        self.order.give_up().into_iter().filter_map(own)
    }
}

impl Shard {
    /// A shard that is not served yet.
    pub fn new(id: ShardId, supervisor: Supervisor) -> Self {
        let inner = Inner {
            order: Order::new(0),
            pending: HashMap::new(),
            next_token: 0,
            doubtful: false,
            grown: 0,
            filling: false,
            taking: false,
            reading: false,
            life: 0,
        };
        Self {
            id,
            supervisor,
            life: Life::default(),
            inner: Mutex::new(inner),
            watermark: Mutex::new(Watermark::new(0)),
        }
    }

    /// Starts anew where the store has everything below `committed`; false when the shard was lost meanwhile.
    pub fn begin(&self, opening: Opening, committed: Offset) -> bool {
        let mut inner = self.inner.lock();
        if !self.life.is_opening(opening) {
            return false;
        }
        let life = inner.life + 1;
        *inner = Inner {
            order: Order::new(committed),
            pending: HashMap::new(),
            next_token: inner.next_token,
            doubtful: false,
            grown: 0,
            filling: false,
            taking: true,
            reading: true,
            life,
        };
        *self.watermark.lock() = Watermark::new(committed);
        true
    }

    /// Takes no more appends; what is under way is still reported.
    pub fn stop_appends(&self) {
        self.inner.lock().taking = false;
    }

    /// Whether everything that was appended here is read back.
    pub fn is_settled(&self) -> bool {
        let inner = self.inner.lock();
        inner.pending.is_empty() && !inner.filling && !inner.wants_reading()
    }

    /// Ends this life of the shard. Answers who waits for what may or may not stand in the log, or stands there behind a hole.
    pub fn end(&self) -> Vec<(Box<Record>, Origin)> {
        let mut inner = self.inner.lock();
        inner.filling = false;
        inner.taking = false;
        inner.reading = false;
        inner.life += 1;
        let mut pending: Vec<_> = std::mem::take(&mut inner.pending).into_iter().collect();
        // As they were appended, so that each goes on in its turn.
        pending.sort_unstable_by_key(|(token, _)| *token);
        let pending = pending.into_iter().map(|(_, it)| (it.record, it.origin));
        inner.stranded().chain(pending).collect()
    }

    /// Appends a record; it comes back to its conversation when it is durable. Given back, with who waits for it, when the
    /// shard takes none any more.
    pub fn append(&self, core: &Hub, record: Record, origin: Origin) -> Result<(), Box<(Record, Origin)>> {
        let payload = record.encode();
        let token = {
            let mut inner = self.inner.lock();
            if !inner.taking {
                return Err(Box::new((record, origin)));
            }
            inner.next_token += 1;
            let token = inner.next_token;
            inner.pending.insert(
                token,
                Pending {
                    record: Box::new(record),
                    origin,
                },
            );
            token
        };
        core.log.append(self.id, payload, token);
        Ok(())
    }

    fn reported(&self, core: &Arc<Hub>, reports: Vec<Report>) {
        let mut failed = Vec::new();
        let mut inner = self.inner.lock();
        for Report { token, outcome } in reports {
            let Some(Pending { record, origin }) = inner.pending.remove(&token) else {
                continue;
            };
            match outcome {
                Ok(offset) => {
                    let conversation = record.conversation;
                    inner.order.take(
                        offset,
                        Due {
                            conversation,
                            record: Body::Own(record),
                            origin,
                        },
                    );
                }
                Err(error) => failed.push((record, origin, error)),
            }
        }
        inner.doubtful |= failed.iter().any(|(.., error)| matches!(error, PortError::Unknown(_)));
        self.hand_out(core, &mut inner);
        self.read_if_wanted(core, &mut inner);
        drop(inner);
        for (record, origin, error) in failed {
            core.conversations
                .tell(core, record.conversation, Msg::Failed(record, origin, error));
        }
    }

    /// Other writers' records stand in the log up to `end`.
    fn grew(&self, core: &Arc<Hub>, end: Offset) {
        let mut inner = self.inner.lock();
        inner.grown = inner.grown.max(end);
        self.read_if_wanted(core, &mut inner);
    }

    fn read_if_wanted(&self, core: &Arc<Hub>, inner: &mut Inner) {
        if inner.wants_reading() && !std::mem::replace(&mut inner.filling, true) {
            core.runtime.spawn(fill(Arc::clone(core), self.id, inner.life));
        }
    }

    /// Sends what is due to its conversations, in log order. Called under the lock, so that nothing overtakes.
    fn hand_out(&self, core: &Arc<Hub>, inner: &mut Inner) {
        let due = inner.order.due();
        if due.is_empty() {
            return;
        }
        let mut watermark = self.watermark.lock();
        let mut runs: Vec<(ConversationId, Vec<Readback>)> = Vec::new();
        for (
            offset,
            Due {
                conversation,
                record,
                origin,
            },
        ) in due
        {
            watermark.start(offset);
            let readback = Readback { offset, record, origin };
            match runs.iter_mut().find(|(known, _)| *known == conversation) {
                Some((_, run)) => run.push(readback),
                None => runs.push((conversation, vec![readback])),
            }
        }
        drop(watermark);
        for (conversation, run) in runs {
            core.conversations.tell(core, conversation, Msg::Apply(run));
        }
    }

    /// Records whose effects are stored.
    pub fn finish(&self, offsets: &[Offset]) {
        let mut watermark = self.watermark.lock();
        offsets.iter().for_each(|offset| watermark.finish(*offset));
    }

    /// The position to commit, when it moved.
    pub fn advance(&self) -> Option<Offset> {
        self.watermark.lock().advance()
    }

    /// Everything before this was handed out.
    pub fn next(&self) -> Offset {
        self.inner.lock().order.next()
    }

    /// Takes records read from the log, as far as they are below an offset. An error names one that must not be passed.
    fn read_back(
        &self,
        core: &Arc<Hub>,
        inner: &mut Inner,
        records: Vec<log::Record>,
        below: Offset,
    ) -> PortResult<()> {
        if !inner.reading {
            return Ok(());
        }
        let mut passed = Ok(());
        for log::Record { offset, payload } in records {
            if offset < below && inner.order.lacks(offset) {
                let conversation = match owner_of(&payload) {
                    Ok(conversation) => conversation,
                    Err(why) => {
                        passed = Err(self.impassable(offset, &why));
                        break;
                    }
                };
                let due = Due {
                    conversation,
                    record: Body::Foreign(payload),
                    origin: Origin::Nobody,
                };
                inner.order.take(offset, due);
            }
        }
        self.hand_out(core, inner);
        passed
    }

    fn impassable(&self, offset: Offset, why: &Undecodable) -> PortError {
        let shard = self.id;
        PortError::Broken(format!(
            "shard {shard}: record {offset} of the log cannot be understood, and the shard not be served here: {why}"
        ))
    }

    /// Takes records read to fill a hole; true when nothing is missing any more, or the shard was closed meanwhile.
    fn filled(&self, core: &Arc<Hub>, life: u64, records: Vec<log::Record>) -> PortResult<bool> {
        let mut inner = self.inner.lock();
        if inner.life != life {
            return Ok(true);
        }
        let all = records.len() < defaults::REPLAY_RECORDS;
        let below = inner.order.readable_below(!inner.pending.is_empty());
        if let Err(error) = self.read_back(core, &mut inner, records, below) {
            let stranded: Vec<_> = inner.stranded().collect();
            drop(inner);
            for (record, origin) in stranded {
                let unknown = PortError::Unknown("it stands behind a record that is not understood".into());
                core.conversations
                    .tell(core, record.conversation, Msg::Failed(record, origin, unknown));
            }
            return Err(error);
        }
        inner.doubtful &= !(all && inner.pending.is_empty());
        if !inner.wants_reading() {
            inner.filling = false;
        }
        Ok(!inner.filling)
    }

    /// Reads everything from the committed position to the end: what a crash left unstored.
    pub async fn recover(&self, core: &Arc<Hub>, end: Offset) -> PortResult<()> {
        while self.inner.lock().is_short_of(end) {
            let records = core.log.read(self.id, self.next(), defaults::REPLAY_RECORDS).await?;
            if records.is_empty() {
                return Err(PortError::Broken(format!(
                    "shard {}: the log ends before {end}",
                    self.id
                )));
            }
            self.read_back(core, &mut self.inner.lock(), records, end)?;
        }
        Ok(())
    }
}

/// The conversation of a record. One that is damaged goes to nobody's conversation, which skips it with an error; one of a
/// later release is the error.
fn owner_of(payload: &Bytes) -> Result<ConversationId, Undecodable> {
    match Record::decode(payload.clone()) {
        Ok(record) => Ok(record.conversation),
        Err(Undecodable::Damaged(_)) => Ok(ConversationId(uuid::Uuid::nil())),
        Err(later) => Err(later),
    }
}

/// Fills a hole by reading the log until nothing is missing.
async fn fill(core: Arc<Hub>, shard: ShardId, life: u64) {
    let shard = &core.shards[usize::from(shard.0)];
    loop {
        let read = core.log.read(shard.id, shard.next(), defaults::REPLAY_RECORDS).await;
        match read.and_then(|records| shard.filled(&core, life, records)) {
            Ok(true) => return,
            Ok(false) => {}
            Err(_) if shard.inner.lock().life != life => return,
            Err(error) => {
                error.log(format_args!("read shard {} of the log back; trying again", shard.id));
                let pause = match error {
                    PortError::Broken(_) => defaults::CLOSE_WAIT,
                    _ => defaults::FILL_RETRY,
                };
                tokio::time::sleep(pause).await;
            }
        }
    }
}
