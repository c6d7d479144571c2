//! Many connections that do nothing: what each costs in memory, and in processor time for its heartbeats.

use super::{CONNECT_PATIENCE_S, costs};
use crate::cast::Cast;
use crate::cli::Idle;
use crate::plan::{Acks, Who};
use crate::report::Section;
use crate::sample::Memory;
use crate::stage::Stage;

/// Rest before memory is read, so that what a start leaves behind is given back.
const REST_S: f64 = 5.0;
/// Share of this machine's files left for the server where both are on it.
const SPARE: usize = 700;

pub fn idle(stage: &mut Stage, options: &Idle) -> anyhow::Result<Section> {
    let empty = stage.gauges.memory();
    let nodes = stage.doors.len().max(1);
    let most = (stage.machine.open_files as usize).saturating_sub(SPARE) * nodes;
    let clients = if stage.cluster.is_some() {
        options.clients.min(most)
    } else {
        options.clients
    };
    let mut cast = Cast::default();
    stage.sign_up(&mut cast, clients)?;
    stage.groups_of(&mut cast, 0..clients as u32, options.group)?;
    // What signing up left in the server's memory is not the price of a connection.
    if let Some(cluster) = &mut stage.cluster {
        cluster.restart()?;
        stage.follow()?;
        stage.find_homes(&mut cast.people)?;
    }
    let manner = stage.manner(Acks::Never);
    let title = format!("{clients} connections in groups of {}", options.group);
    let mut trial = stage.begin("idle", &title, cast, manner)?;
    trial.section.set("clients", clients);
    trial.section.set("group", options.group);
    if clients < options.clients {
        trial.section.notes.push(format!(
            "{clients} instead of {}: the limit of open files",
            options.clients
        ));
    }
    trial.rest(REST_S)?;
    let before = trial.memory();
    let connected = trial.connect(&Who::All, options.rate, CONNECT_PATIENCE_S)?;
    trial.section.latencies(&connected.window);
    trial.rest(REST_S)?;
    let after = trial.memory();
    let online = trial.fleet.progress().online;
    let measured = trial.measure(0.0, options.seconds, Vec::new())?;
    let settled = trial.memory();
    let pss = trial.stage.gauges.pss();
    let section = &mut trial.section;
    section.figure("online", online as f64, "", "connections");
    if let Some(us) = connected.cpu_us_per(connected.window.counts.connects) {
        section.figure("cpu_per_connect", us, "us", "server processor time for each connect");
    }
    memory(section, online, &[empty, before, after, settled]);
    if let Some(pss) = pss {
        section.figure(
            "pss",
            pss as f64 / 1_048_576.0,
            "MiB",
            "the server's proportional set size in the end",
        );
    }
    if let Some(us) = measured.cpu_us_per(online) {
        let about = "server processor time of an idle connection a second, heartbeats included";
        section.figure("cpu_per_idle_second", us / measured.seconds, "us", about);
    }
    section.figure(
        "pings",
        measured.window.counts.pings as f64,
        "",
        "heartbeats answered during the window",
    );
    costs(section, &measured);
    trial.finish()
}

fn memory(section: &mut Section, online: u64, seen: &[Option<Memory>; 4]) {
    let [Some(empty), Some(before), Some(after), Some(settled)] = *seen else {
        return;
    };
    let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
    section.figure("rss_empty", mib(empty.rss), "MiB", "an empty server");
    section.figure(
        "rss_before",
        mib(before.rss),
        "MiB",
        "with the accounts stored, started afresh, nobody connected",
    );
    section.figure("rss_connected", mib(after.rss), "MiB", "everybody connected");
    section.figure("rss_settled", mib(settled.rss), "MiB", "at the end of the window");
    let each = |from: u64, to: u64| to.saturating_sub(from) as f64 / online.max(1) as f64;
    let resident = each(empty.rss, settled.rss);
    section.figure(
        "memory_per_connection",
        resident,
        "B",
        "resident beyond an empty server",
    );
    let own = each(empty.anonymous, settled.anonymous);
    section.figure(
        "heap_per_connection",
        own,
        "B",
        "anonymous memory beyond an empty server",
    );
}
