//! A cluster under load while a seeded schedule of faults befalls it: what each costs users, and whether anything is lost.

mod breaking;
mod probe;

use std::sync::Arc;

use anyhow::bail;

use self::breaking::{Told, possible};
use self::probe::Probe;
use super::{CONNECT_PATIENCE_S, PREPARE_RATE};
use crate::cast::Cast;
use crate::chaos::timetable::Length;
use crate::chaos::{Fault, Sent, Span, reckon, rolling, timetable};
use crate::cli::{Chaos, Common};
use crate::cluster::Clocks;
use crate::plan::{Acks, Command, Lane, What, Who};
use crate::report::{FaultRow, Row, Section};
use crate::stage::Stage;
use crate::sys::{interrupted, now_ns};
use crate::trial::{Doing, Trial};

/// Members of a small group.
const GROUP: usize = 12;
/// Of the users, one in so many comes and goes, and does not talk.
const ROAMS: u32 = 10;
/// Seconds of load before the schedule begins: every conversation has come to be by then.
const WARM_UP_S: f64 = 3.0;
/// Seconds of load after the last fault.
const AFTER_S: f64 = 5.0;
/// How long the end of a run may take to come to rest.
const REST_S: f64 = 60.0;
/// Tokens live for a day: a renewal whose answer is lost would sign its user out, and that is not what is tested here.
const TOKENS: (&str, &str) = ("ROOKERY_AUTH__ACCESS_TOKEN_SECONDS", "86400");
/// Each shard is a partition, and a lone broker that was killed looks through all of them before it answers.
const SHARDS: (&str, &str) = ("ROOKERY_CLUSTER__SHARDS", "48");

/// What must be settled before the first node is started.
pub fn prepare_chaos(common: &mut Common, options: &Chaos) -> anyhow::Result<()> {
    if !common.url.is_empty() {
        return Ok(());
    }
    let wanted = wanted(options);
    common.nodes = common.nodes.or(Some(3));
    common.cables = wanted.contains(&Fault::Cut);
    let own = [TOKENS, SHARDS].map(|(key, value)| (key.to_owned(), value.to_owned()));
    common.server_env.splice(0..0, own);
    if wanted.contains(&Fault::Clock) {
        let clocks = Clocks::make(&common.found_binary()?, &common.server_env);
        common.clocks = Some(match clocks {
            // Whoever asks for it by name is not to take another schedule for the one they meant.
            Err(error) if options.faults.contains(&Fault::Clock) => bail!("{error:#}; or leave clock out of --faults"),
            made => made.map(Arc::new).map_err(|error| format!("{error:#}")),
        });
    }
    Ok(())
}

fn wanted(options: &Chaos) -> Vec<Fault> {
    let mut wanted = match (options.rolling, options.faults.is_empty()) {
        (true, _) => vec![Fault::Drain],
        (false, true) => Fault::ALL.to_vec(),
        (false, false) => options.faults.clone(),
    };
    wanted.sort_unstable();
    wanted.dedup();
    wanted
}

/// All seeds, one after the other, each on fresh nodes and services, and a line for each.
pub fn play_chaos(stage: &mut Stage, options: &Chaos) -> anyhow::Result<(Vec<Section>, Vec<Row>)> {
    let first = stage.common.seed;
    let (mut sections, mut rows) = (Vec::new(), Vec::new());
    for seed in first..first.saturating_add(options.seeds) {
        if interrupted() {
            break;
        }
        stage.common.seed = seed;
        let fresh = match seed == first {
            true => Ok(()),
            false => stage.fresh_ground(&format!("seed-{seed}-")),
        };
        let played = fresh.and_then(|()| play(stage, options));
        let mut section = played.unwrap_or_else(|error| broken(stage, seed, &error));
        if section.failed || section.audit.violations > 0 || stage.common.keep {
            keep(stage, &mut section);
        }
        rows.push(row(&section, seed));
        sections.push(section);
    }
    stage.common.seed = first;
    Ok((sections, rows))
}

fn broken(stage: &Stage, seed: u64, error: &anyhow::Error) -> Section {
    stage.console.say(&format!("seed {seed} failed: {error:#}"));
    let mut section = Section::new("chaos", &format!("seed {seed}: failed"));
    section.failed = true;
    section.notes.push(format!("{error:#}"));
    section
}

/// What a seed leaves to look into: the data and logs of nodes and services, and its part of the report beside them.
fn keep(stage: &mut Stage, section: &mut Section) {
    let Some(kept) = stage.keep() else { return };
    let note = format!("data, logs and report are in {}", kept.display());
    stage.console.say(&note);
    section.notes.push(note);
    let report = serde_json::to_vec_pretty(&*section).map_err(std::io::Error::from);
    let written = report.and_then(|report| std::fs::write(kept.join("report.json"), report));
    if let Err(error) = written {
        stage
            .console
            .say(&format!("its report could not be written there: {error}"));
    }
}

