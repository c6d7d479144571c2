//! The table of goals: one scenario after the other, each on a fresh server, each line with its goal and what was read.

mod cluster;

pub use cluster::{NODES, play_cluster_table};

use crate::cli::{Cold, Connect, Crash, Direct, Fanout, Idle, Rate, Resume, Scenario, Table};
use crate::measure::Op;
use crate::report::{Row, Section};
use crate::scenario::play;
use crate::stage::Stage;
use crate::sys::interrupted;

/// How a scenario's figures become a line.
type Read = fn(&Section) -> Row;

struct Entry {
    scenario: Scenario,
    rows: &'static [(&'static str, &'static str, Read)],
}

/// Plays the whole list; a scenario that fails costs its lines, not the table.
pub fn play_table(stage: &mut Stage, options: &Table) -> anyhow::Result<(Vec<Section>, Vec<Row>)> {
    let (mut sections, mut rows) = (Vec::new(), Vec::new());
    let wanted = |entry: &Entry| {
        let has = |text: &str| entry.rows.iter().any(|(what, ..)| what.contains(text));
        options.only.as_deref().is_none_or(has)
    };
    let part = if options.quick { " (quick: a tenth of it)" } else { "" };
    let mut fresh = true;
    for entry in entries(options.quick).into_iter().filter(wanted) {
        if interrupted() {
            break;
        }
        if !std::mem::take(&mut fresh) {
            stage.fresh_server()?;
        }
        match play(stage, &entry.scenario) {
            Ok(section) => {
                rows.extend(entry.rows.iter().map(|(what, goal, read)| Row {
                    what: format!("{what}{part}"),
                    goal: (*goal).into(),
                    ..read(&section)
                }));
                sections.push(section);
            }
            Err(error) => {
                let error = format!("{error:#}");
                stage.console.say(&format!("failed: {error}"));
                rows.extend(entry.rows.iter().map(|(what, goal, _)| Row {
                    what: (*what).into(),
                    goal: (*goal).into(),
                    measured: format!("failed: {error}"),
                    reached: None,
                }));
                let mut section = Section::new(entry.rows[0].0, "failed");
                section.notes.push(error);
                if let Some(kept) = stage.keep() {
                    let note = format!("data and logs are in {}", kept.display());
                    section.notes.push(note);
                }
                sections.push(section);
            }
        }
    }
    Ok((sections, rows))
}

fn rate(rate: f64, seconds: f64, search: bool) -> Rate {
    Rate {
        rate,
        seconds,
        warm_up: if search { 1.0 } else { 2.0 },
        search,
        limit_ms: 250.0,
        search_seconds: 90.0,
    }
}

/// How large the scenarios are.
#[derive(Clone, Copy)]
struct Scale {
    quick: bool,
}

impl Scale {
    fn part(self, whole: usize) -> usize {
        if self.quick { (whole / 10).max(2) } else { whole }
    }

    fn seconds(self, whole: f64) -> f64 {
        if self.quick { (whole / 5.0).max(2.0) } else { whole }
    }

    fn direct(self, rate: Rate, receipts: bool) -> Scenario {
        Scenario::Direct(Direct {
            pairs: self.part(1000),
            receipts,
            rate,
        })
    }

    fn fanout(self, rate: Rate) -> Scenario {
        Scenario::Fanout(Fanout {
            members: self.part(1000),
            groups: 1,
            rate,
        })
    }
}

fn entries(quick: bool) -> Vec<Entry> {
    let scale = Scale { quick };
    let mut entries = connections(scale);
    entries.extend(rates(scale));
    entries.extend(returns(scale));
    entries
}

