//! Moved cursors on their way to the store and, as receipts, to the other members; and sessions whose time is over.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::state::{Device, Standing, State};
use super::table::Cell;
use crate::defaults;
use crate::hub::Hub;
use crate::id::{ConversationId, DeviceId, UserId};
use crate::interchange::{Ask, Origin, Question};
use crate::ports::chats::CursorUpdate;
use crate::time::Timestamp;

/// What waits to be saved.
#[derive(Default)]
pub struct Cursors {
    /// Sessions with moved cursors.
    dirty: Mutex<Vec<Arc<Cell>>>,
    /// Updates the store refused, to be tried again.
    unsaved: Mutex<HashMap<(UserId, ConversationId), CursorUpdate>>,
    /// Who was seen last when.
    seen: Mutex<Vec<(UserId, DeviceId, Timestamp)>>,
}

impl Cursors {
    /// A session's cursors moved.
    pub fn mark(&self, cell: &Arc<Cell>) {
        if !cell.dirty.swap(true, Ordering::AcqRel) {
            self.dirty.lock().push(Arc::clone(cell));
        }
    }

    /// A device was connected until now.
    pub fn seen(&self, user: UserId, device: DeviceId, at: Timestamp) {
        self.seen.lock().push((user, device, at));
    }
}

/// Saves cursors, sends receipts and expires sessions at regular times, until the core is gone.
pub async fn run(core: Weak<Hub>) {
    let mut ticks = tokio::time::interval(defaults::CURSOR_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(core) = core.upgrade() else { return };
        let now = Timestamp::now();
        core.save_cursors(now).await;
        core.expire_sessions(now);
    }
}

impl Hub {
    /// Makes durable what moved since the last time, then tells the other members: who asks another node, which knows what is
    /// stored, finds no less than it was told.
    pub async fn save_cursors(self: &Arc<Self>, now: Timestamp) {
        let dirty = std::mem::take(&mut *self.cursors.dirty.lock());
        let mut updates = std::mem::take(&mut *self.cursors.unsaved.lock());
        let mut told = Vec::new();
        for cell in dirty {
            cell.dirty.store(false, Ordering::Release);
            let (moved, receipts, again) = cell.state().moved(cell.user, now);
            for update in moved {
                merge(&mut updates, update);
            }
            if again {
                self.cursors.mark(&cell);
            }
            told.push((cell, receipts));
        }
        self.store_cursors(updates).await;
        for (cell, receipts) in told {
            for receipt in receipts {
                self.tell_receipt(&cell, receipt);
            }
        }
        self.save_seen().await;
    }

    /// Has the conversation's owner pass a receipt on. Where there is no way to it now, it is said again later.
    fn tell_receipt(self: &Arc<Self>, cell: &Arc<Cell>, (conversation, delivered, read): (ConversationId, u64, u64)) {
        let user = cell.user;
        let ask = Ask {
            conversation,
            origin: Origin::Nobody,
            question: Question::Receipt { user, delivered, read },
        };
        if self.router.is_local(self.shard(conversation.as_bytes()).id) {
            self.ask(ask);
        } else if self.mention(ask).is_err() {
            cell.state().owe_receipt(conversation);
            self.cursors.mark(cell);
        }
    }

    /// What the store refuses is tried again with the next.
    async fn store_cursors(&self, updates: HashMap<(UserId, ConversationId), CursorUpdate>) {
        if updates.is_empty() {
            return;
        }
        let all = updates.values().cloned().collect();
        if self.chats.save_cursors(all).await.is_err() {
            let mut unsaved = self.cursors.unsaved.lock();
            updates.into_values().for_each(|update| merge(&mut unsaved, update));
        }
    }

    async fn save_seen(&self) {
        let seen = std::mem::take(&mut *self.cursors.seen.lock());
        if seen.is_empty() {
            return;
        }
        let users = seen.iter().map(|(user, _, at)| (*user, *at)).collect();
        let devices = seen.iter().map(|(_, device, at)| (*device, *at)).collect();
        if let Err(error) = self.accounts.touch(users, devices).await {
            tracing::warn!(%error, "note who was seen last when");
        }
    }

    fn expire_sessions(&self, now: Timestamp) {
        for cell in self.sessions.expire(now) {
            let conversations: Vec<_> = cell
                .state()
                .standings
                .iter()
                .map(|standing| standing.conversation)
                .collect();
            for conversation in conversations {
                self.rosters.depart(conversation, &cell);
            }
        }
    }
}

fn merge(updates: &mut HashMap<(UserId, ConversationId), CursorUpdate>, update: CursorUpdate) {
    match updates.get_mut(&(update.user, update.conversation)) {
        Some(known) => {
            known.read = known.read.max(update.read);
            known.delivered = known.delivered.max(update.delivered);
            known.devices.extend(update.devices);
        }
        None => drop(updates.insert((update.user, update.conversation), update)),
    }
}

type Receipts = SmallVec<[(ConversationId, u64, u64); 2]>;

impl State {
    /// A receipt that was due could not be told.
    fn owe_receipt(&mut self, conversation: ConversationId) {
        let of = |standing: &&mut Standing| standing.conversation == conversation;
        if let Some(standing) = self.standings.iter_mut().find(of) {
            standing.unreceipted = true;
        }
    }

