//! The embedded log and store at work: what an append, a projected message and a read cost.
//!
//! `cargo bench -p rookery-node --bench log`. CPU is the whole process's, user and system, divided by the work done.

mod log {
    pub mod append;
    pub mod chats;
    pub mod meter;
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        log::append::run().await;
        log::chats::run().await;
    });
}
