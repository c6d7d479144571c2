//! Sessions whose shard goes to another node: their sockets stay open, and go on with the next owner from where they are.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::remote::berth::{Before, Berth, Parts};
use super::remote::track::{Stage, Track};
use super::state::{Attached, Phase, State};
use super::table::Cell;
use crate::hub::Hub;
use crate::id::{ConversationId, UserId};
use crate::time::Timestamp;

impl State {
    /// How far a connection has got.
    fn track(&self, attached: &Attached) -> Track {
        let catch_up = match &attached.phase {
            Phase::Live => None,
            Phase::CatchingUp(catch_up) => Some(catch_up),
        };
        let stage = match catch_up {
            Some(catch_up) if catch_up.sync_due && catch_up.begun => Stage::Syncing,
            Some(catch_up) if catch_up.sync_due => Stage::Greeted,
            _ => Stage::Synced,
        };
        let passed = self.standings.iter().filter_map(|standing| {
            let passed = attached.reached(standing.conversation, standing.head);
            // Whatever this session's cursors say: the next owner may have read them before they were stored.
            (passed > 0).then_some((standing.conversation, passed))
        });
        let unknown = |(conversation, _): &&(ConversationId, u64)| self.standing(*conversation).is_none();
        let ahead = attached.ahead.iter().filter(unknown).copied();
        let mut track = Track::at(stage, passed.chain(ahead).collect());
        for (conversation, seq) in attached.told.iter() {
            track.tell(conversation, seq);
        }
        track
    }
}

impl Hub {
    /// Takes the sessions of these users out of the memory: their cursors are stored, their sockets look for the next owner.
    pub(crate) async fn release_sessions(self: &Arc<Self>, whose: impl Fn(&UserId) -> bool, deadline: Instant) {
        self.release_ends(&whose);
        let cells = self.sessions.of(&whose);
        let mut berths = Vec::new();
        for cell in &cells {
            // On the table until it is gone, so that an answer finds either its connections or their berths.
            let conversations = self.release(cell, &mut berths);
            self.sessions.remove(cell);
            for conversation in conversations {
                self.rosters.depart(conversation, cell);
            }
        }
        if !cells.is_empty() {
            timeout_at(deadline, self.save_cursors(Timestamp::now())).await.ok();
        }
        // Only now: the next owner reads the cursors from the store.
        for cell in cells {
            for outlet in self.farewell(&cell) {
                outlet.release();
            }
        }
        for berth in berths {
            self.hold(&berth);
        }
    }

    /// Takes the sockets of this node off a session; answers its conversations.
    fn release(self: &Arc<Self>, cell: &Arc<Cell>, berths: &mut Vec<Arc<Berth>>) -> Vec<ConversationId> {
        let mut state = cell.state();
        let (far, here): (Vec<_>, Vec<_>) = std::mem::take(&mut state.attached)
            .into_iter()
            .partition(|attached| attached.outlet.gateway().is_some());
        state.attached.extend(far);
        for attached in here {
            let connection = attached.outlet.id();
            let berth = Berth::new(
                Parts {
                    user: cell.user,
                    login: attached.login,
                    device: Some(attached.device),
                    device_name: String::new(),
                    since: attached.since,
                    track: state.track(&attached),
                    outlet: attached.outlet,
                    watching: self.presence.watched(connection),
                    waiter: None,
                    before: Some(Before::new(Arc::clone(cell), connection)),
                },
                self,
            );
            // Before the session is gone: from then on the socket's frames go through its berth.
            self.berths.insert(Arc::clone(&berth));
            self.presence.forget(connection);
            berths.push(berth);
        }
        cell.go();
        state.standings.iter().map(|standing| standing.conversation).collect()
    }

    /// The sockets of other nodes that a session still has.
    fn farewell(&self, cell: &Cell) -> Vec<Arc<dyn crate::outlet::Outlet>> {
        let attached = std::mem::take(&mut cell.state().attached);
        let outlets = attached.into_iter().map(|attached| attached.outlet);
        outlets.inspect(|outlet| self.presence.forget(outlet.id())).collect()
    }
}
