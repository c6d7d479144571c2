//! Replay: a connection is told what it missed, then gets it, oldest first, as fast as its outbox takes it, until it is live.

use std::sync::{Arc, Weak};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::actor::Work;
use super::catch_up::{CatchUp, Need, Range};
use super::link::answered_otherwise;
use super::state::{Attached, Phase, Told};
use crate::conversation::tail::frame;
use crate::defaults;
use crate::frames::Frames;
use crate::hub::Hub;
use crate::id::{ConnectionId, ConversationId, UserId};
use crate::interchange::{Question, Reply, Slice, Summary};
use crate::outlet::{Outlet, Pushed, Urgency};
use crate::ports::chats::{Entry, StoredUpdate};
use crate::protocol::server::SyncItem;
use crate::protocol::{CloseCode, ErrorCode, Problem, ServerFrame};

impl Work {
    /// Replays what a connection lacks, until it is live, full or gone.
    pub(super) async fn replay(&self, connection: ConnectionId) {
        while let Some((outlet, need)) = self.next_need(connection) {
            let going_on = match need {
                Need::Nothing => return,
                Need::Sync(page) => self.sync(&outlet, page).await,
                Need::Gap(gap) => Ok(self.gap(&outlet, gap)),
                Need::Entries(range) => self.entries(&outlet, range).await,
            };
            if !going_on.unwrap_or_else(|problem| self.give_up(&outlet, &problem)) {
                return;
            }
        }
    }

    /// Acts on the attachment whose need is seen to, and answers whether to go on. A socket that was attached anew meanwhile
    /// may need something else, `sync` before all: what was made ready is not for it, and what it needs is looked up again.
    fn with(&self, outlet: &Weak<dyn Outlet>, act: impl FnOnce(&mut Attached) -> bool) -> bool {
        self.cell.state().attachment(outlet).is_none_or(act)
    }

    /// What a connection needs next, and the attachment that needs it; nothing when it is gone.
    fn next_need(&self, connection: ConnectionId) -> Option<(Weak<dyn Outlet>, Need)> {
        let mut state = self.cell.state();
        let attached = state.connection(connection)?;
        let need = match &mut attached.phase {
            Phase::Live => Need::Nothing,
            Phase::CatchingUp(catch_up) => {
                catch_up.waiting = false;
                catch_up.need()
            }
        };
        if need == Need::Nothing {
            attached.phase = Phase::Live;
        }
        Some((Arc::downgrade(&attached.outlet), need))
    }

    /// Sends one `sync` frame; false when the outbox is full.
    async fn sync(&self, outlet: &Weak<dyn Outlet>, page: Vec<Range>) -> Result<bool, Problem> {
        let items = stream::iter(page.iter().copied()).map(|range| self.sync_item(range.conversation));
        let items = items.buffered(defaults::SUMMARIES_AT_ONCE);
        let items: Vec<Option<SyncItem>> = items.try_collect().await?;
        let conversations = items.into_iter().flatten().collect();
        let most = self.core.limits.sync_messages;
        let going_on = self.with(outlet, |attached| {
            let Phase::CatchingUp(catch_up) = &mut attached.phase else {
                return false;
            };
            let more = catch_up.is_more_than(&page);
            let frames = Frames::one(ServerFrame::Sync { conversations, more });
            catch_up.waiting = attached.outlet.push(&frames, Urgency::Sequenced) != Pushed::Taken;
            if catch_up.waiting {
                return false;
            }
            catch_up.announced(&page, most);
            let waited = catch_up.put_off_until_now();
            for (frames, urgency) in waited {
                attached.outlet.push(&frames, urgency);
            }
            true
        });
        Ok(going_on)
    }

    /// What `sync` says of a conversation; nothing when the user left it meanwhile.
    async fn sync_item(&self, conversation: ConversationId) -> Result<Option<SyncItem>, Problem> {
        let Some((read, delivered)) = self
            .cell
            .state()
            .standing(conversation)
            .map(|standing| (standing.read, standing.delivered))
        else {
            return Ok(None);
        };
        let summary = match self.core.summary(self.cell.user, conversation, read).await {
            Ok(summary) => summary,
            Err(problem) if is_outsider(&problem) => return Ok(None),
            Err(problem) => return Err(problem),
        };
        let title = self.core.title(&summary).await?;
        let Summary { kind, head, unread, .. } = summary;
        Ok(Some(SyncItem {
            id: conversation,
            kind,
            title,
            head,
            delivered,
            read,
            unread,
        }))
    }

    /// Names what is left out; false when the outbox is full.
    fn gap(&self, outlet: &Weak<dyn Outlet>, gap: Range) -> bool {
        self.push_where_behind(outlet, |catch_up, _, push| catch_up.push_gap(gap, push))
    }

