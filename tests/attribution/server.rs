//! A real redis-server of a test's own, and a client that shares no code with ours.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::support::wait::{say, test_name, wait_for, wait_until};

const LIMIT: Duration = Duration::from_secs(20);

/// A redis-server on the loopback interface, without files; it ends with the value.
pub struct RedisServer {
    child: Option<Child>,
    port: u16,
    password: Option<&'static str>,
    /// Port of TLS, and where `ca.crt`, `redis.crt` and `redis.key` are.
    tls: Option<(u16, PathBuf)>,
}

impl RedisServer {
    /// Starts one; `None`, said loudly, where there is none on this machine.
    pub fn start(password: Option<&'static str>) -> Option<RedisServer> {
        RedisServer::start_as(password, None)
    }

    /// One that speaks TLS too, with the certificates of that folder.
    pub fn start_with_tls(folder: &Path) -> Option<RedisServer> {
        RedisServer::start_as(None, Some(folder))
    }

    fn start_as(password: Option<&'static str>, tls: Option<&Path>) -> Option<RedisServer> {
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            let line = format!(
                "SKIPPED on Redis: {}: install redis-server (Debian: apt-get install redis-server)",
                test_name()
            );
            say(&line);
            let required = std::env::var_os("HEADWATER_TEST_REQUIRE_REDIS").is_some_and(|value| value == "1");
            assert!(!required, "{line}");
            return None;
        }
        // Between looking for a free port and taking it another test may be faster: then a new one.
        wait_for(LIMIT, || {
            let tls = tls.map(|folder| (free_port(), folder.to_owned()));
            let mut server = RedisServer { child: None, port: free_port(), password, tls };
            server.try_run().then_some(server)
        })
    }

    /// Whether the process is up and answers.
    fn try_run(&mut self) -> bool {
        let port = self.port.to_string();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        if let Some(password) = self.password {
            command.args(["--requirepass", password]);
        }
        if let Some((port, folder)) = &self.tls {
            command.args(["--tls-port", &port.to_string(), "--tls-auth-clients", "no"]);
            for (key, file) in [("cert", "redis.crt"), ("key", "redis.key"), ("ca-cert", "ca.crt")] {
                command.arg(format!("--tls-{key}-file")).arg(folder.join(file));
            }
        }
        let child = command.current_dir(std::env::temp_dir()).stdin(Stdio::null()).stdout(Stdio::null());
        self.child = Some(child.stderr(Stdio::null()).spawn().unwrap());
        wait_for(LIMIT, || {
            if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                return Some(false);
            }
            TcpStream::connect(("127.0.0.1", self.port)).is_ok().then_some(true)
        })
        .unwrap_or(false)
    }

    /// Its process goes, its port stays ours.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Comes back where it was, empty.
    pub fn start_again(&mut self) {
        let mut up = false;
        wait_until(
            LIMIT,
            || {
                up = up || self.try_run();
                up
            },
            || "redis-server does not come back".to_owned(),
        );
    }

    /// `STOP` and `CONT`: it is there and does not answer.
    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// `redis://…` without a password.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// The same with one.
    pub fn url_with(&self, password: &str) -> String {
        format!("redis://:{password}@127.0.0.1:{}/0", self.port)
    }

    /// `rediss://…`.
    pub fn tls_url(&self) -> String {
        let (port, _) = self.tls.as_ref().expect("started with TLS");
        format!("rediss://127.0.0.1:{port}")
    }

    /// Sends commands in one go; each reply as text, of errors the line.
    pub fn ask(&self, commands: &[Vec<String>]) -> Vec<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let mut out = Vec::new();
        let auth = self.password.map(|password| vec!["AUTH".to_owned(), password.to_owned()]);
        for command in auth.iter().chain(commands) {
            write!(out, "*{}\r\n", command.len()).unwrap();
            for word in command {
                write!(out, "${}\r\n{word}\r\n", word.len()).unwrap();
            }
        }
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let writer = std::thread::spawn(move || stream.write_all(&out).unwrap());
        let mut replies: Vec<String> =
            (0..commands.len() + usize::from(auth.is_some())).map(|_| reply(&mut reader)).collect();
        writer.join().unwrap();
        replies.split_off(usize::from(auth.is_some()))
    }

    /// Sends one command of words.
    pub fn run(&self, command: &[&str]) -> String {
        let reply = self.ask(&[command.iter().map(|word| (*word).to_owned()).collect()]).remove(0);
        assert!(!reply.starts_with("-"), "{command:?}: {reply}");
        reply
    }

    /// A number of `INFO`: `total_net_output_bytes`, or the calls of `cmdstat_getrange`.
    pub fn info(&self, section: &str, name: &str) -> u64 {
        let info = self.run(&["INFO", section]);
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("0");
        let number = line.strip_prefix("calls=").unwrap_or(line);
        number.split(',').next().unwrap().trim().parse().unwrap()
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn reply(reader: &mut impl BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let line = line.trim_end();
    match line.split_at(1) {
        ("$", "-1") => String::new(),
        ("$", length) => {
            let mut body = vec![0; length.parse::<usize>().unwrap() + 2];
            reader.read_exact(&mut body).unwrap();
            String::from_utf8_lossy(&body[..body.len() - 2]).into_owned()
        }
        ("-", _) => line.to_owned(),
        (_, rest) => rest.to_owned(),
    }
}
