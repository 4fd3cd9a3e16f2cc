//! Apache Kafka, one KRaft broker started by the tests: real isolation, real fencing, real markers.

use std::{
    fs,
    io::{self, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::{Once, OnceLock},
    time::Duration,
};

use tempfile::TempDir;

use super::wait::{say, test_name, wait_for};

/// A broker is up in 3 to 5 s on a quiet machine.
const START: Duration = Duration::from_secs(60);

/// Ends the broker and removes its data when the pipe on its stdin closes, hence also when the test process is killed.
/// Arguments: data folder, log file, then the broker's command line.
const WATCHDOG: &str = r#"
data=$1; log=$2; shift 2
trap '' INT
exec 3<&0
"$@" >"$log" 2>&1 </dev/null 3<&- & broker=$!
echo "$broker" >"$data/pid"
( while read -r _ <&3; do :; done; kill -KILL "$broker" 2>/dev/null ) & watch=$!
wait "$broker"; code=$?
kill "$watch" 2>/dev/null
rm -rf "$data"
exit "$code"
"#;

/// One running broker. Ended by process id when dropped or when the test process ends, whatever way.
pub struct ApacheKafka {
    bootstrap: String,
    log: PathBuf,
    watchdog: Child,
    /// Closing it ends the broker.
    lifeline: Option<ChildStdin>,
}

impl ApacheKafka {
    /// The broker that all tests of this process share; topics of different tests need different names.
    /// `None`, after saying so, where Java or Maven is missing.
    pub fn shared() -> Option<&'static ApacheKafka> {
        static SHARED: OnceLock<Option<ApacheKafka>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| libraries().as_ref().ok().map(|libraries| ApacheKafka::launch(libraries)));
        if shared.is_none() {
            say_skipped();
        }
        shared.as_ref()
    }

    /// A broker of one's own, for tests that stop it. `None`, after saying so, where Java or Maven is missing.
    pub fn start() -> Option<ApacheKafka> {
        let started = libraries().as_ref().ok().map(|libraries| ApacheKafka::launch(libraries));
        if started.is_none() {
            say_skipped();
        }
        started
    }

    /// `127.0.0.1:port`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Runs one of Kafka's own tools, such as `org.apache.kafka.tools.TopicCommand`.
    /// `--bootstrap-server` is passed first; `input` goes to its stdin.
    pub fn tool(&self, class: &str, args: &[&str], input: &str) -> Output {
        java_tool(&self.bootstrap, class, args, input).expect("Java was there when the broker was started")
    }

    /// The folder of its data, settings and log; gone when the broker is.
    pub fn data(&self) -> &Path {
        self.log.parent().expect("the log lies in the folder")
    }

    /// Process id of the broker.
    pub fn broker_pid(&self) -> u32 {
        let pid = fs::read_to_string(self.data().join("pid")).expect("written at start");
        pid.trim().parse().expect("a process id")
    }

    /// What the broker has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn launch(libraries: &Path) -> ApacheKafka {
        // A port that was free may be taken before the broker binds it: choose again.
        let mut why = String::new();
        for _ in 0..3 {
            match ApacheKafka::attempt(libraries) {
                Ok(kafka) => {
                    static RAN: Once = Once::new();
                    RAN.call_once(|| report("RAN on Apache Kafka"));
                    return kafka;
                }
                Err(log) if log.contains("Address already in use") => why = log,
                Err(log) => panic!("Apache Kafka did not start:\n{log}"),
            }
        }
        panic!("Apache Kafka found no free port in three attempts:\n{why}");
    }

    fn attempt(libraries: &Path) -> Result<ApacheKafka, String> {
        let data = TempDir::with_prefix("headwater-kafka-").expect("a temporary folder");
        let [broker, controller] = free_ports();
        fs::write(data.path().join("server.properties"), properties(data.path(), broker, controller))
            .expect("settings");
        fs::write(data.path().join("log4j2.properties"), LOGGING).expect("settings");
        format(libraries, data.path());

        // From here on the watchdog removes the folder.
        let data = data.keep();
        let log = data.join("broker.log");
        let mut watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "headwater-kafka"])
            .args([&data, &log])
            .arg("java")
            .args(["-Xmx512m", "-Xms128m"])
            .arg(logging(&data))
            .arg("-cp")
            .arg(libraries.join("*"))
            .arg("kafka.Kafka")
            .arg(data.join("server.properties"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // The shell would report the kill; what the broker says is in the log.
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        let lifeline = watchdog.stdin.take();
        let mut kafka = ApacheKafka { bootstrap: format!("127.0.0.1:{broker}"), log, watchdog, lifeline };

        // The log goes with the folder when the broker ends by itself, so the last sight of it is kept.
        let mut seen = String::new();
        let started = wait_for(START, || {
            let log = kafka.log();
            if !log.is_empty() {
                seen = log;
            }
            if seen.contains("Kafka Server started") {
                return Some(true);
            }
            matches!(kafka.watchdog.try_wait(), Ok(Some(_))).then_some(false)
        });
        if started == Some(true) { Ok(kafka) } else { Err(tail(&seen, 40)) }
    }
}

