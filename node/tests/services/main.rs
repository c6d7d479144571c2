//! The adapters of real services, each held to its port's contract and to what a service's faults must not do to it.
//!
//! `make test-cluster` installs the services and starts one of each for all tests, which keep apart by names of their own. A test that
//! stops, kills or pauses a service has an instance of its own.

#![allow(clippy::unwrap_used)] // everything here is a test
#![allow(dead_code)] // what stands in `support` is for all modules, whichever are there

mod support;

mod instances;
mod kafka;
mod mongo;
mod redis;
mod s3;
mod tls;
