//! Processes: where they run, what they have used, and how they end.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::checked;

/// Pins the calling process (and what it starts later) to these processors.
pub fn pin(cpus: &[usize]) -> io::Result<()> {
    // SAFETY: an all-zero set is an empty set; CPU_SET bounds-checks the number; the set lives through the call.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for cpu in cpus {
            libc::CPU_SET(*cpu, &mut set);
        }
        checked(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)).map(drop)
    }
}

/// Makes a child die with us, keep Ctrl-C to us, and run on the given processors. The child must be spawned from the main
/// thread: the kernel ties its end to that thread's.
pub fn harden(command: &mut Command, cpus: Option<Vec<usize>>) {
    command.process_group(0);
    let prepare = move || {
        // SAFETY: prctl with these arguments only sets a flag of the calling process.
        checked(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
        cpus.as_deref().map_or(Ok(()), pin)
    };
    // SAFETY: between fork and exec only two system calls are made; nothing is allocated.
    unsafe { command.pre_exec(prepare) };
}

/// Sends a signal to one process, by its id.
pub fn signal(pid: u32, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: a plain system call; a wrong id is an error.
    checked(unsafe { libc::kill(pid as libc::pid_t, signal) }).map(drop)
}

/// Processor time of a whole process, user and system, threads that have ended included, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct CpuClock(libc::clockid_t);

impl CpuClock {
    pub fn of(pid: u32) -> io::Result<Self> {
        let mut clock = 0;
        // SAFETY: `clock` is a valid place for the answer.
        match unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) } {
            0 => Ok(Self(clock)),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// The time so far; `None` once the process is gone.
    pub fn read(self) -> Option<u64> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a valid place for the answer.
        let answer = unsafe { libc::clock_gettime(self.0, &mut time) };
        (answer == 0).then(|| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::CpuClock;

    #[test]
    fn a_process_that_works_uses_time() {
        let clock = CpuClock::of(std::process::id()).unwrap();
        let before = clock.read().unwrap();
        while clock.read().unwrap() < before + 1_000_000 {
            std::hint::black_box(vec![1u8; 4096]);
        }
    }
}
