//! Breaking things and mending them again, while the load is watched.

use anyhow::{Context, ensure};

use super::probe::Probe;
use crate::chaos::{Fault, Step};
use crate::cluster::{Cluster, Kind};
use crate::plan::Command;
use crate::stage::Stage;
use crate::sys::{interrupted, now_ns, signal};
use crate::trial::Trial;

/// How long a node may take to leave, and a service to be back.
const LEAVE_S: f64 = 60.0;
const RETURN_S: f64 = 60.0;
/// How long the nodes may take to be ready and to agree after everything was mended.
const WHOLE_S: f64 = 60.0;

/// A fault as it was played.
pub struct Told {
    pub step: Step,
    pub from_ns: u64,
    pub mended_ns: u64,
    /// When all nodes were ready and agreed again, where they were.
    pub whole_ns: Option<u64>,
    /// Requests over HTTP meanwhile, and those that failed.
    pub requests: (u64, u64),
}

/// Those of the faults that can be played here, and why the others cannot.
pub fn possible(stage: &Stage, wanted: &[Fault]) -> (Vec<Fault>, Vec<String>) {
    let nodes = stage.doors.len();
    let refusal = |fault: Fault| match fault {
        Fault::Kill | Fault::Drain | Fault::Join if stage.cluster.is_none() => {
            Some("nodes that were not started here cannot be started again")
        }
        Fault::Pause if stage.cluster.is_none() && stage.common.server_pid.len() < nodes => {
            Some("--server-pid is not given for each node")
        }
        Fault::Cut if stage.cluster.as_ref().is_none_or(|cluster| cluster.cables.is_none()) => {
            Some("links can be cut only between nodes that were started here")
        }
        Fault::Clock => match &stage.common.clocks {
            Some(Ok(_)) => None,
            Some(Err(why)) => Some(why.as_str()),
            None => Some("clocks can jump only on nodes that were started here"),
        },
        Fault::Cut if nodes < 2 => Some("there are no two nodes"),
        Fault::Gone(kind) if stage.services.as_ref().is_none_or(|services| !services.can_break(kind)) => {
            Some("the service was not started by deploy/services/up, or is not told of by --services")
        }
        _ => None,
    };
    let left_out = wanted.iter().filter_map(|fault| {
        let why = refusal(*fault)?;
        Some(format!("left out of the schedule: {fault}: {why}"))
    });
    let possible = wanted.iter().copied().filter(|fault| refusal(*fault).is_none());
    (possible.collect(), left_out.collect())
}

/// Breaks, holds, mends, and waits until the cluster is whole again.
pub fn play(trial: &mut Trial<'_>, step: Step, probe: &Probe) -> anyhow::Result<Told> {
    let hold = step.hold_ms as f64 / 1000.0;
    let line = format!("{}: {}, for {hold:.1} s", step.fault, step.subject());
    trial.stage.console.say(&line);
    let (before, from_ns) = (probe.counts(), now_ns());
    match step.fault {
        Fault::Kill => {
            cluster(trial)?.nodes[step.node].kill()?;
            trial.rest(hold)?;
            cluster(trial)?.nodes[step.node].begin_again()?;
        }
        Fault::Pause => {
            pause(trial, step.node, libc::SIGSTOP)?;
            trial.rest(hold)?;
            pause(trial, step.node, libc::SIGCONT)?;
        }
        Fault::Drain => drain(trial, step.node, hold)?,
        Fault::Join => join(trial, hold)?,
        Fault::Cut => cut(trial, step, hold)?,
        Fault::Clock => {
            cluster(trial)?.set_clock_off_by(step.node, step.jump_s)?;
            trial.rest(hold)?;
            cluster(trial)?.set_clock_off_by(step.node, 0)?;
        }
        Fault::Gone(kind) => without(trial, kind, step.frozen, hold)?,
    }
    let mended_ns = now_ns();
    let whole = whole(trial)?;
    let after = probe.counts();
    Ok(Told {
        step,
        from_ns,
        mended_ns,
        whole_ns: whole.then(now_ns),
        requests: (after.0 - before.0, after.1 - before.1),
    })
}

