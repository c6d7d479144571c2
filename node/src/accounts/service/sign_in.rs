//! Coming and going: sign-up, log-in, refresh, log-out.

use std::net::IpAddr;

use rookery_actors::id::{DeviceId, LoginId, UserId};
use rookery_actors::ports::accounts::{Created, Credentials, Handle, NewAccount};
use rookery_actors::ports::directory::{NewLogin, Rotated, Rotation, Throttled};
use rookery_actors::protocol::{ErrorCode, Problem};
use rookery_actors::time::Timestamp;

use super::super::passwords::Verdict;
use super::super::tokens::{self, RefreshToken};
use super::super::validate::{self, Fields};
use super::super::{Caller, LoginRequest, SignedIn, SignupRequest, TokenPair, internal, random, refused, view};
use super::Accounts;

/// A sign-up whose fields are in order.
struct Applicant {
    email: String,
    name: String,
    password: String,
    /// Usernames to try, best first; only one when it was asked for by name.
    usernames: Vec<String>,
}

impl Accounts {
    /// Makes an account and signs it in.
    pub async fn signup(&self, request: SignupRequest, address: IpAddr) -> Result<SignedIn, Problem> {
        self.throttle(Throttled::SignUp, address).await?;
        let applicant = applicant(request)?;
        let user = self.enrol(applicant).await?;
        metrics::counter!("node_sign_ups_total").increment(1);
        let tokens = self.begin(user).await?;
        let user = view::me(&self.account(user).await?);
        Ok(SignedIn { user, tokens })
    }

    /// Signs in with a password. An unknown user and a wrong password look alike, and take alike.
    pub async fn login(&self, request: LoginRequest, address: IpAddr) -> Result<SignedIn, Problem> {
        self.throttle(Throttled::LogIn, address).await?;
        let device = request.device.as_deref().and_then(|device| device.parse().ok());
        let (handle, password) = key(request)?;
        let outcome = self.admit(&handle, password).await;
        let label = match &outcome {
            Ok(_) => "ok",
            Err(problem) if problem.code == ErrorCode::BadCredentials => "refused",
            Err(_) => "failed",
        };
        metrics::counter!("node_log_ins_total", "outcome" => label).increment(1);
        let (user, login, tokens) = outcome?;
        if let Some(device) = device {
            self.bind_device(user, device, login).await?;
        }
        let user = view::me(&self.account(user).await?);
        Ok(SignedIn { user, tokens })
    }

    /// Spends a refresh token for a new pair. One that was spent before ends its login.
    pub async fn refresh(&self, presented: &str) -> Result<TokenPair, Problem> {
        let unknown = || Problem::new(ErrorCode::Unauthorized, "the refresh token is not valid");
        let presented = RefreshToken::parse(presented).ok_or_else(unknown)?;
        let next = presented.next();
        let now = self.0.directory.now();
        let rotation = Rotation {
            login: presented.login,
            family: presented.family_digest(),
            secret: presented.secret_digest(),
            next: next.secret_digest(),
            now,
            expires_at: self.refresh_ends(now),
        };
        match self.0.directory.rotate(rotation).await.map_err(refused)? {
            Rotated::Rotated { user } => self.pair(user, &next),
            Rotated::Reused { user } => {
                metrics::counter!("node_refresh_reuses_total").increment(1);
                tracing::warn!(%user, login = %presented.login, "a spent refresh token came again; the login is revoked");
                let detail = "the refresh token was used before; the login is ended";
                Err(Problem::new(ErrorCode::RefreshReused, detail))
            }
            Rotated::Expired => Err(Problem::new(ErrorCode::TokenExpired, "the refresh token has expired")),
            Rotated::Unknown => Err(unknown()),
        }
    }

    /// Ends the caller's login.
    pub async fn logout(&self, caller: Caller) -> Result<(), Problem> {
        let directory = &self.0.directory;
        let revoked = directory.revoke(caller.user, caller.login, directory.now()).await;
        revoked.map(drop).map_err(refused)
    }

    /// Ends all of the caller's logins.
    pub async fn logout_everywhere(&self, caller: Caller) -> Result<(), Problem> {
        let directory = &self.0.directory;
        let revoked = directory.revoke_all(caller.user, None, directory.now()).await;
        revoked.map(drop).map_err(refused)
    }

    async fn enrol(&self, applicant: Applicant) -> Result<UserId, Problem> {
        let mut account = NewAccount {
            id: UserId::fresh(),
            email: applicant.email,
            username: String::new(),
            name: applicant.name,
            password_hash: self.0.passwords.hash(applicant.password).await?,
            created_at: Timestamp::now(),
        };
        for username in applicant.usernames {
            account.username = username;
            match self.0.store.create(account.clone()).await.map_err(refused)? {
                Created::Made => return Ok(account.id),
                Created::EmailTaken => {
                    return Err(Problem::new(
                        ErrorCode::EmailTaken,
                        "that e-mail address has an account",
                    ));
                }
                Created::UsernameTaken => {}
            }
        }
        Err(Problem::new(
            ErrorCode::UsernameTaken,
            "that username is taken; choose another",
        ))
    }

