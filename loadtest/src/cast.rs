//! The people of a scenario: accounts made over HTTP, and the conversations they are in.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use rookery_actors::id::{ConversationId, UserId};
use serde::{Deserialize, Serialize};

use crate::http::{Error, Http, address};
use crate::plan::{ClientPlan, ConversationPlan, Pace};
use crate::sys::now_ns;

/// Sign-ups made at once: enough that the server's group commit has something to group.
const AT_ONCE: usize = 32;
/// How often a request is tried again that a service behind the server did not let through, and how long after.
const RETRIES: u32 = 20;
const RETRY_PAUSE: Duration = Duration::from_millis(500);
const PASSWORD: &str = "correct horse battery staple";

/// Somebody with an account, signed in.
#[derive(Clone, Debug)]
pub struct Person {
    pub user: UserId,
    pub token: String,
    pub refresh: String,
    /// When half of the token's life is over.
    pub renew_ns: u64,
    /// Which door leads to its session without a detour, as a number; any serves.
    pub door: Option<u32>,
}

/// Everybody and everything, by number.
#[derive(Clone, Debug, Default)]
pub struct Cast {
    pub people: Vec<Person>,
    pub conversations: Vec<ConversationPlan>,
    /// Members of each conversation.
    pub members: Vec<Vec<u32>>,
    /// Who reads slowly, and how fast.
    pub slow: Vec<(u32, u32)>,
}

impl Cast {
    /// Adds a group that exists.
    pub fn add_group(&mut self, id: ConversationId, members: Vec<u32>) -> u32 {
        self.add(id, None, members)
    }

    /// Adds the direct conversation of two people; it comes to be with its first message.
    pub fn add_direct(&mut self, a: u32, b: u32) -> u32 {
        let pair = [self.people[a as usize].user, self.people[b as usize].user];
        self.add(ConversationId::direct(pair[0], pair[1]), Some(pair), vec![a, b])
    }

    fn add(&mut self, id: ConversationId, pair: Option<[UserId; 2]>, members: Vec<u32>) -> u32 {
        let number = self.conversations.len() as u32;
        self.conversations.push(ConversationPlan { number, id, pair });
        self.members.push(members);
        number
    }

    /// Every member of every conversation as somebody who may send there.
    pub fn lanes(&self) -> Vec<(u32, u32)> {
        let lanes = self.members.iter().zip(0u32..);
        lanes
            .flat_map(|(members, number)| members.iter().map(move |member| (*member, number)))
            .collect()
    }

    /// The virtual clients: one device each.
    pub fn clients(&self) -> Vec<ClientPlan> {
        let mut conversations = vec![Vec::new(); self.people.len()];
        for (member, number) in self.lanes() {
            conversations[member as usize].push(number);
        }
        let people = self.people.iter().zip(0u32..).zip(conversations);
        let mut clients: Vec<ClientPlan> = people
            .map(|((person, number), conversations)| ClientPlan {
                number,
                user: person.user,
                token: person.token.clone(),
                door: person.door.unwrap_or(number),
                pace: Pace::Fast,
                conversations,
            })
            .collect();
        for (number, bytes_per_second) in &self.slow {
            clients[*number as usize].pace = Pace::Slow {
                bytes_per_second: *bytes_per_second,
            };
        }
        clients
    }
}

#[derive(Serialize)]
struct SignUp<'a> {
    email: String,
    name: String,
    password: &'a str,
}

#[derive(Serialize)]
struct LogIn<'a> {
    email: &'a str,
    password: &'a str,
}

#[derive(Deserialize)]
struct SignedIn {
    user: OnlyId,
    access_token: String,
    refresh_token: String,
    expires_in: u64,
}

#[derive(Deserialize)]
struct OnlyId {
    id: UserId,
}

#[derive(Deserialize)]
struct GroupId {
    id: ConversationId,
}

impl From<SignedIn> for Person {
    fn from(answer: SignedIn) -> Self {
        Self {
            user: answer.user.id,
            token: answer.access_token,
            refresh: answer.refresh_token,
            renew_ns: now_ns() + answer.expires_in * 500_000_000,
            door: None,
        }
    }
}

/// Signs up `count` people; `told` hears how many there are so far.
pub fn sign_up(
    doors: &[SocketAddr],
    run: u32,
    count: usize,
    told: &(dyn Fn(usize) + Sync),
) -> anyhow::Result<Vec<Person>> {
    let people = each(doors, count, told, |http, n| {
        let body = SignUp {
            email: format!("load-{run:08x}-{n}@example.test"),
            name: format!("Load {n}"),
            password: PASSWORD,
        };
        enter(http, &body)
    });
    people.context("signing up (is the server's limits.signups_per_minute raised?)")
}

/// Asks the cluster for everybody's door; `told` hears of how many it is known so far.
pub fn find_homes(doors: &[SocketAddr], people: &mut [Person], told: &(dyn Fn(usize) + Sync)) -> anyhow::Result<()> {
    let homes = each(doors, people.len(), told, |http, n| home(http, doors, &people[n]))?;
    for (person, home) in people.iter_mut().zip(homes) {
        person.door = home;
    }
    Ok(())
}

