//! Randomness, secrets and tokens: nothing shows, nothing is ambiguous.

use std::collections::HashSet;

use bursar_secret::{Entropy, Secret, Token, TokenDigest, TokenError};
use proptest::prelude::*;

#[test]
fn the_system_does_not_repeat_itself() {
    let entropy = Entropy::system();
    let drawn: HashSet<[u8; 16]> = (0..1_000).map(|_| entropy.bytes()).collect();
    assert_eq!(drawn.len(), 1_000);
    assert_eq!(format!("{entropy:?}"), "Entropy(system)");
}

#[test]
fn a_seed_repeats_itself_and_clones_share_it() {
    let (one, two) = (Entropy::seeded(7), Entropy::seeded(7));
    assert_eq!(one.bytes::<32>(), two.bytes::<32>());
    let clone = one.clone();
    assert_eq!((one.bytes::<8>(), clone.bytes::<8>()), (two.bytes::<8>(), two.bytes::<8>()));
    assert_ne!(Entropy::seeded(8).bytes::<32>(), Entropy::seeded(7).bytes::<32>());
    assert_eq!(format!("{one:?}"), "Entropy(seeded)");
}

#[test]
fn every_number_below_a_bound_is_drawn() {
    let entropy = Entropy::seeded(1);
    assert_eq!((entropy.u64_below(0), entropy.u64_below(1)), (0, 0));
    let mut counts = [0u32; 6];
    for _ in 0..6_000 {
        counts[usize::try_from(entropy.u64_below(6)).unwrap()] += 1;
    }
    assert!(counts.iter().all(|count| (850..=1_150).contains(count)), "{counts:?}");
}

#[test]
fn secrets_do_not_show() {
    let secret = Secret::from("hunter2");
    let token = Token::generate(&Entropy::seeded(3));
    let shown = format!("{secret:?} {token:?} {:?} {:#?}", token.digest(), Some(&secret));
    assert_eq!(shown, "[redacted] Token([redacted]) TokenDigest([redacted]) Some(\n    [redacted],\n)");
    assert_eq!(secret.expose(), "hunter2");
    assert_eq!(serde_json::from_str::<Secret>("\"hunter2\"").unwrap(), secret);
    assert_ne!(secret, Secret::from("hunter"));
    assert_ne!(secret, Secret::from("hunter3"));
    assert_eq!(Secret::from(vec![1, 2]), Secret::new(vec![1, 2]));
}

#[test]
fn tokens_have_one_spelling() {
    let zeroes = "A".repeat(43);
    let token = Token::parse(&zeroes).unwrap();
    assert_eq!(token.to_text().expose(), &zeroes);
    let sha256_of_32_zero_bytes = [
        0x66, 0x68, 0x7a, 0xad, 0xf8, 0x62, 0xbd, 0x77, 0x6c, 0x8f, 0xc1, 0x8b, 0x8e, 0x9f, 0x8e, 0x20, 0x08, 0x97,
        0x14, 0x85, 0x6e, 0xe2, 0x33, 0xb3, 0x90, 0x2a, 0x59, 0x1d, 0x0d, 0x5f, 0x29, 0x25,
    ];
    assert_eq!(token.digest().as_bytes(), &sha256_of_32_zero_bytes);
    assert_eq!(TokenDigest::try_from(&sha256_of_32_zero_bytes[..]).unwrap(), token.digest());
    assert!(TokenDigest::try_from(&[0; 31][..]).is_err());

    let (short, long) = ("A".repeat(42), "A".repeat(44));
    let huge = "A".repeat(1 << 20);
    let spare_bit = format!("{}B", "A".repeat(42));
    let padded = format!("{zeroes}=");
    let standard = format!("{}+", "A".repeat(42));
    let spaced = format!(" {zeroes}");
    for wrong in ["", &short, &long, &huge, &spare_bit, &padded, &standard, &spaced] {
        assert_eq!(Token::parse(wrong), Err(TokenError), "{:?}", &wrong[..wrong.len().min(50)]);
    }
}

proptest! {
    #[test]
    fn text_keeps_every_token(seed: u64) {
        let token = Token::generate(&Entropy::seeded(seed));
        let text = token.to_text();
        prop_assert_eq!(text.expose().len(), 43);
        let read = Token::parse(text.expose()).unwrap();
        prop_assert_eq!(read.digest(), token.digest());
        prop_assert!(read == token);
    }

    #[test]
    fn nothing_else_is_read(text in "[A-Za-z0-9_-]{43}|.{0,50}") {
        if let Ok(token) = Token::parse(&text) {
            let written = token.to_text();
            prop_assert_eq!(written.expose(), &text);
        }
    }
}