/// One seed.
pub fn play(stage: &mut Stage, options: &Chaos) -> anyhow::Result<Section> {
    let seed = stage.seed();
    let (faults, left_out) = possible(stage, &wanted(options));
    let length = match options.rounds {
        Some(rounds) => Length::Faults(rounds),
        None => Length::Seconds(options.minutes * 60.0),
    };
    let steps = match options.rolling {
        true => rolling(stage.doors.len()),
        false => timetable(seed, length, &faults, stage.doors.len()),
    };
    let (cast, lanes) = society(stage, options)?;
    let mut manner = stage.manner(Acks::Every { ms: 500 });
    (manner.patience_ms, manner.journal) = ((options.patience * 1000.0) as u64, true);
    let title = format!("seed {seed}: {} faults over {} nodes", steps.len(), stage.doors.len());
    let mut trial = stage.begin("chaos", &title, cast, manner)?;
    trial.section.set("seed", seed);
    trial.section.set("users", options.users);
    trial.section.set("rate", options.rate);
    trial.section.set("patience", options.patience);
    let names: Vec<&str> = faults.iter().map(|fault| fault.name()).collect();
    trial.section.set("faults", names.join(","));
    trial.section.notes.extend(left_out);
    trial.connect(&Who::All, PREPARE_RATE, CONNECT_PATIENCE_S)?;
    let began = start_load(&mut trial, options, &lanes)?;
    let tokens = trial.cast.people.iter().map(|person| person.token.clone()).collect();
    let probe = Probe::start(trial.stage.doors.clone(), tokens)?;
    let mut told = Vec::new();
    for step in steps {
        trial.rest(step.calm_ms as f64 / 1000.0)?;
        if interrupted() {
            break;
        }
        told.push(breaking::play(&mut trial, step, &probe)?);
    }
    trial.rest(AFTER_S)?;
    finish(trial, began, &told, probe)
}

/// Everybody has a friend and a small group, and one group has everybody. Those who come and go do not talk.
fn society(stage: &mut Stage, options: &Chaos) -> anyhow::Result<(Cast, Vec<Lane>)> {
    let mut cast = Cast::default();
    let users = (options.users.max(4) as u32).next_multiple_of(2);
    stage.sign_up(&mut cast, users as usize)?;
    for pair in 0..users / 2 {
        cast.add_direct(pair * 2, pair * 2 + 1);
    }
    stage.groups_of(&mut cast, 0..users, GROUP)?;
    stage.group(&mut cast, (0..users).collect())?;
    let mut lanes = cast.lanes();
    lanes.retain(|(number, _)| !roams(*number));
    Ok((cast, lanes))
}

fn roams(number: u32) -> bool {
    number % ROAMS == ROAMS - 3
}

/// Talk that goes on until it is halted; when it began.
fn start_load(trial: &mut Trial<'_>, options: &Chaos, lanes: &[Lane]) -> anyhow::Result<u64> {
    let start = now_ns() + 50_000_000;
    trial.fleet.all(&Command::Window {
        from_ns: start,
        to_ns: u64::MAX,
    })?;
    let users = trial.cast.people.len() as u32;
    let lanes = lanes.to_vec();
    let come_and_go: Vec<u32> = (0..users).filter(|number| roams(*number)).collect();
    let doing = [
        (
            What::Send {
                lanes: lanes.clone(),
                random: true,
            },
            options.rate,
        ),
        (What::Typing { lanes: lanes.clone() }, options.rate / 10.0),
        (What::React { lanes: lanes.clone() }, options.rate / 20.0),
        (What::History { lanes }, options.rate / 40.0),
        (
            What::Reconnect {
                clients: come_and_go,
                away_ms: (50, 3000),
            },
            f64::from(users) / 100.0,
        ),
    ];
    for (what, rate) in doing {
        trial.begin(Doing::new(what, rate), start, u64::MAX)?;
    }
    trial.rest(WARM_UP_S)?;
    Ok(now_ns())
}

