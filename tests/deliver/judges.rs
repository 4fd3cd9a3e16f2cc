//! Standard Webhooks' own library for Python judges our signatures, and we judge its.

use headwater::deliver::signature::Signer;

use super::SECRET;
use crate::python;

const JUDGE: &str = r#"
import sys, datetime
from standardwebhooks.webhooks import Webhook
secret, identity, timestamp, signature = sys.argv[1:5]
body = sys.stdin.buffer.read().decode()
headers = {"webhook-id": identity, "webhook-timestamp": timestamp, "webhook-signature": signature}
hook = Webhook(secret)
hook.verify(body, headers)
try:
    hook.verify(body.replace("win", "lose"), headers)
except Exception:
    pass
else:
    sys.exit("the judge accepts anything")
print(hook.sign(identity, datetime.datetime.fromtimestamp(int(timestamp), tz=datetime.timezone.utc), body))
"#;

#[test]
fn the_reference_library_accepts_our_signature_and_we_accept_its() {
    let instead = "the specification's vector was checked";
    let Some(library) = python::library("standardwebhooks==1.1.*", "standardwebhooks", instead) else { return };
    let signer = Signer::new(&SECRET.into()).unwrap();
    let (id, now_s) = ("win-back:ops-hook:e1", headwater::clock::unix_ms() / 1_000);
    let body = "{\"type\":\"trigger\",\"campaign\":\"win-back\",\"city\":\"Linköping\"}".as_bytes();
    let signature = signer.sign(id, now_s, body);
    let theirs = python::run(&library, JUDGE, &[SECRET, id, &now_s.to_string(), &signature], body);
    assert_eq!(signer.verify(id, &now_s.to_string(), &theirs, body, now_s), Ok(()));
    assert_eq!(theirs, signature);
}
