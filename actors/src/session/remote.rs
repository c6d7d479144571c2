//! Sessions whose sockets are on other nodes.
//!
//! A user's session is on the node that owns the user's shard; a socket may be on any. On the socket's node a [`berth`] holds
//! it, knows what has been passed on ([`track`]) and to whom it is attached. On the session's node an [`ends::End`] stands for
//! it, with an outlet that takes only as much as its [`window`] allows, so that a slow socket is full there as it would be
//! here. What they say to each other goes in order, in bags ([`post`]): a lost bag is noticed, and then the socket is attached
//! anew, from where it was.
//!
//! What must always hold: a socket gets each seq at most once and in order whatever nodes its session has been on. Where that
//! cannot be said for sure it is closed, and its client comes back and resumes by its cursors.

pub mod berth;
pub mod ends;
pub mod post;
pub mod resume;
pub mod track;
pub mod window;
