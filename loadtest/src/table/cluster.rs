//! The goals of a cluster: what spreading costs beside one node over the same services, and what users notice of nodes that
//! end.

use super::rate;
use crate::cli::{Chaos, ClusterTable, Direct, Fanout, Idle, Scenario};
use crate::measure::Op;
use crate::report::{Row, Section, number};
use crate::scenario::play;
use crate::stage::Stage;
use crate::sys::interrupted;

/// Nodes, unless the user says otherwise.
pub const NODES: usize = 3;

/// Connects a second for the line of idle connections: nodes, services and load share the machine, and what is asked for is how
/// many stay, not how fast they come. A machine that is asked for more than it can do turns the rest away, who come again.
const CONNECTS: f64 = 300.0;

/// What is played for a line, each over so many nodes, and how the line is read from it.
struct Line {
    what: String,
    goal: &'static str,
    plays: Vec<(usize, Scenario)>,
    read: fn(&[Section]) -> Part,
}

/// What was measured, and whether it reaches the goal; none where it could not be read.
type Part = (String, Option<bool>);

/// Plays the whole list; what fails costs its line, not the table.
pub fn play_cluster_table(stage: &mut Stage, options: &ClusterTable) -> anyhow::Result<(Vec<Section>, Vec<Row>)> {
    anyhow::ensure!(
        stage.common.url.is_empty(),
        "the table starts its clusters itself: leave --url away"
    );
    let nodes = stage.common.nodes.unwrap_or(NODES);
    let (mut sections, mut rows) = (Vec::new(), Vec::new());
    let lines = lines(options, nodes).into_iter();
    for line in lines.filter(|line| options.only.as_deref().is_none_or(|only| line.what.contains(only))) {
        if interrupted() {
            break;
        }
        let played: anyhow::Result<Vec<Section>> = line
            .plays
            .iter()
            .map(|(nodes, scenario)| play_over(stage, *nodes, scenario))
            .collect();
        let (measured, reached) = match played {
            Ok(played) => {
                let (measured, reached) = (line.read)(&played);
                let violations: u64 = played.iter().map(|section| section.audit.violations).sum();
                sections.extend(played);
                match violations {
                    0 => (measured, reached),
                    _ => (format!("{measured}, {violations} VIOLATIONS"), Some(false)),
                }
            }
            Err(error) => {
                let mut section = Section::new("cluster", "failed");
                section.failed = true;
                section.notes.push(format!("{error:#}"));
                if let Some(kept) = stage.keep() {
                    section.notes.push(format!("data and logs are in {}", kept.display()));
                }
                sections.push(section);
                (format!("failed: {error:#}"), None)
            }
        };
        rows.push(Row {
            what: line.what,
            goal: line.goal.into(),
            measured,
            reached,
        });
    }
    Ok((sections, rows))
}

fn play_over(stage: &mut Stage, nodes: usize, scenario: &Scenario) -> anyhow::Result<Section> {
    stage.common.nodes = Some(nodes);
    stage.fresh_server()?;
    let mut section = play(stage, scenario)?;
    section.set("nodes", nodes);
    Ok(section)
}

fn lines(options: &ClusterTable, nodes: usize) -> Vec<Line> {
    let part = |whole: usize| if options.quick { (whole / 10).max(2) } else { whole };
    let seconds = |whole: f64| if options.quick { whole / 5.0 } else { whole };
    let quick = if options.quick { " (quick: a tenth of it)" } else { "" };
    let fanout = Scenario::Fanout(Fanout {
        members: part(1000),
        groups: 1,
        rate: rate(20.0, seconds(20.0), false),
    });
    let direct = |per_second| {
        Scenario::Direct(Direct {
            pairs: part(1000),
            receipts: false,
            rate: rate(per_second, seconds(20.0), false),
        })
    };
    let idle = |nodes: usize| {
        Scenario::Idle(Idle {
            clients: part(options.connections) * nodes,
            group: 100,
            rate: CONNECTS,
            seconds: seconds(30.0),
        })
    };
    vec![
        Line {
            what: format!("fan-out to {} members over {nodes} nodes, 20/s{quick}", part(1000)),
            goal: "<= 1.3 x the CPU a delivery of one node",
            plays: vec![(1, fanout.clone()), (nodes, fanout)],
            read: spread,
        },
        Line {
            what: format!("direct between users of {nodes} nodes, 2,000/s{quick}"),
            goal: "<= 150 us of all nodes' CPU a message",
            plays: vec![(nodes, direct(2_000.0))],
            read: cost,
        },
        Line {
            what: format!("direct between users of {nodes} nodes, 500/s{quick}"),
            goal: "p50 <= 5 ms, p99 <= 50 ms",
            plays: vec![(nodes, direct(500.0))],
            read: latency,
        },
        Line {
            what: format!("a node of {nodes} killed, {} times", part(options.kills)),
            goal: "users served again within 3 s",
            plays: vec![(nodes, broken(Some(part(options.kills)), options.quick))],
            read: killed,
        },
        Line {
            what: format!("rolling restart of {nodes} nodes under load"),
            goal: "0 failed requests, 0 sends unanswered beyond 2 s",
            plays: vec![(nodes, broken(None, options.quick))],
            read: restarted,
        },
        Line {
            what: format!(
                "idle: {} connections on each of {nodes} nodes{quick}",
                part(options.connections)
            ),
            goal: ">= 100,000 at once, memory of each as on one node",
            plays: vec![(1, idle(1)), (nodes, idle(nodes))],
            read: held,
        },
    ]
}

