//! Standard Webhooks signatures (standardwebhooks.com, specification 1.0): sign what goes out, verify what comes in.
//!
//! Signed is `id.timestamp.body` with HMAC-SHA256; the header holds `v1,<base64>`, several separated by spaces while
//! a secret is being changed.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::secret::Secret;

/// Header with the message's id: the same over retries, so that a receiver can drop repeats.
pub const ID: &str = "webhook-id";
/// Header with the attempt's time, in seconds since 1970 UTC.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// Header with the signatures.
pub const SIGNATURE: &str = "webhook-signature";
/// How far a timestamp may be from now, both ways, in seconds: as the reference libraries have it.
pub const TOLERANCE_S: i64 = 5 * 60;

/// Base64 as people paste it: padding may be missing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a secret cannot be used. Shows nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Copy the secret again, whole.
    #[error("what follows whsec_ is not base64")]
    NotBase64,
    /// An empty secret signs nothing: is its variable set?
    #[error("it is empty")]
    Empty,
}

/// Why a message is not to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    #[error("webhook-timestamp is not a number of seconds")]
    Timestamp,
    #[error("webhook-timestamp is more than five minutes away from now")]
    TooFar,
    #[error("no signature in webhook-signature fits")]
    Signature,
}

/// Signs and verifies with one secret.
#[derive(Clone)]
pub struct Signer {
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(***)")
    }
}

impl Signer {
    /// From `whsec_<base64>`, or the bytes of a plain text.
    pub fn new(secret: &Secret) -> Result<Self, SecretError> {
        let key = match secret.expose().strip_prefix("whsec_") {
            Some(encoded) => BASE64.decode(encoded.trim()).map_err(|_| SecretError::NotBase64)?,
            None => secret.expose().as_bytes().to_vec(),
        };
        if key.is_empty() {
            return Err(SecretError::Empty);
        }
        // HMAC takes keys of any length; the error cannot occur but by being empty.
        let mac = Hmac::new_from_slice(&key).map_err(|_| SecretError::Empty)?;
        Ok(Signer { mac })
    }

    /// The value of `webhook-signature` for one attempt; `timestamp_s` is in seconds since 1970 UTC.
    pub fn sign(&self, id: &str, timestamp_s: i64, body: &[u8]) -> String {
        let mac = self.over(id, &timestamp_s.to_string(), body);
        format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
    }

    /// Whether one of the signatures fits, compared in constant time, and the timestamp is near `now_s`.
    pub fn verify(&self, id: &str, timestamp: &str, signatures: &str, body: &[u8], now_s: i64) -> Result<(), Forged> {
        let at: i64 = timestamp.parse().map_err(|_| Forged::Timestamp)?;
        if at.abs_diff(now_s) > TOLERANCE_S as u64 {
            return Err(Forged::TooFar);
        }
        let mac = self.over(id, timestamp, body);
        let fits = signatures
            .split(' ')
            .filter_map(|signature| signature.strip_prefix("v1,"))
            .filter_map(|encoded| BASE64.decode(encoded).ok())
            .any(|tag| mac.clone().verify_slice(&tag).is_ok());
        if fits { Ok(()) } else { Err(Forged::Signature) }
    }

    fn over(&self, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        for piece in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(piece);
        }
        mac
    }
}

/// The message id for a trigger's id. As it is where it may stand in a header and holds no full stop (which separates
/// what is signed); otherwise its hash, as deterministic.
pub fn message_id(trigger_id: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'.' && byte != b',';
    if !trigger_id.is_empty() && trigger_id.len() <= 256 && trigger_id.bytes().all(plain) {
        return trigger_id.to_owned();
    }
    use std::fmt::Write;
    Sha256::digest(trigger_id.as_bytes()).iter().fold(String::from("msg_"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn signer() -> Signer {
        Signer::new(&SECRET.into()).unwrap()
    }

    #[test]
    fn the_specification_s_vector_comes_out() {
        assert_eq!(signer().sign(ID, AT, BODY), SIGNED);
        assert_eq!(signer().verify(ID, "1614265330", SIGNED, BODY, AT), Ok(()));
    }

    #[test]
    fn any_of_several_signatures_will_do() {
        let both = format!("v1,AAAA v2,xyz v1a,abc {SIGNED}");
        assert_eq!(signer().verify(ID, "1614265330", &both, BODY, AT), Ok(()));
    }

    #[test]
    fn a_changed_body_id_time_or_secret_is_refused() {
        let signer = signer();
        let verify = |id: &str, at: &str, signature: &str, body: &[u8]| signer.verify(id, at, signature, body, AT);
        assert_eq!(verify(ID, "1614265330", SIGNED, b"{}"), Err(Forged::Signature));
        assert_eq!(verify("msg_other", "1614265330", SIGNED, BODY), Err(Forged::Signature));
        assert_eq!(verify(ID, "1614265331", SIGNED, BODY), Err(Forged::Signature));
        assert_eq!(verify(ID, "1614265330", "", BODY), Err(Forged::Signature));
        assert_eq!(verify(ID, "1614265330", &SIGNED[3..], BODY), Err(Forged::Signature));
        assert_eq!(verify(ID, "1614265330", &SIGNED[..20], BODY), Err(Forged::Signature));
        let other = Signer::new(&"plain text".into()).unwrap();
        assert_eq!(other.verify(ID, "1614265330", SIGNED, BODY, AT), Err(Forged::Signature));
    }

    #[test]
    fn an_old_or_future_timestamp_is_refused_whatever_the_signature() {
        assert_eq!(signer().verify(ID, "1614265330", SIGNED, BODY, AT + 300), Ok(()));
        assert_eq!(signer().verify(ID, "1614265330", SIGNED, BODY, AT + 301), Err(Forged::TooFar));
        assert_eq!(signer().verify(ID, "1614265330", SIGNED, BODY, AT - 301), Err(Forged::TooFar));
        assert_eq!(signer().verify(ID, "yesterday", SIGNED, BODY, AT), Err(Forged::Timestamp));
        assert_eq!(signer().verify(ID, "-9223372036854775808", SIGNED, BODY, AT), Err(Forged::TooFar));
    }

    #[test]
    fn unusable_secrets_are_told_apart_and_none_is_printed() {
        assert_eq!(Signer::new(&"".into()).unwrap_err(), SecretError::Empty);
        assert_eq!(Signer::new(&"whsec_".into()).unwrap_err(), SecretError::Empty);
        assert_eq!(Signer::new(&"whsec_???".into()).unwrap_err(), SecretError::NotBase64);
        assert_eq!(format!("{:?}", signer()), "Signer(***)");
    }

    #[test]
    fn an_id_that_cannot_stand_in_a_header_is_hashed_and_stays_the_same() {
        assert_eq!(message_id("win-back:ops-hook:e1"), "win-back:ops-hook:e1");
        for odd in ["", "win-back:events.raw-3-7", "ü", "two words", "a\r\nb", &"x".repeat(257)] {
            let id = message_id(odd);
            assert!(id.starts_with("msg_") && id.len() == 68, "{id}");
            assert_eq!(id, message_id(odd));
        }
        assert_ne!(message_id("a.b"), message_id("a.c"));
    }
}
