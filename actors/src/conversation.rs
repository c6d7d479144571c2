//! Conversations: groups and the direct ones of two users.
//!
//! A conversation is a state machine over its shard's log ([`state`]): a command is checked, appended, and takes effect when
//! it is read back. Around the pure state stands an actor ([`actor`]) that is activated on first use, a child of its shard's
//! supervisor, and passivated when idle and stored. It owns the latest entries ([`tail`]), which are read back for the first
//! who lacks some of them; what is older is read from the store by whoever asks. No reader holds up the conversation.
//!
//! What must always hold: records are applied in log order, each once; an entry is delivered, in order, only after it was
//! applied; a change of membership is announced only after it is stored, but decides at once who receives.

pub mod actor;
mod apply;
mod audience;
mod authors;
mod change;
mod changes;
mod check;
pub mod command;
mod fill;
mod hold;
mod read;
pub mod record;
mod shell;
pub mod state;
pub mod table;
pub mod tail;
pub mod update;
mod window;
