//! Adapters on Redis: the directory of logins. The membership is kept at the same Redis, by the crate `cluster`.

mod directory;
mod settings;

pub use self::directory::RedisDirectory;
pub use self::settings::Settings;
