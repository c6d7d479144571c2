//! Contract suite of [`Directory`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::id::{LoginId, UserId};
use crate::ports::directory::{Admission, Digest, Directory, NewLogin, Revocation, Rotated, Rotation, Throttled};
use crate::time::Timestamp;

type Port = Arc<dyn Directory>;

/// How long the access tokens live that the directory under test is told of.
pub const ACCESS_TOKEN_LIFE: Duration = Duration::from_secs(60);

const NOW: Timestamp = Timestamp(1_000_000);
const LATER: Timestamp = Timestamp(2_000_000);
/// Beyond any access token that was alive at `NOW`, whatever margin the adapter keeps.
const MUCH_LATER: Timestamp = Timestamp(1_000_000 + 3_600_000);

/// Runs the whole suite. `fresh` opens an empty directory that is told of [`ACCESS_TOKEN_LIFE`]; `reopened` is given what
/// `fresh` made and opens the same data once more, as a restart at that time would.
pub async fn suite(fresh: impl AsyncFn() -> Port, reopened: impl AsyncFn(Port, Timestamp) -> Port) {
    a_refresh_token_is_spent_once(fresh().await).await;
    a_spent_token_ends_the_login(fresh().await).await;
    a_race_for_one_token_has_one_winner(fresh().await).await;
    an_id_without_the_secret_does_nothing(fresh().await).await;
    a_late_token_is_expired(fresh().await).await;
    revocation_reaches_exactly_whom_it_names(fresh().await).await;
    revocations_are_announced(fresh().await).await;
    an_address_has_a_budget_a_minute(fresh().await).await;
    neighbours_in_ipv6_share_a_budget(fresh().await).await;
    let port = fresh().await;
    revocations_outlive_a_restart(port, reopened).await;
}

fn digest(byte: u8) -> Digest {
    [byte; 32]
}

async fn login(port: &Port, user: UserId) -> LoginId {
    let login = LoginId::fresh();
    let new = NewLogin {
        login,
        user,
        family: digest(1),
        secret: digest(10),
        created_at: NOW,
        expires_at: LATER,
    };
    port.create(new).await.expect("create");
    login
}

fn rotation(login: LoginId, from: u8, to: u8) -> Rotation {
    Rotation {
        login,
        family: digest(1),
        secret: digest(from),
        next: digest(to),
        now: NOW,
        expires_at: LATER,
    }
}

async fn a_refresh_token_is_spent_once(port: Port) {
    let user = UserId::fresh();
    let login = login(&port, user).await;
    for step in 10..15 {
        let outcome = port.rotate(rotation(login, step, step + 1)).await.expect("rotate");
        assert_eq!(outcome, Rotated::Rotated { user });
    }
    assert!(!port.is_revoked(login));
}

async fn a_spent_token_ends_the_login(port: Port) {
    let user = UserId::fresh();
    let login = login(&port, user).await;
    port.rotate(rotation(login, 10, 11)).await.expect("rotate");
    port.rotate(rotation(login, 11, 12)).await.expect("rotate");
    let reused = port.rotate(rotation(login, 10, 13)).await.expect("rotate");
    assert_eq!(reused, Rotated::Reused { user });
    assert!(port.is_revoked(login));
    let valid = port.rotate(rotation(login, 12, 14)).await.expect("rotate");
    assert_eq!(valid, Rotated::Unknown, "the valid one went with it");
}

async fn a_race_for_one_token_has_one_winner(port: Port) {
    let user = UserId::fresh();
    let login = login(&port, user).await;
    let tries: Vec<_> = (20..28)
        .map(|next| {
            let port = Arc::clone(&port);
            tokio::spawn(async move { port.rotate(rotation(login, 10, next)).await })
        })
        .collect();
    let mut won = 0;
    for attempt in tries {
        let outcome = attempt.await.expect("no panic").expect("rotate");
        won += u32::from(outcome == Rotated::Rotated { user });
    }
    assert_eq!(won, 1);
    assert!(port.is_revoked(login), "the losers presented a spent token");
}

async fn an_id_without_the_secret_does_nothing(port: Port) {
    let user = UserId::fresh();
    let login = login(&port, user).await;
    let mut forged = rotation(login, 99, 98);
    forged.family = digest(2);
    assert_eq!(port.rotate(forged).await.expect("rotate"), Rotated::Unknown);
    assert!(!port.is_revoked(login));
    let unknown = rotation(LoginId::fresh(), 10, 11);
    assert_eq!(port.rotate(unknown).await.expect("rotate"), Rotated::Unknown);
    let outcome = port.rotate(rotation(login, 10, 11)).await.expect("rotate");
    assert_eq!(outcome, Rotated::Rotated { user });
}

async fn a_late_token_is_expired(port: Port) {
    let login = login(&port, UserId::fresh()).await;
    let mut late = rotation(login, 10, 11);
    late.now = LATER;
    assert_eq!(port.rotate(late.clone()).await.expect("rotate"), Rotated::Expired);
    assert!(!port.is_revoked(login));
    port.purge(LATER).await.expect("purge");
    let outcome = port.rotate(late).await.expect("rotate");
    assert!(
        matches!(outcome, Rotated::Unknown | Rotated::Expired),
        "purged or not, it is of no use"
    );
}