/// Does something `count` times, many at a time and through all doors; answers what came of each, in order. Fewer when interrupted.
fn each<T: Send>(
    doors: &[SocketAddr],
    count: usize,
    told: &(dyn Fn(usize) + Sync),
    work: impl Fn(&mut Http, usize) -> Result<T, Error> + Sync,
) -> anyhow::Result<Vec<T>> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let share = &|thread| -> Result<Vec<(usize, T)>, Error> {
        let mut http = Http::among(doors, thread);
        let mut row = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count || crate::sys::interrupted() {
                return Ok(row);
            }
            row.push((n, work(&mut http, n)?));
            told(done.fetch_add(1, Ordering::Relaxed) + 1);
        }
    };
    let rows = std::thread::scope(|scope| {
        let threads = 0..AT_ONCE.min(count.max(1));
        let threads: Vec<_> = threads.map(|n| scope.spawn(move || share(n))).collect();
        threads.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
    });
    let mut all = Vec::with_capacity(count);
    for row in rows {
        all.extend(row.map_err(|_| anyhow::anyhow!("a thread that asks the server panicked"))??);
    }
    all.sort_by_key(|(n, _)| *n);
    Ok(all.into_iter().map(|(_, one)| one).collect())
}

/// Asks again while a service behind the server is away: it may falter when a hundred thousand come at once. The first time
/// it hears `false`, then `true`: what was asked before may have been done.
fn patiently<T>(mut ask: impl FnMut(bool) -> Result<T, Error>) -> Result<T, Error> {
    for tries in 0..RETRIES {
        match ask(tries > 0) {
            Err(Error::Refused { status: 503 | 504, .. }) => std::thread::sleep(RETRY_PAUSE),
            answer => return answer,
        }
    }
    ask(true)
}

/// Signs somebody up. Where it is left open whether the account was made, it is logged in to.
fn enter(http: &mut Http, body: &SignUp<'_>) -> Result<Person, Error> {
    let (email, password) = (body.email.as_str(), body.password);
    let signed_in: SignedIn = patiently(|again| match http.post("/api/auth/signup", None, body) {
        Err(Error::Refused { status: 409, .. }) if again => {
            http.post("/api/auth/login", None, &LogIn { email, password })
        }
        answer => answer,
    })?;
    Ok(signed_in.into())
}

/// The door that the cluster names for somebody's socket; none where it is not among these.
fn home(http: &mut Http, doors: &[SocketAddr], person: &Person) -> Result<Option<u32>, Error> {
    #[derive(Deserialize)]
    struct Home {
        url: String,
    }
    let home: Home = patiently(|_| http.get("/api/connect", &person.token))?;
    let named = address(&home.url).ok();
    Ok(doors
        .iter()
        .zip(0..)
        .find(|(door, _)| Some(**door) == named)
        .map(|(_, n)| n))
}

/// Makes a group in one request. Where it was left open whether there is one already, that one stays, and nobody talks in it.
pub fn make_group(http: &mut Http, name: &str, owner: &Person, members: &[UserId]) -> Result<ConversationId, Error> {
    let body = serde_json::json!({"name": name, "members": members});
    let group: GroupId = patiently(|_| http.post("/api/groups", Some(&owner.token), &body))?;
    Ok(group.id)
}

/// A fresh pair of tokens; the old refresh token is spent.
pub fn renew(http: &mut Http, person: &Person) -> Result<Person, Error> {
    let body = serde_json::json!({"refresh_token": person.refresh});
    let answer: SignedIn = http.post("/api/auth/refresh", None, &body)?;
    Ok(Person {
        door: person.door,
        ..answer.into()
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    /// Answers each request with the next of these; gives back what was asked.
    fn answering(answers: Vec<(u16, String)>) -> (SocketAddr, std::thread::JoinHandle<Vec<String>>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let asked = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for (status, body) in answers {
                let (mut socket, _) = listener.accept().unwrap();
                let mut bytes = [0; 2048];
                let count = socket.read(&mut bytes).unwrap();
                let line = String::from_utf8_lossy(&bytes[..count])
                    .lines()
                    .next()
                    .map(str::to_owned);
                asked.extend(line);
                let length = body.len();
                let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
                socket.write_all(format!("{head}{body}").as_bytes()).unwrap();
            }
            asked
        });
        (at, asked)
    }

    #[test]
    fn an_account_of_which_nobody_knows_whether_it_was_made_is_logged_in_to() {
        let user = "01890a5d-ac96-774b-bcce-b302099a8057";
        let signed_in =
            format!(r#"{{"user":{{"id":"{user}"}},"access_token":"a","refresh_token":"r","expires_in":900}}"#);
        let answers = vec![(504, "{}".into()), (409, "{}".into()), (200, signed_in)];
        let (at, asked) = answering(answers);
        let body = SignUp {
            email: "ada@example.test".into(),
            name: "Ada".into(),
            password: PASSWORD,
        };
        let person = enter(&mut Http::new(at), &body).unwrap();
        assert_eq!((person.user.to_string().as_str(), person.token.as_str()), (user, "a"));
        let asked = asked.join().unwrap();
        let paths: Vec<_> = asked.iter().filter_map(|line| line.split(' ').nth(1)).collect();
        assert_eq!(paths, ["/api/auth/signup", "/api/auth/signup", "/api/auth/login"]);
    }

    #[test]
    fn a_group_is_asked_for_again_while_a_service_is_away() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        let (at, asked) = answering(vec![(503, "{}".into()), (201, format!(r#"{{"id":"{id}"}}"#))]);
        let owner = Person {
            user: UserId::fresh(),
            token: "a".into(),
            refresh: "r".into(),
            renew_ns: u64::MAX,
            door: None,
        };
        let group = make_group(&mut Http::new(at), "Everybody", &owner, &[]).unwrap();
        assert_eq!((group.to_string().as_str(), asked.join().unwrap().len()), (id, 2));
    }
}
