//! Standard Webhooks' own library for Python judges our signatures, and we judge its.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use headwater::deliver::signature::Signer;

use super::SECRET;

const JUDGE: &str = r#"
import sys, datetime
from standardwebhooks.webhooks import Webhook
secret, identity, timestamp, signature = sys.argv[1:5]
body = sys.stdin.buffer.read().decode()
hook = Webhook(secret)
hook.verify(body, {"webhook-id": identity, "webhook-timestamp": timestamp, "webhook-signature": signature})
try:
    hook.verify(body + " ", {"webhook-id": identity, "webhook-timestamp": timestamp, "webhook-signature": signature})
    sys.exit("the judge accepts anything")
except Exception as error:
    pass
at = datetime.datetime.fromtimestamp(int(timestamp), tz=datetime.timezone.utc)
print(hook.sign(identity, at, body))
"#;

/// A folder with the library, or why there is none. Once made it is kept for the next run.
fn library() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("standardwebhooks-1.1");
    if folder.join("standardwebhooks").is_dir() {
        return Ok(folder);
    }
    let output = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
        .arg(&folder)
        .arg("standardwebhooks==1.1.*")
        .output()
        .map_err(|error| format!("python3: {error}"))?;
    if output.status.success() { Ok(folder) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn the_reference_library_accepts_our_signature_and_we_accept_its() {
    use std::io::Write;
    let library = match library() {
        Ok(library) => library,
        Err(why) => {
            eprintln!(
                "NOT RUN: the judge `standardwebhooks` cannot be installed ({why}); only the vectors were checked"
            );
            return;
        }
    };
    let signer = Signer::new(&SECRET.into()).unwrap();
    let (id, now_s) = ("win-back:ops-hook:e1", headwater::clock::unix_ms() / 1_000);
    let body = "{\"type\":\"trigger\",\"city\":\"Linköping\"}";
    let signature = signer.sign(id, now_s, body.as_bytes());
    let mut judge = Command::new("python3")
        .args(["-c", JUDGE, SECRET, id, &now_s.to_string(), &signature])
        .env("PYTHONPATH", library)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    judge.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let verdict = judge.wait_with_output().unwrap();
    assert!(verdict.status.success(), "{}", String::from_utf8_lossy(&verdict.stderr));
    let theirs = String::from_utf8(verdict.stdout).unwrap();
    assert_eq!(signer.verify(id, &now_s.to_string(), theirs.trim(), body.as_bytes(), now_s), Ok(()));
    assert_eq!(theirs.trim(), signature);
}