/// What holding and making connections costs.
fn connections(scale: Scale) -> Vec<Entry> {
    vec![
        Entry {
            scenario: Scenario::Idle(Idle {
                clients: scale.part(19_000),
                group: 100,
                rate: 2_000.0,
                seconds: scale.seconds(60.0),
            }),
            rows: &[
                (
                    "idle: memory of a connection, 19,000 at once",
                    "<= 2,048 B beyond an empty server",
                    idle_memory,
                ),
                (
                    "idle: CPU of a connection at the 30 s heartbeat",
                    "<= 0.5 us a second",
                    idle_cpu,
                ),
            ],
        },
        Entry {
            scenario: Scenario::Connect(Connect {
                clients: scale.part(8000),
                group: 100,
                rate: 1_000.0,
                wave: 200,
            }),
            rows: &[
                ("connect: a new device, at 1,000/s", "<= 60 us of CPU", |section| {
                    connect(section, "new", 60.0)
                }),
                ("connect: a new device, 200 at a time", "<= 60 us of CPU", |section| {
                    connect(section, "new_wave", 60.0)
                }),
                ("connect: resumed, at 1,000/s", "<= 40 us of CPU", |section| {
                    connect(section, "resumed", 40.0)
                }),
                ("connect: resumed, 200 at a time", "<= 40 us of CPU", |section| {
                    connect(section, "resumed_wave", 40.0)
                }),
            ],
        },
    ]
}

/// What messages cost, at a steady rate and at the highest.
fn rates(scale: Scale) -> Vec<Entry> {
    let steady = |rate_| rate(rate_, scale.seconds(20.0), false);
    let search = |first| rate(first, scale.seconds(5.0), true);
    vec![
        Entry {
            scenario: scale.fanout(steady(20.0)),
            rows: &[(
                "fan-out to 1,000 at 20/s",
                "<= 5 us a delivery, p99 <= 15 ms",
                fanout_steady,
            )],
        },
        Entry {
            scenario: scale.fanout(search(200.0)),
            rows: &[(
                "fan-out to 1,000, highest rate with p99 < 250 ms",
                "<= 0.8 us a delivery, >= 1,200,000/s",
                fanout_highest,
            )],
        },
        Entry {
            scenario: scale.direct(steady(2_000.0), false),
            rows: &[(
                "direct, 1,000 pairs at 2,000/s",
                "<= 80 us a message, p50 <= 4 ms, p99 <= 15 ms",
                direct_steady,
            )],
        },
        Entry {
            scenario: scale.direct(search(5_000.0), false),
            rows: &[(
                "direct, highest rate with p99 < 250 ms",
                "<= 30 us a message, >= 30,000/s",
                direct_highest,
            )],
        },
        Entry {
            scenario: scale.direct(search(2_500.0), true),
            rows: &[(
                "direct, every message acked and read, highest rate",
                "<= 60 us a message",
                receipts_highest,
            )],
        },
    ]
}

/// What coming back costs, for devices and for the server itself.
fn returns(scale: Scale) -> Vec<Entry> {
    vec![
        Entry {
            scenario: Scenario::Resume(Resume {
                devices: scale.part(2000),
                missed: 5,
                wave: scale.part(200),
                group: 100,
                rounds: 3,
            }),
            rows: &[(
                "resume: 2,000 devices, 5 missed each, 200 at a time",
                "<= 80 us each, all exact in 0.3 s",
                resumed,
            )],
        },
        Entry {
            scenario: Scenario::Cold(Cold {
                users: scale.part(100_000),
                messages: scale.part(1_000_000) as u64,
                rate: 20_000.0,
            }),
            rows: &[(
                "cold start: 1,000,000 messages, 100,000 users",
                "<= 2 s, within 64 MiB of empty",
                cold_start,
            )],
        },
        Entry {
            scenario: Scenario::Crash(Crash {
                rounds: scale.part(20) as u32,
                users: 200,
                rate: 3_000.0,
                longest: 2.0,
            }),
            rows: &[(
                "crash: 20 rounds of kill -9 under load",
                "0 lost, duplicated, reordered, phantom",
                crashed,
            )],
        },
    ]
}

/// A figure, its unit, and whether it reaches its goal.
type Part<'a> = (Option<f64>, &'a str, &'a dyn Fn(f64) -> bool);

