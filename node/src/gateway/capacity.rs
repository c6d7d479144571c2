//! How many connections this process can hold, and what bounds it.

use std::fmt;

/// Descriptors kept for everything that isn't a client: the store, the log, listeners, files being served.
const RESERVED_FILES: u64 = 512;
/// What a connected, idle client costs the machine: socket, descriptor and dentry in the kernel, and our own records.
const BYTES_A_CONNECTION: u64 = 6 * 1024;

/// How many connections fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacity {
    pub connections: u64,
    pub bound: Bound,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// The limit of open files of this process; raise its hard limit (`ulimit -Hn`, `LimitNOFILE=`).
    OpenFiles,
    /// The memory that is free now.
    Memory,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenFiles => "open files (the hard limit of RLIMIT_NOFILE)",
            Self::Memory => "memory available now",
        })
    }
}

impl Capacity {
    /// Raises the limit of open files as far as it goes, and says what fits.
    pub fn raise() -> Self {
        let files = raise_open_files();
        let memory = available_memory().map(|bytes| bytes / BYTES_A_CONNECTION);
        Self::of(files, memory)
    }

    fn of(files: u64, memory: Option<u64>) -> Self {
        let by_files = files.saturating_sub(RESERVED_FILES).max(1);
        match memory {
            Some(by_memory) if by_memory < by_files => Self {
                connections: by_memory,
                bound: Bound::Memory,
            },
            _ => Self {
                connections: by_files,
                bound: Bound::OpenFiles,
            },
        }
    }
}

/// Sets the soft limit of open files to the hard one; returns what holds then.
#[expect(unsafe_code, reason = "setrlimit has no safe form in the standard library")]
fn raise_open_files() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a live, properly aligned rlimit, which is all both calls ask for.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 {
            return 1024;
        }
        let raised = libc::rlimit {
            rlim_cur: limit.rlim_max,
            ..limit
        };
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raised) == 0 {
            limit = raised;
        }
    }
    limit.rlim_cur
}

/// `MemAvailable` of Linux, in bytes.
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lesser_bound_is_named() {
        let files = Capacity::of(20_000, Some(1_000_000));
        assert_eq!(
            (files.connections, files.bound),
            (20_000 - RESERVED_FILES, Bound::OpenFiles)
        );
        let memory = Capacity::of(1_000_000, Some(5));
        assert_eq!((memory.connections, memory.bound), (5, Bound::Memory));
    }

    #[test]
    fn the_limit_of_open_files_can_be_raised() {
        assert!(Capacity::raise().connections > 0);
    }
}