impl Drop for ApacheKafka {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.watchdog.wait();
    }
}

/// Whether Kafka's own tools can run; says loudly where they cannot.
pub fn has_tools() -> bool {
    let there = libraries().is_ok();
    if !there {
        say_skipped();
    }
    there
}

/// Runs one of Kafka's own tools against any broker, also the development broker. `None` where Java or Maven is missing.
pub fn java_tool(bootstrap: &str, class: &str, args: &[&str], input: &str) -> Option<Output> {
    let Ok(libraries) = libraries() else {
        say_skipped();
        return None;
    };
    let mut child = Command::new("java")
        .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(libraries.join("*"))
        .args([class, "--bootstrap-server", bootstrap])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("java starts");
    let mut stdin = child.stdin.take().expect("piped");
    // The tool may end before it has read everything.
    match stdin.write_all(input.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => panic!("writing to {class}: {error}"),
        _ => drop(stdin),
    }
    Some(child.wait_with_output().expect("java ends"))
}

/// The folder of Kafka's libraries, fetched when missing; or why there is none.
fn libraries() -> &'static Result<PathBuf, String> {
    static LIBRARIES: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    LIBRARIES.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let fetch = Command::new("sh").arg(root.join("tests/support/fetch-kafka.sh")).stdin(Stdio::null()).output();
        let fetch = fetch.map_err(|error| format!("sh: {error}"))?;
        let said = String::from_utf8_lossy(&fetch.stderr).trim().to_owned();
        match fetch.status.code() {
            Some(0) if Command::new("java").arg("-version").output().is_ok() => Ok(root.join(".kafka/libs")),
            Some(0) => Err("java not found: install a Java 17 runtime".into()),
            Some(3) => Err(said),
            // Java and Maven are there, so this is a fault and not a choice.
            _ => panic!("fetching Apache Kafka failed:\n{said}"),
        }
    })
}

/// Says loudly that this test did not run; where `HEADWATER_TEST_REQUIRE_KAFKA=1` (as in .ci/run) that is a failure.
fn say_skipped() {
    let why = libraries().as_ref().err().cloned().unwrap_or_default();
    let line = format!("SKIPPED on Apache Kafka: {}: {why}", test_name());
    say(&line);
    report(&line);
    assert!(std::env::var_os("HEADWATER_TEST_REQUIRE_KAFKA").is_none_or(|value| value != "1"), "{line}");
}

/// Appends to the file that `make test` reads at its end.
fn report(line: &str) {
    if let Some(path) = std::env::var_os("HEADWATER_TEST_KAFKA_REPORT") {
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        // One write of less than a page: lines of parallel tests do not mix.
        file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())).expect("the report can be written");
    }
}

/// One broker that is its own controller. Why each setting: FACTS of Kafka with one broker.
fn properties(data: &Path, broker: u16, controller: u16) -> String {
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={}/data
auto.create.topics.enable=false
# Without this every first join of a group waits 3 s.
group.initial.rebalance.delay.ms=0
# One broker cannot hold three copies.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# The defaults (50 each) make the first commit slow.
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
",
        data.display()
    )
}

const LOGGING: &str = "rootLogger.level = INFO
rootLogger.appenderRef.console.ref = CONSOLE
appender.console.type = Console
appender.console.name = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss.SSS} %p %m (%c{1})%n
";

fn logging(data: &Path) -> String {
    format!("-Dlog4j2.configurationFile={}", data.join("log4j2.properties").display())
}

fn format(libraries: &Path, data: &Path) {
    let output = Command::new("java")
        .args(["-Xmx128m", "-XX:TieredStopAtLevel=1"])
        .arg(logging(data))
        .arg("-cp")
        .arg(libraries.join("*"))
        .args(["kafka.tools.StorageTool", "format", "-t", &cluster_id(), "-c"])
        .arg(data.join("server.properties"))
        .output()
        .expect("java starts");
    assert!(output.status.success(), "formatting: {}", String::from_utf8_lossy(&output.stdout));
}

/// A UUID of 16 bytes in base64, as Kafka writes it: 21 characters and one that carries two bits.
fn cluster_id() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(21).chain(['A']).collect()
}

/// Two ports that were free a moment ago. Both are held until both are known: asked for one after the other they may be
/// the same one.
fn free_ports() -> [u16; 2] {
    let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    held.map(|listener| listener.local_addr().expect("an address").port())
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
