//! How a revocation is written in Redis: "login user at".

use rookery_actors::time::Timestamp;

use crate::adapters::revocations::Revoked;

pub fn write(Revoked { login, user, at }: Revoked) -> String {
    format!("{login} {user} {}", at.0)
}

/// None for what is no revocation.
pub fn read(text: &str) -> Option<Revoked> {
    let mut words = text.split(' ');
    Some(Revoked {
        login: words.next()?.parse().ok()?,
        user: words.next()?.parse().ok()?,
        at: Timestamp(words.next()?.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use rookery_actors::id::{LoginId, UserId};

    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let revoked = Revoked {
            login: LoginId::fresh(),
            user: UserId::fresh(),
            at: Timestamp(1_700_000_000_123),
        };
        assert_eq!(read(&write(revoked)), Some(revoked));
        for nonsense in ["", "a b c", &write(revoked)[..40], &write(revoked)[1..]] {
            assert_eq!(read(nonsense), None);
        }
    }
}
