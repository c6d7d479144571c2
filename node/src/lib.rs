//! The Rookery server process: adapters of the ports, the gateway that faces the clients, and operation.

pub mod accounts;
pub mod adapters;
pub mod addresses;
pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod data_dir;
pub mod files;
pub mod gateway;
pub mod jobs;
pub mod metrics;
pub mod process;
pub mod shutdown;
pub mod telemetry;
pub mod wiring;
