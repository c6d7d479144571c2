//! The way to one engine: a channel to a thread, or pipes to a process.

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::process::{Child, ChildStdin, Command as Process, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use anyhow::{Context, anyhow};

use crate::client::Engine;
use crate::plan::{Command, Event};
use crate::sys::{Waker, harden};

/// The argument that makes this program an engine.
pub const WORKER: &str = "--worker";

pub enum Link {
    Thread {
        commands: Option<Sender<Command>>,
        waker: Waker,
        thread: Option<JoinHandle<()>>,
    },
    Process {
        child: Child,
        commands: Option<BufWriter<ChildStdin>>,
    },
}

impl Link {
    /// An engine in a thread of this process.
    pub fn thread(events: Sender<(usize, Event)>) -> anyhow::Result<Self> {
        let (commands, inbox) = channel();
        let (handed, waker) = channel();
        let thread = std::thread::Builder::new().name("engine".into()).spawn(move || {
            let failed = events.clone();
            let ended = run(
                &inbox,
                move |event| drop(events.send((0, event))),
                |waker| {
                    drop(handed.send(waker));
                },
            );
            if let Err(error) = ended {
                drop(failed.send((0, Event::Failed(format!("{error:#}")))));
            }
        })?;
        Ok(Self::Thread {
            commands: Some(commands),
            waker: waker.recv().context("the engine did not start")?,
            thread: Some(thread),
        })
    }

    /// An engine in a process of its own.
    pub fn process(n: usize, events: Sender<(usize, Event)>) -> anyhow::Result<Self> {
        let mut process = Process::new(std::env::current_exe()?);
        process.arg(WORKER).stdin(Stdio::piped()).stdout(Stdio::piped());
        harden(&mut process, None);
        let mut child = process.spawn()?;
        let stdin = child.stdin.take().context("the engine has no input")?;
        let stdout = child.stdout.take().context("the engine has no output")?;
        std::thread::Builder::new()
            .name("engine-events".into())
            .spawn(move || {
                for line in BufReader::new(stdout).lines() {
                    let event = line
                        .map_err(|error| error.to_string())
                        .and_then(|line| serde_json::from_str(&line).map_err(|error| error.to_string()))
                        .unwrap_or_else(Event::Failed);
                    if events.send((n, event)).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self::Process {
            child,
            commands: Some(BufWriter::new(stdin)),
        })
    }

    pub fn pid(&self) -> Option<u32> {
        match self {
            Self::Thread { .. } => None,
            Self::Process { child, .. } => Some(child.id()),
        }
    }

    pub fn tell(&mut self, command: Command) -> anyhow::Result<()> {
        match self {
            Self::Thread { commands, waker, .. } => {
                let commands = commands.as_ref().context("the engine was ended")?;
                commands
                    .send(command)
                    .map_err(|_| anyhow!("the load engine has ended"))?;
                waker.wake();
            }
            Self::Process { commands, .. } => {
                let pipe = commands.as_mut().context("the engine was ended")?;
                serde_json::to_writer(&mut *pipe, &command)?;
                pipe.write_all(b"\n")?;
                pipe.flush().context("the load engine has ended")?;
            }
        }
        Ok(())
    }
}

impl Drop for Link {
    /// The end of its commands is the end of an engine.
    fn drop(&mut self) {
        match self {
            Self::Thread {
                commands,
                waker,
                thread,
            } => {
                drop(commands.take());
                waker.wake();
                if let Some(thread) = thread.take() {
                    drop(thread.join());
                }
            }
            Self::Process { child, commands } => {
                drop(commands.take());
                drop(child.wait());
            }
        }
    }
}

fn run(
    inbox: &Receiver<Command>,
    tell: impl FnMut(Event) + 'static,
    started: impl FnOnce(Waker),
) -> anyhow::Result<()> {
    let engine = Engine::new(tell)?;
    started(engine.waker());
    Ok(engine.run(inbox)?)
}

/// The whole of this program when it was started as an engine: commands from standard input, events to standard output.
pub fn serve_as_worker() -> anyhow::Result<()> {
    crate::sys::raise_open_files();
    let (commands, inbox) = channel();
    let (handed, waker) = channel::<Waker>();
    std::thread::Builder::new().name("commands".into()).spawn(move || {
        let Ok(waker) = waker.recv() else { return };
        for line in std::io::stdin().lines() {
            let Ok(command) = line
                .map_err(anyhow::Error::from)
                .and_then(|line| Ok(serde_json::from_str(&line)?))
            else {
                break;
            };
            if commands.send(command).is_err() {
                break;
            }
            waker.wake();
        }
        drop(commands);
        waker.wake();
    })?;
    let tell = |event: Event| {
        let mut out = std::io::stdout().lock();
        if serde_json::to_writer(&mut out, &event).is_ok() {
            drop(out.write_all(b"\n").and_then(|()| out.flush()));
        }
    };
    run(&inbox, tell, |waker| drop(handed.send(waker)))
}
