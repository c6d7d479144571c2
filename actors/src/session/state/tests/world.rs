//! A user with devices in a world of conversations that go on: batches come late, twice or not at all, outboxes are full,
//! memberships end and begin. Each connection sees each seq at most once, in order, and in the end all of it.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::session::catch_up::Range;

const CONVERSATIONS: u8 = 3;
const DEVICES: u8 = 3;
/// Small limits, so that they are reached.
const MOST: u64 = 4;
const BUDGET: u64 = 9;
/// Entries that the model's store has lost: these are named by a `gap`.
const LOST_EVERY: u64 = 13;

#[derive(Clone, Debug)]
enum Op {
    Say {
        at: u8,
        count: u64,
        by: Option<u8>,
    },
    Deliver(u8),
    Lose(u8),
    Repeat(u8),
    Raise(u8),
    Join {
        at: u8,
        meanwhile: u64,
    },
    Leave(u8),
    Attach(u8),
    Detach(u8),
    Fill(u8),
    Drain(u8),
    Ack {
        device: u8,
        at: u8,
        seq: u64,
    },
    Read {
        at: u8,
        seq: u64,
    },
    /// One step of a connection's replay: half of them read, half hand over.
    Step(u8),
}

fn op() -> impl Strategy<Value = Op> {
    let at = 0..CONVERSATIONS;
    let device = 0..DEVICES;
    prop_oneof![
        4 => (at.clone(), 1..6u64, prop::option::of(device.clone())).prop_map(|(at, count, by)| Op::Say { at, count, by }),
        4 => at.clone().prop_map(Op::Deliver),
        1 => at.clone().prop_map(Op::Lose),
        1 => at.clone().prop_map(Op::Repeat),
        1 => at.clone().prop_map(Op::Raise),
        1 => (at.clone(), 0..3u64).prop_map(|(at, meanwhile)| Op::Join { at, meanwhile }),
        1 => at.clone().prop_map(Op::Leave),
        2 => device.clone().prop_map(Op::Attach),
        1 => device.clone().prop_map(Op::Detach),
        2 => device.clone().prop_map(Op::Fill),
        2 => device.clone().prop_map(Op::Drain),
        2 => (device.clone(), at.clone(), 0..40u64).prop_map(|(device, at, seq)| Op::Ack { device, at, seq }),
        1 => (at, 0..40u64).prop_map(|(at, seq)| Op::Read { at, seq }),
        6 => device.prop_map(Op::Step),
    ]
}

/// A connection with what the test knows of it.
struct Client {
    socket: Arc<Socket>,
    /// By conversation, the seq beyond which it has to see everything.
    floors: BTreeMap<u8, u64>,
    /// Its own sends, of which `sent` tells.
    own: Vec<(u8, u64)>,
    /// A replay is under way.
    woken: bool,
    /// Entries that were read and not handed over yet.
    read: Option<(Range, u64)>,
}

#[derive(Default)]
struct World {
    state: State,
    heads: [u64; CONVERSATIONS as usize],
    under_way: [VecDeque<(u64, u64, Option<ConnectionId>)>; CONVERSATIONS as usize],
    delivered: [Vec<(u64, u64, Option<ConnectionId>)>; CONVERSATIONS as usize],
    clients: BTreeMap<u8, Client>,
    finished: Vec<Client>,
    sockets: u64,
}

impl World {
    fn new() -> Self {
        let memberships = (0..CONVERSATIONS).map(|number| membership(conversation(number), 0, 0));
        let mut state = loaded(inbox(memberships.collect(), vec![]));
        (1..DEVICES).for_each(|number| state.add_device(device(number), login()));
        Self {
            state,
            ..Self::default()
        }
    }

    fn wake(&mut self, delivered: Delivered) {
        let lagging = self.state.lagging();
        if delivered == Delivered::NeedsReplay {
            for client in self.clients.values_mut() {
                client.woken |= lagging.contains(&client.socket.id);
            }
        }
    }

