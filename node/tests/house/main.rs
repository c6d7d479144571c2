//! The rules of the house, held over the whole repository: who may depend on whom, whose licences are linked, and what the
//! sources may not contain. Every checker is also shown input that breaks its rule, so that none passes by being blind.

// Clippy takes only functions marked as tests for tests.
#![allow(clippy::unwrap_used)]

mod dependencies;
mod licences;
mod sources;
mod tidy;