fn cluster<'t>(trial: &'t mut Trial<'_>) -> anyhow::Result<&'t mut Cluster> {
    trial.stage.cluster.as_mut().context("these nodes are not ours")
}

/// Waits until all nodes are ready and agree; where they are not ours, there is nothing to ask them.
fn whole(trial: &mut Trial<'_>) -> anyhow::Result<bool> {
    if trial.stage.cluster.is_none() {
        trial.stage.follow_services();
        return Ok(true);
    }
    trial.stage.follow()?;
    let done = trial.watch_until(WHOLE_S, |stage| match &mut stage.cluster {
        Some(cluster) => Ok(interrupted() || cluster.is_whole()?),
        None => Ok(true),
    })?;
    let whole = done && !interrupted();
    if !whole {
        trial.stage.console.say("the nodes are not whole again");
    }
    Ok(whole)
}

fn pause(trial: &mut Trial<'_>, node: usize, what: i32) -> anyhow::Result<()> {
    let stage = &trial.stage;
    let ours = stage.cluster.as_ref().map(|cluster| cluster.nodes[node].pid());
    let pid = ours.or_else(|| stage.common.server_pid.get(node).copied());
    Ok(signal(pid.context("the node's process is not known")?, what)?)
}

fn drain(trial: &mut Trial<'_>, node: usize, hold: f64) -> anyhow::Result<()> {
    leave(trial, node)?;
    trial.rest(hold)?;
    cluster(trial)?.nodes[node].begin_again()
}

/// A node is told to stop in order, and does.
fn leave(trial: &mut Trial<'_>, node: usize) -> anyhow::Result<()> {
    cluster(trial)?.nodes[node].ask_to_stop()?;
    let gone = trial.watch_until(LEAVE_S, |stage| {
        let cluster = stage.cluster.as_mut();
        Ok(cluster.is_none_or(|cluster| cluster.nodes[node].is_gone()))
    })?;
    ensure!(gone, "node{} did not end within {LEAVE_S} s of SIGTERM", node + 1);
    Ok(())
}

fn join(trial: &mut Trial<'_>, hold: f64) -> anyhow::Result<()> {
    cluster(trial)?.begin_node()?;
    let joined = cluster(trial)?.nodes.len() - 1;
    if whole(trial)? {
        let doors = trial.stage.doors.clone();
        trial.fleet.all(&Command::Retarget(doors))?;
    }
    trial.rest(hold)?;
    leave(trial, joined)?;
    cluster(trial)?.retire_last();
    trial.stage.follow()?;
    let doors = trial.stage.doors.clone();
    trial.fleet.all(&Command::Retarget(doors))
}

fn cut(trial: &mut Trial<'_>, step: Step, hold: f64) -> anyhow::Result<()> {
    let cables = |cluster: &mut Cluster, cut: bool| {
        let cables = cluster.cables.as_ref().context("the links cannot be cut")?;
        match cut {
            true => cables.cut(step.node, step.other),
            false => cables.mend(step.node, step.other),
        }
        anyhow::Ok(())
    };
    cables(cluster(trial)?, true)?;
    trial.rest(hold)?;
    cables(cluster(trial)?, false)
}

fn without(trial: &mut Trial<'_>, kind: Kind, frozen: bool, hold: f64) -> anyhow::Result<()> {
    let (down, up) = match frozen {
        true => (libc::SIGSTOP, Some(libc::SIGCONT)),
        false => (libc::SIGKILL, None),
    };
    let services = |trial: &mut Trial<'_>, what| {
        let services = trial.stage.services.as_ref().context("there are no services")?;
        services.signal(kind, what)
    };
    services(trial, down)?;
    trial.rest(hold)?;
    if let Some(up) = up {
        return services(trial, up);
    }
    let known = trial.stage.services.as_ref().context("there are no services")?;
    let mut start = known.begin_again(kind)?;
    let mut status = None;
    let back = trial.watch_until(RETURN_S, |_| {
        status = start.try_wait()?;
        Ok(status.is_some())
    })?;
    if !back {
        start.kill()?;
        start.wait()?;
    }
    ensure!(
        status.is_some_and(|status| status.success()),
        "{} did not start again",
        kind.name()
    );
    Ok(())
}