/// A line of these figures: each `(value, unit, holds)`; missing ones make it unmeasured.
fn line(section: &Section, parts: &[Part<'_>]) -> Row {
    let mut measured = Vec::new();
    let mut reached = Some(section.audit.violations == 0);
    for (value, unit, holds) in parts {
        match value {
            Some(value) => {
                measured.push(format!("{}{unit}", crate::report::number(*value)));
                reached = reached.map(|reached| reached && holds(*value));
            }
            None => reached = None,
        }
    }
    if section.audit.violations > 0 {
        measured.push(format!("{} VIOLATIONS", section.audit.violations));
    }
    Row {
        what: String::new(),
        goal: String::new(),
        measured: measured.join(", "),
        reached,
    }
}

fn p99(section: &Section, op: Op) -> Option<f64> {
    section.latency(op).map(|latency| latency.p99)
}

fn idle_memory(section: &Section) -> Row {
    line(
        section,
        &[(section.value("memory_per_connection"), " B", &|bytes| bytes <= 2048.0)],
    )
}

fn idle_cpu(section: &Section) -> Row {
    line(
        section,
        &[(section.value("cpu_per_idle_second"), " us", &|us| us <= 0.5)],
    )
}

fn connect(section: &Section, kind: &str, goal: f64) -> Row {
    let cost = section.value(&format!("cpu_per_connect_{kind}"));
    line(section, &[(cost, " us", &|us| us <= goal)])
}

fn fanout_steady(section: &Section) -> Row {
    line(
        section,
        &[
            (section.value("cpu_per_delivery"), " us a delivery", &|us| us <= 5.0),
            (p99(section, Op::Delivered), " ms p99", &|ms| ms <= 15.0),
        ],
    )
}

fn fanout_highest(section: &Section) -> Row {
    line(
        section,
        &[
            (section.value("cpu_per_delivery"), " us a delivery", &|us| us <= 0.8),
            (section.value("deliveries_per_second"), "/s", &|rate| {
                rate >= 1_200_000.0
            }),
            (p99(section, Op::Delivered), " ms p99", &|ms| ms < 250.0),
        ],
    )
}

fn direct_steady(section: &Section) -> Row {
    let p50 = section.latency(Op::Delivered).map(|latency| latency.p50);
    line(
        section,
        &[
            (section.value("cpu_per_message"), " us a message", &|us| us <= 80.0),
            (p50, " ms p50", &|ms| ms <= 4.0),
            (p99(section, Op::Delivered), " ms p99", &|ms| ms <= 15.0),
        ],
    )
}

fn direct_highest(section: &Section) -> Row {
    line(
        section,
        &[
            (section.value("cpu_per_message"), " us a message", &|us| us <= 30.0),
            (section.value("messages_per_second"), "/s", &|rate| rate >= 30_000.0),
            (p99(section, Op::Delivered), " ms p99", &|ms| ms < 250.0),
        ],
    )
}

fn receipts_highest(section: &Section) -> Row {
    line(
        section,
        &[
            (section.value("cpu_per_message"), " us a message", &|us| us <= 60.0),
            (section.value("messages_per_second"), "/s", &|_| true),
            (section.value("receipts_per_second"), " receipts/s", &|rate| rate > 0.0),
        ],
    )
}

fn resumed(section: &Section) -> Row {
    line(
        section,
        &[
            (section.value("cpu_per_resume"), " us each", &|us| us <= 80.0),
            (section.value("elapsed"), " ms for all", &|ms| ms <= 300.0),
            (section.value("replayed_again"), " sent again", &|again| again == 0.0),
        ],
    )
}

fn cold_start(section: &Section) -> Row {
    line(
        section,
        &[
            (section.value("start"), " ms", &|ms| ms <= 2000.0),
            (section.value("rss_beyond"), " MiB beyond empty", &|mib| mib <= 64.0),
        ],
    )
}

fn crashed(section: &Section) -> Row {
    let of = |name: &str| section.lookup(&format!("audit.{name}")).map(|(value, _)| value);
    let none = |value: f64| value == 0.0;
    line(
        section,
        &[
            (section.value("kills"), " kills", &|kills| kills > 0.0),
            (of("lost"), " lost", &none),
            (of("duplicated"), " duplicated", &none),
            (of("reordered"), " reordered", &none),
            (of("phantom"), " phantom", &none),
        ],
    )
}
