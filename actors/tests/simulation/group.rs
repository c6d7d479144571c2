//! A group of two, to which the others are added one by one while things go wrong. Who is not added yet is refused, and
//! tries again; who is, gets everything that is said from then on, whether or not anything follows. In some schedules
//! members are removed, or leave, and come back: meanwhile they are shown nothing that was asked for after they had gone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rookery_actors::id::{ConversationId, UserId};
use rookery_actors::ports::PortResult;
use rookery_actors::ports::chats::ChatStore as _;
use rookery_actors::protocol::{ErrorCode, Problem};
use rookery_actors::system::NewGroup;
use rookery_cluster::testkit::lot::Lot;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::ledger::Ledger;
use crate::plan::TROUBLE;
use crate::world::World;

/// Members from the beginning.
const FIRST: usize = 2;
/// How long whoever adds a member waits for the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause before another try.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes the group, before anything goes wrong.
pub async fn make(world: &World, ledger: &Ledger, users: &[UserId]) -> ConversationId {
    let node = world.any_node().expect("all nodes are up");
    let group = NewGroup {
        name: "simulated".into(),
        photo: None,
        description: None,
        members: users[1..FIRST].to_vec(),
    };
    let group = node.system.create_group(users[0], group).await.expect("made").id;
    for user in &users[..FIRST] {
        let joined = joined_seq(world, group, *user).await.expect("the store is there");
        ledger.joined(*user, group, joined.expect("a member from the beginning"));
    }
    group
}

/// What becomes of a user.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Comes,
    Goes,
}

/// Has the members of a group change.
pub struct Organizer {
    world: Arc<World>,
    ledger: Arc<Ledger>,
    users: Vec<UserId>,
    group: ConversationId,
    /// Whose joining or leaving was attempted with an open outcome: it may happen yet.
    unsure: Mutex<BTreeSet<UserId>>,
}

impl Organizer {
    pub fn new(world: &Arc<World>, ledger: &Arc<Ledger>, users: &[UserId], group: ConversationId) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            ledger: Arc::clone(ledger),
            users: users.to_vec(),
            group,
            unsure: Mutex::default(),
        })
    }

    /// Adds the others, each at its time.
    pub async fn grow(self: Arc<Self>, mut lot: Lot) {
        let others = self.users[FIRST..].iter();
        let due = others.map(|user| (moment(&mut lot), *user, Change::Comes)).collect();
        self.follow(due).await;
    }

    /// Adds the others too, and has most of all go and come back.
    pub async fn come_and_go(self: Arc<Self>, mut lot: Lot) {
        let mut due = Vec::new();
        for (index, user) in self.users.iter().enumerate().skip(1) {
            let mut moments = [(); 3].map(|()| moment(&mut lot));
            moments.sort_unstable();
            let [comes, goes, returns] = moments;
            if index >= FIRST {
                due.push((comes, *user, Change::Comes));
            }
            if lot.percent(80) {
                due.extend([(goes, *user, Change::Goes), (returns, *user, Change::Comes)]);
            }
        }
        self.follow(due).await;
    }

    /// Adds whom a late attempt removed, and notes where it begins anew for whom one added; until it is dropped.
    pub async fn keep(self: Arc<Self>) {
        loop {
            for user in &self.users {
                match joined_seq(&self.world, self.group, *user).await {
                    Ok(Some(seq)) => self.ledger.joined(*user, self.group, seq),
                    Ok(None) => self.add(*user).await,
                    Err(_) => {}
                }
            }
            sleep(PAUSE).await;
        }
    }

    async fn follow(&self, mut due: Vec<(Duration, UserId, Change)>) {
        let begin = Instant::now();
        due.sort_unstable();
        for (at, user, change) in due {
            sleep_until(begin + at).await;
            match change {
                Change::Comes => self.add(user).await,
                Change::Goes => self.remove(user).await,
            }
        }
    }

    async fn add(&self, user: UserId) {
        self.ledger.comes(user, self.group);
        loop {
            if let Some(node) = self.world.any_node() {
                let added = node.system.add_members(self.users[0], self.group, vec![user]);
                let done = self.is_done(user, added).await;
                match joined_seq(&self.world, self.group, user).await {
                    Ok(Some(seq)) if done => return self.ledger.joined(user, self.group, seq),
                    Ok(None) if done && self.is_sure(user) => {
                        self.ledger
                            .wrong(format!("{user} was added and is not stored as a member"));
                    }
                    // Not yet; or a removal came after it whose outcome had been open.
                    _ => {}
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// Removes a member, or has it leave.
    async fn remove(&self, user: UserId) {
        let by = if self.world.draw(2) == 0 { user } else { self.users[0] };
        loop {
            if let Some(node) = self.world.any_node() {
                let removed = node.system.remove_member(by, self.group, user);
                let done = self.is_done(user, removed).await;
                let member = joined_seq(&self.world, self.group, user).await;
                let sure = self.is_sure(user);
                if done && sure && matches!(member, Ok(Some(_))) {
                    self.ledger
                        .wrong(format!("{user} was removed and is stored as a member"));
                }
                if done || matches!(member, Ok(None)) {
                    if sure {
                        self.ledger.goes(user, self.group);
                    }
                    return;
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// Whether nothing that was attempted before may happen yet.
    fn is_sure(&self, user: UserId) -> bool {
        !self.unsure.lock().contains(&user)
    }

    /// Whether a change was answered as made.
    async fn is_done(&self, user: UserId, change: impl Future<Output = Result<(), Problem>>) -> bool {
        let answer = timeout(PATIENCE, change).await;
        let is_open = answer.as_ref().map_or(true, |answer| {
            answer.as_ref().is_err_and(|problem| problem.code == ErrorCode::Timeout)
        });
        if is_open {
            self.unsure.lock().insert(user);
        }
        matches!(answer, Ok(Ok(())))
    }
}

fn moment(lot: &mut Lot) -> Duration {
    Duration::from_millis(lot.below(TROUBLE.as_millis() as u64))
}

/// The head when a member joined; nothing where the store knows of no such member.
async fn joined_seq(world: &World, group: ConversationId, user: UserId) -> PortResult<Option<u64>> {
    let stored = world.services.chats.conversation(group).await?;
    let members = stored.map_or(Vec::new(), |stored| stored.members);
    let member = members.iter().find(|member| member.user == user);
    Ok(member.map(|member| member.joined_seq))
}
