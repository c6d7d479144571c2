//! A test that hangs ends with a reason: which one it was, and where its threads stand.
//!
//! What a test waits for has bounds of its own. This is for what nobody foresaw: without it whoever runs the tests learns of it
//! from silence alone. The process ends at once, so what it started is left to whoever started it.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Far longer than any test takes, on a machine that does much else.
const LIMIT: Duration = Duration::from_secs(900);
const CHECK: Duration = Duration::from_secs(1);

/// The tests that run: their names, and since when.
static RUNNING: Mutex<BTreeMap<u64, (String, Instant)>> = Mutex::new(BTreeMap::new());

thread_local! {
    static TEST: Test = Test::begin();
}

/// What a thread is in; each test has one of its own.
struct Test(u64);

impl Test {
    fn begin() -> Self {
        static WATCH: Once = Once::new();
        static NEXT: AtomicU64 = AtomicU64::new(0);
        WATCH.call_once(|| drop(thread::spawn(watch)));
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = thread::current().name().unwrap_or("a thread without a name").to_owned();
        RUNNING.lock().insert(number, (name, Instant::now()));
        Self(number)
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        RUNNING.lock().remove(&self.0);
    }
}

/// Bounds the test that this thread runs. Whatever many tests begin with calls it; only the first call of each counts.
pub fn of_this_test() {
    TEST.with(|_| {});
}

fn watch() {
    let hangs = || RUNNING.lock().values().any(|(_, since)| since.elapsed() > LIMIT);
    while !hangs() {
        thread::sleep(CHECK);
    }
    // Not `eprintln!`, which may be kept for the report of a test.
    let mut out = std::io::stderr();
    for (name, since) in RUNNING.lock().values() {
        writeln!(
            out,
            "--- {name} has run for {:?}, and {LIMIT:?} are the most",
            since.elapsed()
        )
        .ok();
    }
    tell_where_all_threads_are();
    std::process::abort();
}

/// By a debugger where there is one, else as the kernel sees it.
fn tell_where_all_threads_are() {
    let pid = std::process::id().to_string();
    let debugger = Command::new("timeout")
        .args([
            "60",
            "gdb",
            "-nx",
            "-batch",
            "-p",
            &pid,
            "-ex",
            "thread apply all backtrace 40",
        ])
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .stderr(Stdio::null())
        .status();
    if debugger.is_ok_and(|status| status.success()) {
        return;
    }
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    for task in tasks.map(|task| task.path()) {
        let read = |what| std::fs::read_to_string(task.join(what)).unwrap_or_default();
        let (name, waits) = (read("comm"), read("wchan"));
        writeln!(std::io::stderr(), "{}: {} in {waits}", task.display(), name.trim()).ok();
    }
}
