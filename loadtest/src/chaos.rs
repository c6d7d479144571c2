//! The pure half of `chaos`: which faults come when ([`mod@timetable`]), and how long users were without service ([`outage`]).
//! The half that kills and cuts is `scenario/chaos`.

pub mod outage;
pub mod timetable;

pub use outage::{Sent, Span, reckon};
pub use timetable::{Fault, Step, rolling, timetable};