    fn act(&mut self, op: &Op) {
        match *op {
            Op::Say { at, count, by } => self.say(at, count, by),
            Op::Deliver(at) => self.deliver(at),
            Op::Lose(at) => drop(self.under_way[at as usize].pop_front()),
            Op::Repeat(at) => {
                if let Some((first, last, by)) = self.delivered[at as usize].first().copied() {
                    let delivered = self.state.deliver(&batch(conversation(at), first, last, by));
                    self.wake(delivered);
                }
            }
            Op::Raise(at) => self.raise(at),
            Op::Join { at, meanwhile } => self.join(at, meanwhile),
            Op::Leave(at) => {
                while !self.under_way[at as usize].is_empty() {
                    self.deliver(at);
                }
                self.state.leave(conversation(at));
                for client in self.clients.values_mut() {
                    client.floors.remove(&at);
                }
            }
            Op::Attach(number) => self.attach(number),
            Op::Detach(number) => self.detach(number),
            Op::Fill(number) => {
                if let Some(client) = self.clients.get(&number) {
                    client.socket.full.store(true, Ordering::Relaxed);
                }
            }
            Op::Drain(number) => self.drain(number),
            Op::Ack {
                device: number,
                at,
                seq,
            } => drop(self.state.ack(device(number), conversation(at), seq)),
            Op::Read { at, seq } => drop(self.state.read(conversation(at), seq)),
            Op::Step(number) => self.step(number),
        }
    }

    fn say(&mut self, at: u8, count: u64, by: Option<u8>) {
        let first = self.heads[at as usize] + 1;
        let last = first + count - 1;
        self.heads[at as usize] = last;
        let mut connection = None;
        if let Some(client) = by.and_then(|by| self.clients.get_mut(&by)) {
            connection = Some(client.socket.id);
            for seq in (first..=last).filter(|seq| seq % 2 == 0) {
                client.own.push((at, seq));
                let sent = ServerFrame::Sent {
                    id: seq.to_string(),
                    conversation: conversation(at),
                    seq,
                    at: Timestamp(0),
                    duplicate: false,
                };
                assert!(self.state.answer(client.socket.id, sent).is_ok());
            }
        }
        self.under_way[at as usize].push_back((first, last, connection));
    }

    fn deliver(&mut self, at: u8) {
        let Some((first, last, by)) = self.under_way[at as usize].pop_front() else {
            return;
        };
        let delivered = self.state.deliver(&batch(conversation(at), first, last, by));
        self.delivered[at as usize].push((first, last, by));
        self.wake(delivered);
    }

    fn raise(&mut self, at: u8) {
        let delivered = self.state.raise(conversation(at), self.heads[at as usize]);
        self.wake(delivered);
    }

    /// A joining is told after everything before it.
    fn join(&mut self, at: u8, meanwhile: u64) {
        if self.state.standing(conversation(at)).is_some() {
            return;
        }
        self.under_way[at as usize].clear();
        let joined = self.heads[at as usize];
        self.heads[at as usize] += meanwhile;
        let delivered = self
            .state
            .join(&membership(conversation(at), joined, joined + meanwhile));
        for client in self.clients.values_mut() {
            client.floors.insert(at, joined);
        }
        self.wake(delivered);
    }

    fn attach(&mut self, number: u8) {
        self.detach(number);
        self.sockets += 1;
        let socket = Socket::new(self.sockets);
        let cursors = &self.state.devices[number as usize].cursors;
        let floors = self.state.standings.iter().zip(cursors).map(|(standing, cursor)| {
            let at = (0..CONVERSATIONS).find(|at| conversation(*at) == standing.conversation);
            (at.expect("one of ours"), *cursor)
        });
        let floors = floors.collect();
        let attached = self.state.attach(socket.clone(), device(number), login(), BUDGET);
        let client = Client {
            woken: !is_live(attached),
            socket,
            floors,
            own: Vec::new(),
            read: None,
        };
        self.clients.insert(number, client);
    }

    fn detach(&mut self, number: u8) {
        if let Some(client) = self.clients.remove(&number) {
            self.state
                .attached
                .retain(|attached| attached.outlet.id() != client.socket.id);
            self.finished.push(client);
        }
    }

    fn drain(&mut self, number: u8) {
        let Some(client) = self.clients.get_mut(&number) else {
            return;
        };
        client.socket.full.store(false, Ordering::Relaxed);
        let attached = self.state.connection(client.socket.id).expect("it is attached");
        if let Phase::CatchingUp(catch_up) = &attached.phase {
            client.woken |= catch_up.waiting;
        }
    }

