//! Sealing, and the file of the master key.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as loudly as tests do")]

use std::path::Path;
use std::sync::Barrier;

use bursar_secret::{Entropy, KeyError, OpenError, Sealer, Secret};
use proptest::prelude::*;

fn sealer(byte: u8) -> Sealer {
    Sealer::from_key(&Secret::new([byte; 32]))
}

fn opens(sealer: &Sealer, message: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
    sealer.open(message, aad).ok().map(|plain| plain.expose().clone())
}

#[test]
fn only_the_same_key_and_place_open() {
    let entropy = Entropy::seeded(1);
    let message = sealer(1).seal(&entropy, b"secret", b"mail/1");
    assert_eq!(opens(&sealer(1), &message, b"mail/1").as_deref(), Some(&b"secret"[..]));
    assert_eq!(sealer(2).open(&message, b"mail/1"), Err(OpenError));
    assert_eq!(sealer(1).open(&message, b"mail/2"), Err(OpenError));
    assert!(!message.windows(6).any(|window| window == b"secret"));
    assert_ne!(message, sealer(1).seal(&entropy, b"secret", b"mail/1"), "a nonce was used twice");
    assert_eq!(format!("{:?}", sealer(1)), "Sealer([redacted])");
}

#[test]
fn keys_are_hexadecimal_or_base64() {
    let message = sealer(0xfb).seal(&Entropy::seeded(2), b"x", b"");
    let hex = "fb".repeat(32);
    let standard = "+/v7".repeat(10) + "+/s";
    let url = "-_v7".repeat(10) + "-_s";
    let padded = format!("{standard}=");
    let good = [hex.clone(), hex.to_uppercase(), format!("\n {hex} \n"), standard, padded, url];
    for text in good {
        let sealer = Sealer::from_text(&Secret::from(text.as_str())).unwrap();
        assert!(opens(&sealer, &message, b"").is_some(), "{text:?} is another key");
    }
    for wrong in ["", "fb", &"fb".repeat(31), &"fb".repeat(33), &"zz".repeat(32), "not a key at all"] {
        let error = Sealer::from_text(&Secret::from(wrong)).unwrap_err();
        assert!(matches!(error, KeyError::Malformed), "{wrong:?}: {error}");
    }
}

#[test]
fn a_key_file_is_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.key");
    assert!(matches!(Sealer::load(&path), Err(KeyError::Io { .. })));
    let made = Sealer::load_or_create(&path, &Entropy::system()).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let message = made.seal(&Entropy::system(), b"kept", b"");
    let again = Sealer::load_or_create(&path, &Entropy::system()).unwrap();
    assert!(opens(&again, &message, b"").is_some() && opens(&Sealer::load(&path).unwrap(), &message, b"").is_some());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a draft was left behind");
}

#[test]
fn racing_programs_end_up_with_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.key");
    let start = Barrier::new(8);
    let sealers: Vec<Sealer> = std::thread::scope(|scope| {
        let run = || {
            start.wait();
            Sealer::load_or_create(&path, &Entropy::system()).unwrap()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let message = sealers[0].seal(&Entropy::system(), b"one", b"");
    assert!(sealers.iter().all(|sealer| opens(sealer, &message, b"").is_some()));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a draft was left behind");
}

#[test]
fn a_broken_key_file_is_neither_used_nor_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.key");
    std::fs::write(&path, "hunter2").unwrap();
    let error = Sealer::load_or_create(&path, &Entropy::system()).unwrap_err();
    assert!(matches!(error, KeyError::MalformedFile { .. }));
    assert!(error.to_string().contains("master.key") && !error.to_string().contains("hunter2"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "hunter2");

    let error = Sealer::load_or_create(Path::new("/nonexistent/key"), &Entropy::system()).unwrap_err();
    assert!(error.to_string().starts_with("/nonexistent/key: "), "{error}");
}

proptest! {
    #[test]
    fn what_was_sealed_opens_and_nothing_else(
        plain in prop::collection::vec(any::<u8>(), 0..200),
        aad in prop::collection::vec(any::<u8>(), 0..20),
        seed: u64,
        at: prop::sample::Index,
        flip in 1u8..,
    ) {
        let sealer = sealer(9);
        let mut message = sealer.seal(&Entropy::seeded(seed), &plain, &aad);
        prop_assert_eq!(message.len(), plain.len() + 41);
        prop_assert_eq!(opens(&sealer, &message, &aad), Some(plain));
        let cut = at.index(message.len());
        prop_assert_eq!(opens(&sealer, &message[..cut], &aad), None);
        message[cut] ^= flip;
        prop_assert_eq!(opens(&sealer, &message, &aad), None);
    }
}

#[test]
fn derived_keys_belong_to_their_master_key_and_purpose() {
    let one = sealer(1).derive("page tokens");
    assert_eq!(one, sealer(1).derive("page tokens"), "every replica has the same one");
    assert_ne!(one, sealer(1).derive("page tokens "));
    assert_ne!(one, sealer(2).derive("page tokens"));
    assert_ne!(one.expose(), &[1; 32], "it is not the master key");
}

#[test]
fn fuzz_sealed() {
    let good = sealer(1).seal(&Entropy::seeded(1), b"secret", b"mail/1");
    bursar_fuzz::fuzz("sealed", &[&good], |bytes| {
        let opened = opens(&sealer(1), bytes, b"mail/1");
        assert_eq!(opened.is_some(), bytes == good, "opened what nobody sealed");
        assert_eq!(opens(&sealer(1), bytes, b"mail/2"), None);
    });
}

#[test]
fn fuzz_keys() {
    let samples = ["fb".repeat(32), "+/v7".repeat(10) + "+/s", "-_v7".repeat(10) + "-_s="];
    bursar_fuzz::fuzz("keys", &samples, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Err(error) = Sealer::from_text(&Secret::from(&*text)) {
            assert!(text.len() < 32 || !error.to_string().contains(&*text), "a refusal that repeats a key");
        }
    });
}
