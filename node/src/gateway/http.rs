//! HTTP as the routes see it: a [`Call`] comes in, a [`Reply`] or a [`Failure`] goes out.

mod call;
mod field;
mod lingering;
mod query;
mod reply;

pub use call::{Call, Page, bearer, empty};
pub use lingering::Lingering;
pub use query::{Query, decode};
pub use reply::{Failure, Reply};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;

/// What a body's reading can end with.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body, streamed, in either direction.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;
