//! Adapters on Redis: the directory of logins and the delayed jobs. The membership is kept at the same Redis, by the crate
//! `cluster`.

mod calls;
mod directory;
mod jobs;
mod settings;

pub use self::directory::RedisDirectory;
pub use self::jobs::RedisJobs;
pub use self::settings::Settings;