async fn revocation_reaches_exactly_whom_it_names(port: Port) {
    let (ada, bob) = (UserId::fresh(), UserId::fresh());
    let (phone, laptop, tablet) = (
        login(&port, ada).await,
        login(&port, ada).await,
        login(&port, ada).await,
    );
    let other = login(&port, bob).await;
    assert!(!port.revoke(bob, phone, NOW).await.expect("revoke"), "not one's own");
    assert!(!port.is_revoked(phone));
    assert!(port.revoke(ada, phone, NOW).await.expect("revoke"));
    assert!(!port.revoke(ada, phone, NOW).await.expect("revoke"), "once");
    assert!(port.is_revoked(phone) && !port.is_revoked(laptop));
    assert_eq!(
        port.rotate(rotation(phone, 10, 11)).await.expect("rotate"),
        Rotated::Unknown
    );
    assert_eq!(port.revoke_all(ada, Some(laptop), NOW).await.expect("revoke"), [tablet]);
    assert!(port.is_revoked(tablet) && !port.is_revoked(laptop));
    assert_eq!(port.revoke_all(ada, None, NOW).await.expect("revoke"), [laptop]);
    assert!(!port.is_revoked(other));
    assert_eq!(
        port.rotate(rotation(other, 10, 11)).await.expect("rotate"),
        Rotated::Rotated { user: bob }
    );
}

async fn revocations_are_announced(port: Port) {
    let user = UserId::fresh();
    let (phone, laptop) = (login(&port, user).await, login(&port, user).await);
    let mut announced = port.subscribe();
    port.revoke(user, phone, NOW).await.expect("revoke");
    let first = announced.recv().await.expect("announced");
    assert_eq!(first, Revocation { user, login: phone });
    port.rotate(rotation(laptop, 10, 11)).await.expect("rotate");
    port.rotate(rotation(laptop, 10, 12)).await.expect("rotate");
    let second = announced.recv().await.expect("announced");
    assert_eq!(second, Revocation { user, login: laptop });
    let mut remembered: Vec<_> = port.revoked().into_iter().map(|one| one.login).collect();
    remembered.sort();
    let mut both = [phone, laptop];
    both.sort();
    assert_eq!(remembered, both);
}

async fn revocations_outlive_a_restart(port: Port, reopened: impl AsyncFn(Port, Timestamp) -> Port) {
    let user = UserId::fresh();
    let (gone, kept) = (login(&port, user).await, login(&port, user).await);
    port.revoke(user, gone, NOW).await.expect("revoke");
    port.purge(NOW).await.expect("purge");
    assert!(port.is_revoked(gone), "its access tokens may still be valid");
    let port = reopened(port, NOW).await;
    assert!(port.is_revoked(gone) && !port.is_revoked(kept));
    let outcome = port.rotate(rotation(kept, 10, 11)).await.expect("rotate");
    assert_eq!(outcome, Rotated::Rotated { user });
    // News of it that were under way at one purge are forgotten by the next.
    while !port.revoked().is_empty() {
        port.purge(MUCH_LATER).await.expect("purge");
    }
    let port = reopened(port, MUCH_LATER).await;
    assert!(port.revoked().is_empty());
}

async fn an_address_has_a_budget_a_minute(port: Port) {
    let (one, other): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
    let admit = async |what, address, now| port.admit(what, address, 3, now).await.expect("admit");
    for _ in 0..3 {
        assert_eq!(admit(Throttled::LogIn, one, NOW).await, Admission::Admitted);
    }
    let Admission::Wait(wait) = admit(Throttled::LogIn, one, NOW).await else {
        panic!("beyond the budget");
    };
    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(60), "{wait:?}");
    assert_eq!(admit(Throttled::LogIn, other, NOW).await, Admission::Admitted);
    assert_eq!(admit(Throttled::SignUp, one, NOW).await, Admission::Admitted);
    let after = Timestamp(NOW.0 + wait.as_millis() as i64 + 1);
    assert_eq!(
        admit(Throttled::LogIn, one, after).await,
        Admission::Admitted,
        "the wait it named suffices"
    );
    let none = port.admit(Throttled::SignUp, other, 0, NOW).await.expect("admit");
    assert_ne!(none, Admission::Admitted, "a budget of none takes none");
}

async fn neighbours_in_ipv6_share_a_budget(port: Port) {
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    let admitted = async |text: &str| {
        let admission = port.admit(Throttled::SignUp, address(text), 1, NOW).await;
        admission.expect("admit") == Admission::Admitted
    };
    assert!(admitted("2001:db8:1:1::1").await);
    assert!(!admitted("2001:db8:1:1:ffff::2").await);
    assert!(admitted("2001:db8:1:2::1").await);
    assert!(admitted("192.0.2.7").await);
    assert!(!admitted("::ffff:192.0.2.7").await, "one address, two spellings");
}
