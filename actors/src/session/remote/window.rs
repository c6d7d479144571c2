//! How much may be on its way to a socket on another node: pure.

use crate::outlet::Urgency;
use crate::protocol::ServerFrame;
use crate::protocol::view::{History, Message};

/// Most bytes under way to one socket before its live frames stop.
pub const WINDOW: usize = 64 << 10;
/// The socket's node gives credit back when so much has left.
pub const STEP: usize = WINDOW / 4;
/// Beyond this even answers are too much: some pages of history that were asked for at once.
const OVERFLOW: usize = 2 * WINDOW + (1 << 20);

/// What is under way.
#[derive(Debug, Default)]
pub struct Window {
    used: usize,
    refused: bool,
    closed: bool,
}

/// What became of an offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offer {
    Taken,
    Full,
    /// Even an answer is too much: close.
    Overflow,
    Closed,
}

impl Window {
    pub fn offer(&mut self, weight: usize, urgency: Urgency) -> Offer {
        if self.closed {
            return Offer::Closed;
        }
        // Up to a step may stay unaccounted for, so that is as good as nothing under way.
        let full = self.used > STEP && self.used + weight > WINDOW;
        match urgency {
            Urgency::Sequenced if full => {
                self.refused = true;
                Offer::Full
            }
            Urgency::Ephemeral if full => Offer::Full,
            Urgency::Answer if self.used > OVERFLOW => Offer::Overflow,
            _ => {
                self.used += weight;
                Offer::Taken
            }
        }
    }

    /// So much has left; true when something was refused and there is room now.
    pub fn credit(&mut self, weight: usize) -> bool {
        self.used = self.used.saturating_sub(weight);
        self.used <= STEP && std::mem::take(&mut self.refused)
    }

    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Nothing is taken any more; false when it was so before.
    pub fn close(&mut self) -> bool {
        !std::mem::replace(&mut self.closed, true)
    }
}

/// Most bytes of a page of history that goes to another node; what is left out is asked for with the next page.
const PAGE: usize = 2 << 20;

/// A page of history as a frame, not larger than may be sent to another node at once.
pub fn page(id: Option<String>, mut history: History) -> ServerFrame {
    let mut bytes = 0;
    let fits = history.items.iter().take_while(|item| {
        bytes += weigh_message(item);
        bytes <= PAGE
    });
    let fitting = fits.count().max(1).min(history.items.len());
    history.more |= fitting < history.items.len();
    history.items.truncate(fitting);
    ServerFrame::History {
        id,
        messages: history.items,
        more: history.more,
    }
}

/// About how many bytes frames take.
pub fn weigh(frames: &[ServerFrame]) -> usize {
    frames.iter().map(weigh_one).sum()
}

/// Ids, times and names of fields.
const REST: usize = 256;

fn weigh_message(message: &Message) -> usize {
    let data = message.data.as_ref().map_or(0, |data| data.as_str().len());
    let lists = message.attachments.len() + message.mentions.len() + message.reactions.len();
    REST + message.body.len() + data + 40 * lists
}

fn weigh_one(frame: &ServerFrame) -> usize {
    match frame {
        ServerFrame::Message(one) => weigh_message(one),
        ServerFrame::History { messages, .. } => messages.iter().map(weigh_message).sum::<usize>() + REST,
        ServerFrame::Sync { conversations, .. } => REST * (conversations.len() + 1),
        ServerFrame::Hello(_) => 4 * REST,
        _ => REST,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn live_frames_stop_at_the_window_and_answers_do_not() {
        let mut window = Window::default();
        assert_eq!(window.offer(WINDOW, Urgency::Sequenced), Offer::Taken);
        assert_eq!(window.offer(1, Urgency::Sequenced), Offer::Full);
        assert_eq!(window.offer(1, Urgency::Ephemeral), Offer::Full);
        assert_eq!(window.offer(OVERFLOW, Urgency::Answer), Offer::Taken);
        assert_eq!(window.offer(1, Urgency::Answer), Offer::Overflow);
        assert!(window.close() && !window.close());
        assert_eq!(window.offer(1, Urgency::Answer), Offer::Closed);
    }

    proptest! {
        /// However large the frames and whatever is credited late, what was refused is offered again in the end.
        #[test]
        fn who_was_refused_hears_when_there_is_room(weights in prop::collection::vec(1..2 * WINDOW, 1..60)) {
            let mut window = Window::default();
            let (mut under_way, mut owed, mut waiting) = (Vec::new(), 0, None);
            let mut weights = weights.into_iter();
            while let Some(weight) = waiting.take().or_else(|| weights.next()) {
                if window.offer(weight, Urgency::Sequenced) == Offer::Taken {
                    under_way.push(weight);
                    continue;
                }
                waiting = Some(weight);
                prop_assert!(!under_way.is_empty(), "refused with nothing under way");
                let mut heard = false;
                for weight in under_way.drain(..) {
                    owed += weight;
                    if owed >= STEP {
                        heard |= window.credit(std::mem::take(&mut owed));
                    }
                }
                prop_assert!(heard, "nobody says that there is room");
            }
        }
    }
}
