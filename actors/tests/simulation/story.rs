//! One schedule, from the beginning to the verdict.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::protocol::Target;
use rookery_actors::testkit::clock;
use rookery_actors::time::Timestamp;
use rookery_cluster::id::NodeId;
use rookery_cluster::membership::NodeState;
use rookery_cluster::testkit::lot::Lot;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::device::Device;
use crate::gate::Mood;
use crate::group::{self, Organizer};
use crate::ledger::Ledger;
use crate::plan::{self, FIRST, Fault};
use crate::sends::Sends;
use crate::world::{LEASE, World};

const USERS: u8 = 5;
/// Users from this one on have two devices.
const TWO_DEVICES_FROM: u8 = 3;
const MESSAGES: u64 = 12;

/// What the wall clock shows at first.
const BEGIN: i64 = 1_795_000_000_000;
/// Whatever happens behind an open connection, an answer comes within this,
const ANSWERED_WITHIN: Duration = Duration::from_secs(25);
/// and within this where nodes only come and go as they are told to.
const ANSWERED_IN_ORDER_WITHIN: Duration = Duration::from_secs(4);

/// After the last fault ended, everything is answered and shown within this.
const MENDED_WITHIN: Duration = Duration::from_secs(60);

/// Plays the schedule of a seed on a thread of its own clock.
pub fn run(seed: u64, told: bool) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        clock::set(Timestamp(BEGIN));
        let mut lot = Lot::new(!seed);
        let world = World::of(&FIRST, lot.fork()).await;
        let verdict = play(seed, told, &mut lot, &world).await;
        world.end();
        verdict
    })
}

async fn play(seed: u64, told: bool, lot: &mut Lot, world: &Arc<World>) -> Result<(), String> {
    let ledger = Arc::new(Ledger::default());
    let users: Vec<UserId> = (0..USERS).map(|number| world.add_user(number)).collect();
    // Every shard is open and every device known before the trouble begins.
    sleep(Duration::from_secs(3)).await;
    let mut group = None;
    if plan::has_group(seed) {
        group = Some(group::make(world, &ledger, &users).await);
    }
    let begin = Instant::now();
    let mut devices = Vec::new();
    let done: Vec<_> = crowd(&users)
        .into_iter()
        .enumerate()
        .map(|(number, user)| {
            let (script, done) = (script(number, user, &users, group, lot), Arc::new(Notify::new()));
            let sends = Sends::new(script, answered_within(seed, number));
            let device = Device::new(number, user, sends, lot.fork(), world, &ledger, told);
            let device = device.with_habit(plan::habit(seed));
            devices.push(tokio::spawn(device.run(Arc::clone(&done))));
            done
        })
        .collect();
    let (mut faults, mut keeping) = (Vec::new(), None);
    if let Some(group) = group {
        let organizer = Organizer::new(world, &ledger, &users, group);
        if plan::has_leavers(seed) {
            faults.push(tokio::spawn(Arc::clone(&organizer).come_and_go(lot.fork())));
            keeping = Some(organizer);
        } else {
            faults.push(tokio::spawn(organizer.grow(lot.fork())));
        }
    }
    for (at, fault) in plan::of(seed) {
        sleep_until(begin + at).await;
        if told {
            println!("{:>6} ms: {fault:?}", world.clock().as_millis());
        }
        faults.push(tokio::spawn(happen(Arc::clone(world), fault)));
    }
    let over = Instant::now() + MENDED_WITHIN;
    for fault in faults {
        let ended = timeout_at(over, fault).await;
        let ended = ended.map_err(|_| "a fault does not end, or a change of the group is never made")?;
        ended.map_err(|error| error.to_string())?;
    }
    if let Some(organizer) = keeping {
        tokio::spawn(organizer.keep());
    }
    let within = Instant::now() + MENDED_WITHIN;
    for (number, done) in done.iter().enumerate() {
        let waited = timeout_at(within, done.notified()).await;
        ledger.verdict()?;
        waited.map_err(|_| format!("device {number} still waits for an answer"))?;
    }
    judge(world, &ledger, &users, group, within).await
}

/// How long a device waits until it says that something is wrong; nothing where it rather sends again.
fn answered_within(seed: u64, device: usize) -> Option<Duration> {
    let within = if plan::is_orderly(seed) {
        ANSWERED_IN_ORDER_WITHIN
    } else {
        ANSWERED_WITHIN
    };
    (device % 2 == 1).then_some(within)
}

/// The user of each device.
fn crowd(users: &[UserId]) -> Vec<UserId> {
    let second = users.iter().skip(usize::from(TWO_DEVICES_FROM));
    users.iter().chain(second).copied().collect()
}