    /// As the actor replays: what is needed is found, read, and handed over, with other things happening in between.
    fn step(&mut self, number: u8) {
        let Some(client) = self.clients.get_mut(&number).filter(|client| client.woken) else {
            return;
        };
        let socket = Arc::clone(&client.socket);
        let Attached { phase, told, .. } = self.state.connection(socket.id).expect("it is attached");
        let Phase::CatchingUp(catch_up) = phase else {
            client.woken = false;
            return;
        };
        let push = |frames: &Frames| socket.push(frames, Urgency::Sequenced) == Pushed::Taken;
        let taken = match client.read.take() {
            Some((range, to)) => {
                let kept = (range.from..=to).filter(|seq| seq % LOST_EVERY != 0);
                let entries = kept.map(|seq| (seq, Frames::one(entry(range.conversation, seq))));
                let taken = catch_up.push_entries(Range { to, ..range }, entries.collect(), told, push);
                told.pass(
                    range.conversation,
                    catch_up.next(range.conversation).unwrap_or(to + 1) - 1,
                );
                taken
            }
            None => match catch_up.need() {
                Need::Sync(page) => {
                    catch_up.announced(&page, MOST);
                    true
                }
                Need::Gap(gap) => catch_up.push_gap(gap, push),
                Need::Entries(range) => {
                    client.read = Some((range, range.to.min(range.from + 2)));
                    true
                }
                Need::Nothing => {
                    *phase = Phase::Live;
                    client.woken = false;
                    return;
                }
            },
        };
        catch_up.waiting = !taken;
        client.woken = taken;
    }

    /// Everything arrives, everybody reads.
    fn settle(&mut self) {
        for at in 0..CONVERSATIONS {
            self.raise(at);
        }
        for number in 0..DEVICES {
            self.drain(number);
            while self.clients.get(&number).is_some_and(|client| client.woken) {
                self.step(number);
            }
        }
    }

    fn cursors(&self) -> BTreeMap<(u8, ConversationId), u64> {
        let mut cursors = BTreeMap::new();
        for (number, device) in (0..).zip(&self.state.devices) {
            for (standing, cursor) in self.state.standings.iter().zip(&device.cursors) {
                assert!(
                    *cursor <= standing.head && *cursor <= standing.delivered,
                    "{standing:?}"
                );
                cursors.insert((number, standing.conversation), *cursor);
            }
        }
        for standing in &self.state.standings {
            assert!(standing.read <= standing.delivered && standing.delivered <= standing.head);
        }
        cursors
    }
}

fn check_order(client: &Client) {
    for at in 0..CONVERSATIONS {
        let seqs = client.socket.seqs(conversation(at));
        assert!(seqs.is_sorted_by(|a, b| a < b), "each seq once and in order: {seqs:?}");
    }
}

/// What `sent` told of does not come as a `message` too, however it was missed.
fn check_own(client: &Client) {
    let got = client.socket.got.lock();
    for frame in got.iter() {
        if let ServerFrame::Message(message) = frame {
            let is_own = |(at, seq): &&(u8, u64)| conversation(*at) == message.conversation && *seq == message.seq;
            assert_eq!(client.own.iter().find(is_own), None, "told of twice");
        }
    }
}

fn check_complete(world: &World, client: &Client) {
    for (at, floor) in &client.floors {
        let seen = client.socket.seqs(conversation(*at));
        for seq in floor + 1..=world.heads[*at as usize] {
            let known = seen.contains(&seq) || client.own.contains(&(*at, seq));
            assert!(known, "seq {seq} of {at} beyond {floor} never came: {seen:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_connection_sees_each_seq_once_in_order_and_in_the_end_all_of_it(
        ops in prop::collection::vec(op(), 1..120)
    ) {
        let mut world = World::new();
        for op in &ops {
            let before = world.cursors();
            world.act(op);
            let after = world.cursors();
            if !matches!(op, Op::Join { .. } | Op::Leave(_)) {
                prop_assert!(before.iter().all(|(key, cursor)| after[key] >= *cursor), "cursors only grow");
            }
        }
        world.settle();
        world.finished.iter().for_each(check_order);
        world.finished.iter().for_each(check_own);
        for client in world.clients.values() {
            check_order(client);
            check_own(client);
            check_complete(&world, client);
            let attached = world.state.attached.iter().find(|it| it.outlet.id() == client.socket.id);
            prop_assert!(attached.is_some_and(is_live), "in the end it is live");
        }
    }
}
