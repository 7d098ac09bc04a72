//! Whether a webhook is Stripe's: its header names a time and what that time and the body come to under a secret that both
//! know (`t=…,v1=…`). While a secret is being replaced there are two of it, and either will do.

use bursar_secret::Secret;
use bursar_time::{Span, Timestamp};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// How far the time of a signature may be from ours, either way.
pub(crate) const TOLERANCE: Span = Span::from_secs(300);

/// The longest header that is read.
const LONGEST: usize = 2_048;
/// How many signatures of one header are tried.
const MOST: usize = 8;

/// Why a body is not taken for Stripe's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotSigned {
    /// There is no signature that could be read.
    #[error("it is not signed")]
    Not,
    /// The signature is of another time.
    #[error("its signature is too old, or of a time to come")]
    NotNow,
    /// The signature is somebody else's, or of another body.
    #[error("its signature is not by the secret")]
    NotOurs,
}

/// Looks whether a body was signed by one of the secrets at about this time.
pub(crate) fn verify(header: &str, body: &[u8], secrets: &[Secret], now: Timestamp) -> Result<(), NotSigned> {
    if header.len() > LONGEST {
        return Err(NotSigned::Not);
    }
    let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
    let seconds = parts().find_map(|(name, value)| (name == "t").then_some(value)).ok_or(NotSigned::Not)?;
    let signatures: Vec<Vec<u8>> =
        parts().filter(|(name, _)| *name == "v1").filter_map(|(_, value)| hex::decode(value).ok()).take(MOST).collect();
    let at: i64 = seconds.parse().map_err(|_| NotSigned::Not)?;
    if signatures.is_empty() {
        return Err(NotSigned::Not);
    }
    let fits = |secret: &Secret| signatures.iter().any(|signature| is_by(secret, seconds, body, signature));
    if !secrets.iter().any(fits) {
        return Err(NotSigned::NotOurs);
    }
    let tolerance = TOLERANCE.as_micros() / 1_000_000;
    if now.as_unix_secs().abs_diff(at) > tolerance.unsigned_abs() {
        return Err(NotSigned::NotNow);
    }
    Ok(())
}

/// In constant time.
fn is_by(secret: &Secret, seconds: &str, body: &[u8], signature: &[u8]) -> bool {
    let Ok(mut print) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else { return false };
    print.update(seconds.as_bytes());
    print.update(b".");
    print.update(body);
    print.verify_slice(signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"id": "evt_1"}"#;
    const AT: i64 = 1_767_225_600;

    fn sign(secret: &str, at: &str, body: &[u8]) -> String {
        let mut print = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        print.update(at.as_bytes());
        print.update(b".");
        print.update(body);
        hex::encode(print.finalize().into_bytes())
    }

    #[test]
    fn only_what_stripe_signs_now_is_taken() {
        let secrets = [Secret::from("whsec_new"), Secret::from("whsec_old")];
        let good = sign("whsec_new", "1767225600", BODY);
        let old = sign("whsec_old", "1767225600", BODY);
        let wrong = sign("whsec_other", "1767225600", BODY);
        let of_another_time = sign("whsec_new", "1767225601", BODY);
        let signed_letters = sign("whsec_new", "x", BODY);
        let many = "v1=00,".repeat(MOST);
        let long = " ".repeat(LONGEST);
        let cases: [(String, i64, Result<(), NotSigned>); 18] = [
            (format!("t={AT},v1={good}"), AT, Ok(())),
            (format!("t={AT},v1={good}"), AT + 300, Ok(())),
            (format!("t={AT},v1={good}"), AT - 300, Ok(())),
            (format!("t={AT}, v1={wrong}, v0=x, v1={good}"), AT, Ok(())),
            (format!("t={AT},v1={old}"), AT, Ok(())),
            (format!("t={AT},v1={good}"), AT + 301, Err(NotSigned::NotNow)),
            (format!("t={AT},v1={good}"), AT - 301, Err(NotSigned::NotNow)),
            (format!("t={AT},v1={wrong}"), AT, Err(NotSigned::NotOurs)),
            (format!("t={AT},v1={of_another_time}"), AT, Err(NotSigned::NotOurs)),
            (format!("t={AT},v1={}", &good[..62]), AT, Err(NotSigned::NotOurs)),
            (format!("t={AT},{many}v1={good}"), AT, Err(NotSigned::NotOurs)),
            (format!("t={AT},v0={good}"), AT, Err(NotSigned::Not)),
            (format!("v1={good}"), AT, Err(NotSigned::Not)),
            (format!("t={AT},v1=zz"), AT, Err(NotSigned::Not)),
            (format!("t=x,v1={signed_letters}"), AT, Err(NotSigned::Not)),
            (String::new(), AT, Err(NotSigned::Not)),
            ("rubbish".to_owned(), AT, Err(NotSigned::Not)),
            (format!("t={AT},v1={good}{long}"), AT, Err(NotSigned::Not)),
        ];
        for (header, now, expected) in cases {
            let now = Timestamp::from_micros(now * 1_000_000).unwrap();
            assert_eq!(verify(&header, BODY, &secrets, now), expected, "{header}");
        }
        let now = Timestamp::from_micros(AT * 1_000_000).unwrap();
        let header = format!("t={AT},v1={good}");
        assert_eq!(verify(&header, b"{}", &secrets, now), Err(NotSigned::NotOurs), "another body");
        assert_eq!(verify(&header, BODY, &[], now), Err(NotSigned::NotOurs), "no secret");
    }

    #[test]
    fn time_at_its_ends_is_no_time_for_it() {
        let secrets = [Secret::from("whsec_new")];
        for at in [i64::MIN, i64::MAX] {
            let header = format!("t={at},v1={}", sign("whsec_new", &at.to_string(), BODY));
            assert_eq!(verify(&header, BODY, &secrets, Timestamp::EPOCH), Err(NotSigned::NotNow));
        }
    }

    /// Whoever sends whatever: nothing passes but the body that was signed.
    #[test]
    fn fuzz_signatures() {
        let (secrets, now) = ([Secret::from("whsec_new")], Timestamp::from_micros(AT * 1_000_000).unwrap());
        let header = format!("t={AT}, v0=x, v1=00, v1={}", sign("whsec_new", &AT.to_string(), BODY));
        assert_eq!(verify(&header, BODY, &secrets, now), Ok(()));
        let sample = [header.as_bytes(), b"\n", BODY].concat();
        bursar_fuzz::fuzz("signatures", &[sample], |bytes| {
            let cut = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
            let (header, body) = (String::from_utf8_lossy(&bytes[..cut]), bytes.get(cut + 1..).unwrap_or_default());
            let passes = verify(&header, body, &secrets, now).is_ok();
            assert!(!passes || body == BODY, "nobody signed this");
        });
    }
}
