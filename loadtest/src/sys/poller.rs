//! Readiness of many sockets (epoll), with a timeout finer than a millisecond, and a way to wake the waiter.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use super::checked;

/// The token under which a poller reports its own waker.
const WAKER: u64 = u64::MAX;

/// What one socket is ready for.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    pub token: u64,
    pub readable: bool,
    pub writable: bool,
}

/// An epoll instance and its waker.
pub struct Poller {
    epoll: OwnedFd,
    waker: Waker,
    events: Vec<libc::epoll_event>,
}

/// Wakes its poller from any thread.
#[derive(Clone)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    pub fn wake(&self) {
        let one = 1u64;
        // SAFETY: eight bytes of a live u64 are written; a full counter already means "awake".
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    fn drain(&self) {
        let mut count = 0u64;
        // SAFETY: eight bytes are read into a live u64; the descriptor does not block.
        unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), 8) };
    }
}

impl Poller {
    /// A poller that takes at most `batch` events at a time.
    pub fn new(batch: usize) -> io::Result<Self> {
        // SAFETY: plain descriptor-making calls; each answer is checked before it is owned.
        let (epoll, eventfd) = unsafe {
            let epoll = OwnedFd::from_raw_fd(checked(libc::epoll_create1(libc::EPOLL_CLOEXEC))?);
            let flags = libc::EFD_CLOEXEC | libc::EFD_NONBLOCK;
            (epoll, OwnedFd::from_raw_fd(checked(libc::eventfd(0, flags))?))
        };
        let poller = Self {
            epoll,
            waker: Waker(Arc::new(eventfd)),
            events: vec![libc::epoll_event { events: 0, u64: 0 }; batch],
        };
        poller.control(libc::EPOLL_CTL_ADD, &*poller.waker.0, WAKER, libc::EPOLLIN)?;
        Ok(poller)
    }

    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Watches a socket under `token`.
    pub fn add(&self, socket: &impl AsRawFd, token: u64, read: bool, write: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, socket, token, interest(read, write))
    }

    /// Changes what a watched socket is waited for.
    pub fn change(&self, socket: &impl AsRawFd, token: u64, read: bool, write: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, socket, token, interest(read, write))
    }

    fn control(&self, what: libc::c_int, socket: &impl AsRawFd, token: u64, events: libc::c_int) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: events as u32,
            u64: token,
        };
        // SAFETY: both descriptors are open and the event is read during the call only.
        let answer = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), what, socket.as_raw_fd(), &mut event) };
        checked(answer).map(drop)
    }

    /// Waits for readiness, at most so long, and appends what is ready to `ready`. A wake-up is consumed silently.
    pub fn wait(&mut self, timeout_ns: u64, ready: &mut Vec<Ready>) -> io::Result<()> {
        let timeout = libc::timespec {
            tv_sec: (timeout_ns / 1_000_000_000) as libc::time_t,
            tv_nsec: (timeout_ns % 1_000_000_000) as libc::c_long,
        };
        // SAFETY: the buffer holds `len` events; the timeout lives through the call; no signal mask is set.
        let answer = unsafe {
            libc::epoll_pwait2(
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as libc::c_int,
                &timeout,
                std::ptr::null(),
            )
        };
        let count = match checked(answer) {
            Ok(count) => count as usize,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        for event in &self.events[..count] {
            let (token, bits) = (event.u64, event.events as libc::c_int);
            if token == WAKER {
                self.waker.drain();
                continue;
            }
            let broken = bits & (libc::EPOLLERR | libc::EPOLLHUP) != 0;
            ready.push(Ready {
                token,
                readable: broken || bits & (libc::EPOLLIN | libc::EPOLLRDHUP) != 0,
                writable: broken || bits & libc::EPOLLOUT != 0,
            });
        }
        Ok(())
    }
}

fn interest(read: bool, write: bool) -> libc::c_int {
    (if read { libc::EPOLLIN } else { 0 }) | (if write { libc::EPOLLOUT } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::Poller;

    #[test]
    fn a_waker_ends_a_long_wait_and_reports_no_socket() {
        let mut poller = Poller::new(8).unwrap();
        let waker = poller.waker();
        let thread = std::thread::spawn(move || waker.wake());
        let mut ready = Vec::new();
        poller.wait(60_000_000_000, &mut ready).unwrap();
        assert!(ready.is_empty());
        thread.join().unwrap();
    }
}