fn script(
    device: usize,
    user: UserId,
    users: &[UserId],
    group: Option<ConversationId>,
    lot: &mut Lot,
) -> Vec<(String, Target)> {
    let others: Vec<UserId> = users.iter().filter(|other| **other != user).copied().collect();
    let mut to = || match group {
        Some(group) if lot.percent(60) => Target::Conversation(group),
        _ => Target::User(*lot.pick(&others).unwrap()),
    };
    (0..MESSAGES)
        .map(|number| (format!("{device}-{number}"), to()))
        .collect()
}

/// Waits until the store and all devices have everything, or it is too late.
async fn judge(
    world: &World,
    ledger: &Ledger,
    users: &[UserId],
    group: Option<ConversationId>,
    within: Instant,
) -> Result<(), String> {
    loop {
        sleep(Duration::from_millis(500)).await;
        ledger.verdict()?;
        let verdict = check(world, ledger, users, group).await;
        if verdict.is_ok() || Instant::now() > within {
            return verdict;
        }
    }
}

async fn check(world: &World, ledger: &Ledger, users: &[UserId], group: Option<ConversationId>) -> Result<(), String> {
    let chats = &*world.services.chats;
    ledger.check_store(chats).await?;
    for (device, user) in crowd(users).into_iter().enumerate() {
        let others = users.iter().filter(|other| **other != user);
        let direct = others.map(|other| ConversationId::direct(user, *other));
        let of: Vec<_> = direct.chain(group).collect();
        ledger.check_device(device, user, &of, chats).await?;
    }
    Ok(())
}

/// Has a fault happen, and waits until it is over.
async fn happen(world: Arc<World>, fault: Fault) {
    match fault {
        Fault::Kill(name, time) => {
            world.kill(name);
            sleep(LEASE.min(time)).await;
            world.expel(name);
            sleep(time.saturating_sub(LEASE)).await;
            world.start(name).await;
        }
        Fault::Isolate(name, time) => {
            world.network.stand_still(&NodeId::from(name), time);
            absent(&world, name, time, |_| {}).await;
        }
        Fault::Freeze(name, time) => {
            world.network.stand_still(&NodeId::from(name), time);
            absent(&world, name, time, |mood| mood.frozen.store(true, Ordering::Relaxed)).await;
        }
        Fault::Cut(a, b, time) => {
            world.network.cut(&NodeId::from(a), &NodeId::from(b), time);
            sleep(time).await;
        }
        Fault::LogAway(name, time) => set(&world, name, time, |mood| &mood.log_away).await,
        Fault::LogOut(time) => {
            let all = plan::ALL.map(|name| {
                let world = Arc::clone(&world);
                tokio::spawn(async move { set(&world, name, time, |mood| &mood.log_away).await })
            });
            for one in all {
                one.await.unwrap();
            }
        }
        Fault::Jump(milliseconds) => clock::jump(milliseconds),
        Fault::LogMute(name, time) => set(&world, name, time, |mood| &mood.log_mute).await,
        Fault::StoreAway(name, time) => set(&world, name, time, |mood| &mood.store_away).await,
        Fault::Drain(name, time) => {
            if let Some(node) = world.node(name) {
                tokio::select! {
                    () = world.drain(&node) => {}
                    // It was killed meanwhile, and is started by who did.
                    () = node.mood.died() => return,
                }
                sleep(time).await;
                world.start(name).await;
            }
        }
        Fault::Join(name) => world.start(name).await,
    }
}

async fn set(world: &World, name: &'static str, time: Duration, flag: fn(&Mood) -> &AtomicBool) {
    if let Some(node) = world.node(name) {
        flag(&node.mood).store(true, Ordering::Relaxed);
        sleep(time).await;
        flag(&node.mood).store(false, Ordering::Relaxed);
    }
}

/// A node that does not renew its lease for a time: it is taken for dead if that is long, and joins once more after.
async fn absent(world: &World, name: &'static str, time: Duration, how: fn(&Mood)) {
    let Some(node) = world.node(name) else { return };
    how(&node.mood);
    sleep(LEASE.min(time)).await;
    if time > LEASE {
        world.expel(name);
        sleep(time - LEASE).await;
    }
    node.mood.frozen.store(false, Ordering::Relaxed);
    sleep(Duration::from_millis(100)).await;
    let is_same = world.node(name).is_some_and(|now| Arc::ptr_eq(&now.mood, &node.mood));
    if is_same && time > LEASE {
        world.enter(name, NodeState::Up);
    }
}
