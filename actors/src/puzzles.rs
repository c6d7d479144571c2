//! What a node does about messages of a later release.

use std::sync::Arc;

use rookery_cluster::id::NodeId;
use rookery_cluster::router::Puzzle;

use crate::calls::no_answer;
use crate::frames::Frames;
use crate::hub::Hub;
use crate::interchange::later::{self, Rest};
use crate::interchange::parcel::{Parcel, Plug};
use crate::interchange::{Answer, Origin};
use crate::outlet::Urgency;
use crate::protocol::{Problem, ServerFrame};

impl Hub {
    /// Does for whoever sent this what can be done.
    pub(crate) fn puzzled(self: &Arc<Self>, from: &NodeId, bytes: &[u8]) -> Puzzle {
        let Some(rest) = later::read(bytes) else {
            return Puzzle::Malformed;
        };
        match rest {
            Rest::Ask(to @ Origin::Node { .. }) => self.answer(to, Err(not_understood())),
            // Nobody waits, or nobody whom another node could name.
            Rest::Ask(_) | Rest::Other => {}
            // It may have been done.
            Rest::Answer(to) => self.answered(Answer {
                to,
                reply: Err(no_answer()),
            }),
            Rest::Delivery(conversation) => self.doubt_heads(vec![conversation]),
            Rest::Bag(bag, requests) => {
                self.unpack(from, bag);
                for (plug, id) in requests {
                    self.refuse_request(from, plug, id);
                }
            }
        }
        Puzzle::Later
    }

    fn refuse_request(self: &Arc<Self>, gateway: &NodeId, plug: Plug, id: Option<String>) {
        let refused = Parcel::Push {
            plugs: vec![plug],
            frames: Frames::one(ServerFrame::error(id, not_understood())),
            urgency: Urgency::Answer,
            weight: 0,
        };
        self.mail(gateway, refused);
    }
}

fn not_understood() -> Problem {
    Problem::unavailable("nodes are being upgraded, and the one to do this does not know it yet; nothing was done")
}
