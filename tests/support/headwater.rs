//! The real binary as a process of its own: what a shell or Kubernetes would start, stop and kill.

use std::{
    cell::RefCell,
    ffi::OsStr,
    fs::{self, File},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use super::wait::{wait_for, wait_until};

/// One run of `headwater`. Killed by process id when dropped.
pub struct Headwater {
    child: RefCell<Child>,
    command: String,
    /// Holds `stdout` and `stderr`.
    files: TempDir,
}

impl Headwater {
    /// Starts `headwater <args>` in the repository's folder with these variables and no other `HEADWATER_…`.
    pub fn spawn<A: AsRef<OsStr>>(args: &[A], env: &[(&str, &str)]) -> Headwater {
        Headwater::started(command(args, env), args)
    }

    /// The same with no file longer than so many bytes: what a full disk looks like to one process.
    pub fn spawn_cramped<A: AsRef<OsStr>>(args: &[A], env: &[(&str, &str)], most_bytes: u64) -> Headwater {
        // Blocks of 1,024 bytes in bash, of 512 in other shells.
        let mut shell = Command::new("bash");
        let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", most_bytes / 1024);
        let plain = command(args, env);
        shell.args(["-c", &script, "cramped"]).arg(plain.get_program()).args(plain.get_args());
        shell.current_dir(env!("CARGO_MANIFEST_DIR"));
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        Headwater::started(shell, args)
    }

    fn started<A: AsRef<OsStr>>(command: Command, args: &[A]) -> Headwater {
        let mut command = command;
        let files = TempDir::with_prefix("headwater-run-").expect("a temporary folder");
        let file = |name: &str| File::create(files.path().join(name)).expect("an output file");
        let child = command
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .expect("the binary starts");
        let words: Vec<_> = args.iter().map(|word| word.as_ref().to_string_lossy()).collect();
        Headwater { child: RefCell::new(child), command: format!("headwater {}", words.join(" ")), files }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.borrow().id()
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        self.text("stdout")
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        self.text("stderr")
    }

    /// Waits until stdout or stderr holds this text. Panics with both when it ends or `limit` passes before.
    pub fn wait_for_output(&self, text: &str, limit: Duration) {
        let seen = |run: &Headwater| run.stdout().contains(text) || run.stderr().contains(text);
        let found = wait_for(limit, || {
            let ended = !self.is_running();
            if seen(self) { Some(true) } else { ended.then_some(false) }
        });
        assert!(found == Some(true), "{text:?} never came from {}", self.describe());
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        self.child.borrow_mut().try_wait().expect("the process can be asked").is_none()
    }

    /// SIGKILL, as the kernel or a node's death would: nothing can be put in order. Waits until it is gone.
    pub fn kill9(&mut self) {
        self.child.get_mut().kill().expect("the process can be killed");
        self.child.get_mut().wait().expect("the process ends");
    }

    /// SIGTERM, as Kubernetes stops a pod.
    pub fn sigterm(&self) {
        self.signal("TERM");
    }

    /// Sends a signal by name (`STOP`, `CONT`, `INT`).
    pub fn signal(&self, name: &str) {
        // The standard library sends only SIGKILL, and unsafe code is denied.
        let sent =
            Command::new("sh").args(["-c", "kill -\"$1\" \"$2\"", "kill", name, &self.pid().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "SIG{name} to {}", self.describe());
    }

    /// Waits until it has ended by itself. Panics with its output after `limit`.
    pub fn wait(&self, limit: Duration) -> ExitStatus {
        wait_for(limit, || self.child.borrow_mut().try_wait().expect("the process can be asked"))
            .unwrap_or_else(|| panic!("not ended within {limit:?}: {}", self.describe()))
    }

    fn text(&self, name: &str) -> String {
        let bytes = fs::read(self.files.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn describe(&self) -> String {
        format!("{}\n--- stdout\n{}\n--- stderr\n{}", self.command, self.stdout(), self.stderr())
    }
}

impl Drop for Headwater {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.get_mut().kill();
        let _ = self.child.get_mut().wait();
    }
}

/// Runs `headwater <args>` to its end, at most `limit`, and gives status and output.
pub fn run<A: AsRef<OsStr>>(args: &[A], env: &[(&str, &str)], limit: Duration) -> Output {
    let run = Headwater::spawn(args, env);
    let status = run.wait(limit);
    Output { status, stdout: run.stdout().into_bytes(), stderr: run.stderr().into_bytes() }
}

/// Waits until nothing runs under that process id any more.
pub fn wait_until_gone(pid: u32, limit: Duration) {
    let proc = std::path::PathBuf::from(format!("/proc/{pid}"));
    wait_until(limit, || !proc.exists(), || format!("process {pid} still runs"));
}

fn command<A: AsRef<OsStr>>(args: &[A], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEADWATER_")) {
        command.env_remove(name);
    }
    command.envs(env.iter().copied());
    command
}