fn finish(mut trial: Trial<'_>, began: u64, told: &[Told], probe: Probe) -> anyhow::Result<Section> {
    trial.fleet.all(&Command::Halt)?;
    let end = now_ns();
    let settled = trial.settle(REST_S)?;
    let window = trial.fleet.measures()?;
    let failures = probe.failures();
    let (requests, failed) = probe.counts();
    drop(probe);
    let seconds = end.saturating_sub(began) as f64 / 1e9;
    let (mut section, journal) = trial.close()?;
    section.latencies(&window);
    for (what, count) in failures {
        *section.incidents.entry(what).or_default() += count;
    }
    let answered = window.counts.answered as f64;
    section.figure(
        "messages_per_second",
        answered / seconds,
        "/s",
        "answered `sent`, faults included",
    );
    section.figure("requests", requests as f64, "", "inboxes read over HTTP beside");
    section.figure("requests_failed", failed as f64, "", "of them");
    let open = settled.unanswered + settled.offline + settled.behind;
    section.figure(
        "open_in_the_end",
        open as f64,
        "",
        "unanswered, offline or behind 60 s after the load ended",
    );
    reckon_all(&mut section, &journal, began, told, end);
    judge(&mut section);
    Ok(section)
}

/// A run has failed that did not come back to what it was before the faults, whatever its audit says.
fn judge(section: &mut Section) {
    let never = section.value("not_whole").unwrap_or(0.0);
    let open = section.value("open_in_the_end").unwrap_or(0.0);
    if section.interrupted {
        return;
    }
    if never > 0.0 {
        let note = format!("after {never} faults the nodes were not whole again");
        section.notes.push(note);
    }
    if open > 0.0 {
        section
            .notes
            .push(format!("{open} were unanswered, offline or behind in the end"));
    }
    section.failed = never > 0.0 || open > 0.0;
}

/// What each fault cost, and the worst of each kind.
fn reckon_all(section: &mut Section, journal: &[Sent], began: u64, told: &[Told], end: u64) {
    let ends = told.iter().skip(1).map(|next| next.from_ns).chain([end]);
    for (fault, to_ns) in told.iter().zip(ends) {
        let outage = reckon(
            journal,
            Span {
                from_ns: fault.from_ns,
                mended_ns: fault.mended_ns,
                to_ns,
            },
        );
        let seconds = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e9;
        section.faults.push(FaultRow {
            at_s: seconds(began, fault.from_ns),
            fault: fault.step.fault.to_string(),
            subject: fault.step.subject(),
            hold_s: fault.step.hold_ms as f64 / 1000.0,
            mended_s: seconds(fault.from_ns, fault.mended_ns),
            whole_s: fault.whole_ns.map(|whole| seconds(fault.mended_ns, whole)),
            affected: outage.without_ms.len() as u64,
            without_p50_ms: outage.p50_ms(),
            without_max_ms: outage.max_ms(),
            after_mending_ms: outage.after_mending_ms,
            longest_ms: outage.longest_ms,
            late: outage.late,
            requests: fault.requests.0,
            requests_failed: fault.requests.1,
        });
    }
    let rows = std::mem::take(&mut section.faults);
    let late: u64 = rows.iter().map(|row| row.late).sum();
    let never = rows.iter().filter(|row| row.whole_s.is_none()).count();
    section.figure("faults", rows.len() as f64, "", "played");
    section.figure(
        "late",
        late as f64,
        "",
        "sends unanswered for more than 2 s after a fault",
    );
    section.figure(
        "not_whole",
        never as f64,
        "",
        "faults after which the nodes were not whole within 60 s",
    );
    for fault in Fault::ALL {
        let of_kind = || rows.iter().filter(|row| row.fault == fault.name());
        if of_kind().next().is_some() {
            let worst = of_kind().map(|row| row.without_max_ms).fold(0.0, f64::max);
            let about = "without service, the worst conversation";
            section.figure(&format!("without_{fault}"), worst, "ms", about);
        }
    }
    section.faults = rows;
}

/// The line of one seed.
fn row(section: &Section, seed: u64) -> Row {
    let value = |name| section.value(name).unwrap_or(0.0);
    let worst = section
        .faults
        .iter()
        .max_by(|a, b| a.without_max_ms.total_cmp(&b.without_max_ms));
    let worst = worst.map_or(String::new(), |row| {
        format!(
            ", longest without service {:.1} s ({})",
            row.without_max_ms / 1000.0,
            row.fault
        )
    });
    let measured = format!(
        "{} violations, {} messages, {} late{worst}",
        section.audit.violations,
        section.audit.messages,
        value("late")
    );
    Row {
        what: format!("chaos, seed {seed}: {} faults", section.faults.len()),
        goal: "0 lost, duplicated, reordered, phantom; whole again".into(),
        measured: if section.failed {
            format!("{measured}; FAILED: {}", section.notes.join("; "))
        } else {
            measured
        },
        reached: Some(section.audit.violations == 0 && !section.failed),
    }
}
