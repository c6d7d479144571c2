//! Users of the server under test, and the groups they make.

use serde_json::{Value, json};

use super::client::{Client, Opening};
use super::http::{Http, Reply};
use super::server::Endpoint;

/// One login of somebody who has signed up.
#[derive(Clone)]
pub struct User {
    pub id: String,
    pub name: String,
    pub username: String,
    pub email: String,
    pub password: String,
    pub access: String,
    pub refresh: String,
    endpoint: Endpoint,
}

impl User {
    pub async fn sign_up(endpoint: Endpoint, name: &str) -> Self {
        let username = name.to_lowercase();
        let email = format!("{username}@example.org");
        let password = format!("correct horse {username}");
        let body = json!({"email": email, "name": name, "username": username, "password": password});
        let answer = Http::new(endpoint.clone()).post("/api/auth/signup", body).await.is(201);
        let blank = Self {
            id: text(&answer["user"]["id"]),
            name: name.to_owned(),
            username,
            email,
            password,
            access: String::new(),
            refresh: String::new(),
            endpoint,
        };
        blank.with_tokens(&answer)
    }

    /// The same user with the tokens of a log-in's or a refresh's answer.
    pub fn with_tokens(&self, answer: &Value) -> Self {
        Self {
            access: text(&answer["access_token"]),
            refresh: text(&answer["refresh_token"]),
            ..self.clone()
        }
    }

    /// Logs in once more, which is another login of the same user.
    pub async fn log_in_again(&self) -> Self {
        let answer = self.try_log_in(&self.password).await.is(200);
        self.with_tokens(&answer)
    }

    pub async fn try_log_in(&self, password: &str) -> Reply {
        let body = json!({"email": self.email, "password": password});
        self.nobody().post("/api/auth/login", body).await
    }

    /// Logs in and binds a device of this user to the new login.
    pub async fn log_in_with_device(&self, device: &str) -> Self {
        let body = json!({"username": self.username, "password": self.password, "device": device});
        let answer = self.nobody().post("/api/auth/login", body).await.is(200);
        self.with_tokens(&answer)
    }

    pub async fn try_refresh(&self) -> Reply {
        let body = json!({"refresh_token": self.refresh});
        self.nobody().post("/api/auth/refresh", body).await
    }

    /// An HTTP client without this user's token.
    pub fn nobody(&self) -> Http {
        Http::new(self.endpoint.clone())
    }

    pub fn http(&self) -> Http {
        self.nobody().with_token(&self.access)
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.http().get(path).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.http().post(path, body).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Reply {
        self.http().patch(path, body).await
    }

    pub async fn put(&self, path: &str) -> Reply {
        self.http().put(path).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.http().delete(path).await
    }

    /// Opens a socket on a new device.
    pub async fn connect(&self) -> Client {
        self.socket().open().await
    }

    /// Opens a socket on a known device.
    pub async fn connect_as(&self, device: &str) -> Client {
        self.socket().device(device).open().await
    }

    /// A socket yet to be opened, for the tests that want it otherwise.
    pub fn socket(&self) -> Opening {
        Opening::new(self.endpoint.clone()).token(&self.access)
    }

    /// Makes a group of this user (its owner) and others.
    pub async fn group(&self, name: &str, members: &[&User]) -> String {
        let members: Vec<&str> = members.iter().map(|member| member.id.as_str()).collect();
        let body = json!({"name": name, "members": members});
        text(&self.post("/api/groups", body).await.is(201)["id"])
    }

    /// The direct conversation with somebody.
    pub async fn direct(&self, peer: &User) -> String {
        let body = json!({"user": peer.id});
        text(&self.post("/api/conversations", body).await.succeeds()["id"])
    }

    /// Sends a text over HTTP; answers its seq.
    pub async fn say(&self, conversation: &str, id: &str, body: &str) -> u64 {
        let message = json!({"to": {"conversation": conversation}, "id": id, "body": body});
        number(&self.post("/api/messages", message).await.is(201)["seq"])
    }

    /// Everything a conversation's history holds, oldest first.
    pub async fn whole_history(&self, conversation: &str) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let after = all.last().map_or(0, |message| number(&message["seq"]));
            let path = format!("/api/messages/{conversation}?after={after}&limit=500");
            let page = self.get(&path).await.is(200);
            all.extend(items(&page));
            if page["more"] == false {
                return all;
            }
        }
    }

    /// This user's row of the inbox for one conversation.
    pub async fn inbox_row(&self, conversation: &str) -> Option<Value> {
        let inbox = self.get("/api/conversations?limit=100").await.is(200);
        items(&inbox).into_iter().find(|row| row["id"] == conversation)
    }
}

/// A JSON string.
#[track_caller]
pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("a string, not {value}"))
        .to_owned()
}

/// A JSON number.
#[track_caller]
pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a number, not {value}"))
}

/// The items of a page.
#[track_caller]
pub fn items(page: &Value) -> Vec<Value> {
    page["items"]
        .as_array()
        .unwrap_or_else(|| panic!("a page, not {page}"))
        .clone()
}

/// The values of one field of each item.
pub fn field(list: &[Value], name: &str) -> Vec<Value> {
    list.iter().map(|item| item[name].clone()).collect()
}
