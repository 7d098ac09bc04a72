//! Files that somebody else had in their hands.

use bursar_id::OwnerId;
use bursar_secret::Secret;
use bursar_testkit::{START, at, organization, personal};

use super::*;

/// A checkpoint of so many people and organizations, signed.
fn signed(key: &CheckpointKey, accounts: u64) -> Vec<u8> {
    let mut owners: Vec<OwnerId> = (1..=accounts).flat_map(|n| [personal(n), organization(n)]).collect();
    owners.sort();
    let (mut written, mut file) = Written::begin(at(START), &key.public().0.to_bytes());
    for (seq, owner) in (0..).zip(owners) {
        file += &written.head(&Head { owner, seq, hash: [9; 32], at: at(START) });
    }
    file += &written.end(|message| key.sign(message));
    file.into_bytes()
}

/// What a file says in its form, whoever signed it.
fn said(file: &[u8]) -> Result<(Vec<Head>, Sealed), Unusable> {
    let (mut reading, mut heads) = (Read::default(), Vec::new());
    for line in file.split_inclusive(|byte| *byte == b'\n') {
        heads.extend(reading.line(line)?);
    }
    Ok((heads, reading.end()?))
}

/// None is believed but one that was signed, and what can be read at all has one spelling.
#[test]
fn fuzz_checkpoints() {
    let key = CheckpointKey::of(&Sealer::from_key(&Secret::new([7; 32])));
    let samples = [0, 1, 4].map(|accounts| signed(&key, accounts));
    let believed = |mut file: &[u8]| check(&mut file, key.public()).is_ok();
    assert!(samples.iter().all(|sample| believed(sample)));
    bursar_fuzz::fuzz("checkpoints", &samples, |bytes| {
        assert!(!believed(bytes) || samples.iter().any(|sample| sample == bytes), "nobody signed it");
        let Ok((heads, sealed)) = said(bytes) else { return };
        assert_eq!(heads.len() as u64, sealed.heads);
        let (mut written, mut file) = Written::begin(sealed.made_at, &sealed.key);
        for head in &heads {
            file += &written.head(head);
        }
        file += &written.end(|_| sealed.signature);
        assert_eq!(file.as_bytes(), bytes, "two spellings of one checkpoint");
    });
}