/// Kills, or where none are named a rolling restart.
fn broken(kills: Option<usize>, quick: bool) -> Scenario {
    Scenario::Chaos(Chaos {
        minutes: 0.0,
        rounds: kills,
        rolling: kills.is_none(),
        seeds: 1,
        faults: vec![crate::chaos::Fault::Kill],
        users: 60,
        rate: if quick { 50.0 } else { 150.0 },
        patience: 5.0,
    })
}

fn spread(sections: &[Section]) -> Part {
    let cost = |n: usize| sections[n].value("cpu_per_delivery");
    let (Some(one), Some(many)) = (cost(0), cost(1)) else {
        return (String::new(), None);
    };
    let ratio = many / one.max(f64::EPSILON);
    let measured = format!("{} x: {} us beside {} us", number(ratio), number(many), number(one));
    (measured, Some(ratio <= 1.3))
}

fn cost(sections: &[Section]) -> Part {
    let value = sections[0].value("cpu_per_message");
    let measured = value.map_or(String::new(), |us| format!("{} us", number(us)));
    (measured, value.map(|us| us <= 150.0))
}

fn latency(sections: &[Section]) -> Part {
    let Some(delivered) = sections[0].latency(Op::Delivered) else {
        return (String::new(), None);
    };
    let measured = format!("p50 {} ms, p99 {} ms", number(delivered.p50), number(delivered.p99));
    (measured, Some(delivered.p50 <= 5.0 && delivered.p99 <= 50.0))
}

fn killed(sections: &[Section]) -> Part {
    let section = &sections[0];
    let Some(longest) = section.value("without_kill") else {
        return (String::new(), None);
    };
    let within = section
        .faults
        .iter()
        .filter(|fault| fault.without_max_ms <= 3000.0)
        .count();
    let kills = section.faults.len();
    let measured = format!(
        "{} ms the longest, {within} of {kills} within 3 s",
        number(longest.round())
    );
    (measured, Some(longest <= 3000.0))
}

fn restarted(sections: &[Section]) -> Part {
    let value = |name| sections[0].value(name);
    let (Some(requests), Some(failed), Some(late)) = (value("requests"), value("requests_failed"), value("late"))
    else {
        return (String::new(), None);
    };
    let measured = format!(
        "{} of {} requests failed, {} sends late",
        number(failed),
        number(requests),
        number(late)
    );
    (measured, Some(failed == 0.0 && late == 0.0))
}

fn held(sections: &[Section]) -> Part {
    let value = |n: usize, name| sections[n].value(name);
    let (Some(online), Some(many), Some(one)) = (
        value(1, "online"),
        value(1, "memory_per_connection"),
        value(0, "memory_per_connection"),
    ) else {
        return (String::new(), None);
    };
    let measured = format!(
        "{} online, {} B each beside {} B",
        number(online),
        number(many),
        number(one)
    );
    // Fewer than the goal show the price of each, not that so many fit.
    let enough = online >= 100_000.0;
    (measured, enough.then_some(many <= one * 1.1))
}

#[cfg(test)]
mod tests {
    use super::{cost, held, killed, restarted, spread};
    use crate::report::{FaultRow, Section};

    fn section(figures: &[(&str, f64)]) -> Section {
        let mut section = Section::new("x", "y");
        figures
            .iter()
            .for_each(|(name, value)| section.figure(name, *value, "", ""));
        section
    }

    #[test]
    fn a_ratio_is_of_the_same_run() {
        let pair = |one, many| {
            [
                section(&[("cpu_per_delivery", one)]),
                section(&[("cpu_per_delivery", many)]),
            ]
        };
        assert_eq!(
            spread(&pair(2.0, 2.6)),
            ("1.30 x: 2.60 us beside 2 us".into(), Some(true))
        );
        assert_eq!(spread(&pair(2.0, 2.7)).1, Some(false));
        assert_eq!(spread(&[section(&[]), section(&[])]).1, None);
        assert_eq!(cost(&[section(&[("cpu_per_message", 151.0)])]).1, Some(false));
    }

    #[test]
    fn one_kill_of_all_that_takes_long_misses_the_goal() {
        let mut section = section(&[("without_kill", 3_100.4)]);
        section.faults = [2_000.0, 3_100.4]
            .map(|without_max_ms| FaultRow {
                without_max_ms,
                ..FaultRow::default()
            })
            .into();
        assert_eq!(
            killed(&[section]),
            ("3,100 ms the longest, 1 of 2 within 3 s".into(), Some(false))
        );
    }

    #[test]
    fn a_restart_is_quiet_when_nothing_fails_and_nothing_is_late() {
        let played = |failed, late| {
            [section(&[
                ("requests", 90.0),
                ("requests_failed", failed),
                ("late", late),
            ])]
        };
        assert_eq!(restarted(&played(0.0, 0.0)).1, Some(true));
        assert_eq!(restarted(&played(1.0, 0.0)).1, Some(false));
        assert_eq!(restarted(&played(0.0, 1.0)).1, Some(false));
    }

    #[test]
    fn fewer_connections_than_the_goal_reach_nothing_and_miss_nothing() {
        let of = |online, bytes| section(&[("online", online), ("memory_per_connection", bytes)]);
        assert_eq!(held(&[of(5_000.0, 2_000.0), of(15_000.0, 2_000.0)]).1, None);
        assert_eq!(held(&[of(5_000.0, 2_000.0), of(100_000.0, 2_100.0)]).1, Some(true));
        assert_eq!(held(&[of(5_000.0, 2_000.0), of(100_000.0, 2_300.0)]).1, Some(false));
    }
}