    /// Sends the next entries of a range; false when the outbox is full.
    async fn entries(&self, outlet: &Weak<dyn Outlet>, range: Range) -> Result<bool, Problem> {
        let to = range.to.min(range.from + defaults::REPLAY_CHUNK - 1);
        let joined = self.joined_seq(range.conversation);
        let entries = self.core.entries(range.conversation, self.cell.user, range.from, to);
        let (to, entries) = match entries.await {
            Err(problem) if is_outsider(&problem) => {
                self.expelled(range.conversation, joined);
                return Ok(true);
            }
            entries => entries?,
        };
        let read = Range { to, ..range };
        Ok(self.push_where_behind(outlet, |catch_up, told, push| {
            let taken = catch_up.push_entries(read, entries, told, push);
            let next = catch_up.next(range.conversation).unwrap_or(to + 1);
            told.pass(range.conversation, next - 1);
            taken
        }))
    }

    fn joined_seq(&self, conversation: ConversationId) -> Option<u64> {
        self.cell
            .state()
            .standing(conversation)
            .map(|standing| standing.joined_seq)
    }

    /// The owner of a conversation does not count the user among its members any more, of which this session was not told; or
    /// not yet, where the owner is behind.
    fn expelled(&self, conversation: ConversationId, joined: Option<u64>) {
        if self.joined_seq(conversation) == joined {
            self.cell.state().leave(conversation);
            self.core.rosters.depart(conversation, &self.cell);
            self.core.learn_from_store(Arc::clone(&self.cell));
        }
    }

    /// Hands frames over as `act` says, if the connection is still catching up; false when it is not, or is full.
    fn push_where_behind(
        &self,
        outlet: &Weak<dyn Outlet>,
        act: impl FnOnce(&mut CatchUp, &mut Told, &dyn Fn(&Frames) -> bool) -> bool,
    ) -> bool {
        self.with(outlet, |attached| {
            let outlet = Arc::clone(&attached.outlet);
            let Phase::CatchingUp(catch_up) = &mut attached.phase else {
                return false;
            };
            let taken = act(catch_up, &mut attached.told, &|frames| {
                outlet.push(frames, Urgency::Sequenced) == Pushed::Taken
            });
            catch_up.waiting = !taken;
            taken
        })
    }

    /// The conversation could not be read: the client comes back, to another node perhaps, and misses nothing.
    fn give_up(&self, outlet: &Weak<dyn Outlet>, problem: &Problem) -> bool {
        self.with(outlet, |attached| {
            tracing::warn!(user = %self.cell.user, %problem, "a replay was given up");
            attached.outlet.close(CloseCode::Overloaded);
            false
        })
    }
}

fn is_outsider(problem: &Problem) -> bool {
    matches!(problem.code, ErrorCode::NotFound | ErrorCode::NotMember)
}

impl Hub {
    /// Entries of a conversation as frames for a member, from memory and store together, and up to where they are known.
    pub async fn entries(
        self: &Arc<Self>,
        conversation: ConversationId,
        user: UserId,
        from: u64,
        to: u64,
    ) -> Result<(u64, Vec<(u64, Frames)>), Problem> {
        let Slice {
            head,
            stored,
            folds,
            entries,
            ..
        } = self.slice(conversation, Some(user), from, to).await?;
        let mut frames = Vec::with_capacity(entries.len());
        if let Some((from, to)) = stored {
            let most = (to + 1 - from) as usize;
            for entry in self.chats.entries(conversation, from, to, most).await? {
                let entry = folded(entry, &folds);
                frames.push((entry.seq(), Frames::one(frame(conversation, &entry))));
            }
        }
        frames.extend(entries.into_iter().map(|(entry, frame)| (entry.seq(), frame)));
        Ok((to.min(head), frames))
    }

    /// What the owner has, as soon as that begins with `from`. While a conversation moves, its owner may be behind what another
    /// one has told of: such entries are not missing, the log has them, and it learns of them within a second.
    pub async fn slice(
        self: &Arc<Self>,
        conversation: ConversationId,
        user: Option<UserId>,
        from: u64,
        to: u64,
    ) -> Result<Slice, Problem> {
        let mut pause = defaults::BEHIND_RETRY;
        loop {
            let Reply::Entries(slice) = self.call(conversation, Question::Entries { from, to, user }).await? else {
                return Err(answered_otherwise());
            };
            if slice.head >= from {
                return Ok(slice);
            }
            if pause > defaults::BEHIND_LAST {
                return Err(Problem::unavailable("the owner of the conversation is behind"));
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }
}

/// A stored entry with updates the store may not have folded yet.
pub fn folded(mut entry: Entry, folds: &[StoredUpdate]) -> Entry {
    if let Entry::Message(message) = &mut entry {
        message.fold_all(folds);
    }
    entry
}