    /// Cursors that moved since they were last taken, the receipts that are due, and whether some become due later.
    fn moved(&mut self, user: UserId, now: Timestamp) -> (Vec<CursorUpdate>, Receipts, bool) {
        let mut updates = Vec::new();
        let mut receipts = Receipts::new();
        let mut later = false;
        let devices = &mut self.devices;
        for (index, standing) in self.standings.iter_mut().enumerate() {
            if std::mem::take(&mut standing.unsaved) {
                updates.push(update(user, standing, devices, index as u32));
            }
            if standing.unreceipted && (now.0 - standing.receipt_at.0).abs() >= defaults::RECEIPT_INTERVAL_MS {
                standing.unreceipted = false;
                standing.receipt_at = now;
                receipts.push((standing.conversation, standing.delivered, standing.read));
            }
            later |= standing.unreceipted;
        }
        (updates, receipts, later)
    }
}

fn update(user: UserId, standing: &Standing, devices: &mut [Device], index: u32) -> CursorUpdate {
    let mut moved = Vec::new();
    for device in devices {
        if device.moved.contains(&index) {
            device.moved.retain(|known| *known != index);
            moved.push((device.id, device.cursors[index as usize]));
        }
    }
    CursorUpdate {
        user,
        conversation: standing.conversation,
        read: standing.read,
        delivered: standing.delivered,
        devices: moved,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::id::LoginId;
    use crate::ports::chats::Membership;

    fn conversation(number: u128) -> ConversationId {
        ConversationId(Uuid::from_u128(number))
    }

    fn user() -> UserId {
        UserId(Uuid::from_u128(9))
    }

    fn device() -> DeviceId {
        DeviceId(Uuid::from_u128(8))
    }

    fn state(conversations: u128) -> State {
        let mut state = State::default();
        state.add_device(device(), LoginId(Uuid::nil()));
        (0..conversations).for_each(|number| join(&mut state, number));
        state
    }

    fn join(state: &mut State, number: u128) {
        state.join(&Membership {
            conversation: conversation(number),
            head: 10,
            active_at: Timestamp(0),
            joined_seq: 0,
            joined_at: Timestamp(0),
            read: 0,
            delivered: 0,
            muted_until: None,
            pinned: false,
        });
    }

    fn moved(state: &mut State, now: i64) -> (Vec<CursorUpdate>, Receipts, bool) {
        state.moved(user(), Timestamp(now))
    }

    #[test]
    fn what_moved_is_taken_once() {
        let mut state = state(2);
        state.ack(device(), conversation(1), 4);
        state.read(conversation(0), 3);
        let (updates, ..) = moved(&mut state, 5_000);
        let taken: Vec<_> = updates
            .iter()
            .map(|update| {
                (
                    update.conversation,
                    update.delivered,
                    update.read,
                    update.devices.clone(),
                )
            })
            .collect();
        let device = vec![(device(), 4)];
        assert_eq!(
            taken,
            [(conversation(0), 3, 3, vec![]), (conversation(1), 4, 0, device)]
        );
        assert_eq!(moved(&mut state, 9_000), (vec![], Receipts::new(), false));
    }

    #[test]
    fn receipts_are_a_second_apart_and_the_last_one_is_not_lost() {
        let mut state = state(1);
        state.read(conversation(0), 1);
        let (_, receipts, later) = moved(&mut state, 5_000);
        assert_eq!((receipts.as_slice(), later), (&[(conversation(0), 1, 1)][..], false));
        state.read(conversation(0), 2);
        state.read(conversation(0), 3);
        let (updates, receipts, later) = moved(&mut state, 5_999);
        assert_eq!(
            (updates.len(), receipts.len(), later),
            (1, 0, true),
            "saved now, told later"
        );
        let (updates, receipts, later) = moved(&mut state, 6_000);
        assert_eq!(
            (updates.len(), receipts.as_slice(), later),
            (0, &[(conversation(0), 3, 3)][..], false)
        );
        state.read(conversation(0), 4);
        let (_, receipts, _) = moved(&mut state, 2_000);
        assert_eq!(receipts.len(), 1, "a clock that stepped back holds nothing up");
    }

    #[test]
    fn a_cursor_that_moved_is_saved_for_its_conversation_whatever_is_joined_or_left_meanwhile() {
        let mut state = state(0);
        join(&mut state, 2);
        join(&mut state, 4);
        state.ack(device(), conversation(2), 5);
        state.ack(device(), conversation(4), 6);
        join(&mut state, 1);
        join(&mut state, 3);
        state.leave(conversation(2));
        let (updates, ..) = moved(&mut state, 5_000);
        let [update] = updates.as_slice() else {
            panic!("one moved: {updates:?}");
        };
        assert_eq!(
            (update.conversation, update.devices.as_slice()),
            (conversation(4), &[(device(), 6)][..])
        );
    }

    #[test]
    fn an_update_that_waits_takes_in_a_later_one() {
        let update = |read, cursor| CursorUpdate {
            user: user(),
            conversation: conversation(0),
            read,
            delivered: 7,
            devices: vec![(device(), cursor)],
        };
        let mut updates = HashMap::new();
        merge(&mut updates, update(3, 7));
        merge(&mut updates, update(2, 5));
        let merged = &updates[&(user(), conversation(0))];
        assert_eq!((merged.read, merged.delivered), (3, 7));
        assert_eq!(merged.devices, [(device(), 7), (device(), 5)]);
    }
}
