//! Keeps long runs signed in: tokens are renewed when half of their life is over, beside the run.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};

use crate::cast::{Person, renew};
use crate::http::Http;
use crate::sys::now_ns;

/// Tokens renewed at a time.
const BATCH: usize = 2000;
/// How often it is looked whose turn it is.
const LOOK_NS: u64 = 2_000_000_000;

pub struct Keeper {
    doors: Vec<SocketAddr>,
    next_ns: u64,
    under_way: Option<Receiver<Vec<(u32, Person)>>>,
}

impl Keeper {
    pub fn new(doors: Vec<SocketAddr>) -> Self {
        Self {
            doors,
            next_ns: 0,
            under_way: None,
        }
    }

    /// Takes over what was renewed meanwhile and says whose tokens are new; sees to the next ones.
    pub fn turn(&mut self, people: &mut [Person]) -> Vec<(u32, String)> {
        if let Some(answers) = &self.under_way {
            let Ok(renewed) = answers.try_recv() else {
                return Vec::new();
            };
            self.under_way = None;
            let taken = renewed.into_iter().map(|(number, person)| {
                let token = person.token.clone();
                people[number as usize] = person;
                (number, token)
            });
            return taken.collect();
        }
        let now = now_ns();
        if now >= self.next_ns {
            self.next_ns = now + LOOK_NS;
            let due = people.iter().zip(0u32..).filter(|(person, _)| person.renew_ns <= now);
            let due: Vec<(u32, Person)> = due
                .take(BATCH)
                .map(|(person, number)| (number, person.clone()))
                .collect();
            if !due.is_empty() {
                self.begin(due);
            }
        }
        Vec::new()
    }

    fn begin(&mut self, due: Vec<(u32, Person)>) {
        let (sender, answers) = channel();
        let doors = self.doors.clone();
        let work = move || {
            let mut http = Http::among(&doors, 0);
            let renewed = due
                .into_iter()
                .filter_map(|(number, person)| Some((number, renew(&mut http, &person).ok()?)));
            drop(sender.send(renewed.collect()));
        };
        if std::thread::Builder::new().name("renewals".into()).spawn(work).is_ok() {
            self.under_way = Some(answers);
        }
    }
}