    async fn admit(&self, handle: &Handle, password: String) -> Result<(UserId, LoginId, TokenPair), Problem> {
        let known = self.0.store.credentials(handle).await.map_err(refused)?;
        let hash = known.as_ref().map(|known| known.password_hash.clone());
        let verdict = self.0.passwords.verify(password.clone(), hash).await?;
        let (Some(known), Verdict::Right { rehashed }) = (known, verdict) else {
            return Err(bad_credentials());
        };
        let first = RefreshToken::first(LoginId::fresh());
        let tokens = self.begin_with(known.user, &first).await?;
        // A change of the password, or the end of the account, revokes the logins it finds. One that was made while it went
        // on, with the old password, is found here.
        if !self.still_right(&known, password).await? {
            let directory = &self.0.directory;
            let revoked = directory.revoke(known.user, first.login, directory.now()).await;
            revoked.map_err(refused)?;
            return Err(bad_credentials());
        }
        if let Some(better) = rehashed {
            // Another log-in may have done it already.
            let replaced = self
                .0
                .store
                .replace_password(known.user, &known.password_hash, &better)
                .await;
            replaced.map_err(refused)?;
        }
        Ok((known.user, first.login, tokens))
    }

    async fn still_right(&self, known: &Credentials, password: String) -> Result<bool, Problem> {
        let now = self
            .0
            .store
            .credentials(&Handle::Id(known.user))
            .await
            .map_err(refused)?;
        match now {
            Some(now) if now == *known => Ok(true),
            Some(now) => Ok(self.0.passwords.verify(password, Some(now.password_hash)).await? != Verdict::Wrong),
            None => Ok(false),
        }
    }

    async fn begin(&self, user: UserId) -> Result<TokenPair, Problem> {
        self.begin_with(user, &RefreshToken::first(LoginId::fresh())).await
    }

    async fn begin_with(&self, user: UserId, first: &RefreshToken) -> Result<TokenPair, Problem> {
        let now = self.0.directory.now();
        let login = NewLogin {
            login: first.login,
            user,
            family: first.family_digest(),
            secret: first.secret_digest(),
            created_at: now,
            expires_at: self.refresh_ends(now),
        };
        self.0.directory.create(login).await.map_err(refused)?;
        self.pair(user, first)
    }

    async fn bind_device(&self, user: UserId, device: DeviceId, login: LoginId) -> Result<(), Problem> {
        if self.0.store.bind_device(user, device, login).await.map_err(refused)? {
            self.0.chats.rebind_device(user, device, login);
        }
        Ok(())
    }

    fn pair(&self, user: UserId, refresh: &RefreshToken) -> Result<TokenPair, Problem> {
        let life = self.0.settings.access_token_seconds;
        let signed = tokens::sign(&self.0.keys, user, refresh.login, self.0.directory.now(), life);
        Ok(TokenPair {
            access_token: signed.map_err(|error| internal("an access token could not be signed", &error))?,
            refresh_token: refresh.text(),
            token_type: "Bearer",
            expires_in: life,
        })
    }

    fn refresh_ends(&self, now: Timestamp) -> Timestamp {
        Timestamp(now.0.saturating_add(self.0.settings.refresh_token_ms()))
    }
}

pub(super) fn bad_credentials() -> Problem {
    Problem::new(ErrorCode::BadCredentials, "no such user, or a wrong password")
}

fn applicant(request: SignupRequest) -> Result<Applicant, Problem> {
    let mut fields = Fields::default();
    let email = fields.required("email", request.email, validate::email);
    let name = fields.required("name", request.name, validate::name);
    let password = fields.required("password", request.password, validate::password);
    let username = request
        .username
        .map(|username| fields.checked("username", username, validate::username));
    fields.done()?;
    let derived = || validate::usernames(&email, || u32::from_le_bytes(random()));
    let usernames = username.map_or_else(derived, |username| vec![username]);
    Ok(Applicant {
        email,
        name,
        password,
        usernames,
    })
}

/// By what somebody signs in, and with what password.
fn key(request: LoginRequest) -> Result<(Handle, String), Problem> {
    let mut fields = Fields::default();
    let handle = match (request.email, request.username) {
        (Some(email), _) => Some(Handle::Email(email)),
        (None, Some(username)) => Some(Handle::Username(username)),
        (None, None) => {
            fields.wrong("email", "an e-mail address or a username is required");
            None
        }
    };
    let password = fields.required("password", request.password, validate::anything);
    fields.done()?;
    handle.map(|handle| (handle, password)).ok_or_else(bad_credentials)
}
