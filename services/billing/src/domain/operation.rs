//! Operation ids: names of ledger entries that say which entry they name.
//!
//! An id of a charge, hold, refund or lot is a UUID of version 8 (RFC 9562, section 5.8): the millisecond in which
//! it was booked, then the entry's number, masked by a keyed hash of owner, time and kind, with a tag that a guess
//! meets once in 2²⁶. Whoever knows the owner and the installation's key turns an id back into the number, so no
//! index over operations is needed; everybody else learns nothing from it but the time. An id is believed only
//! after the entry that it leads to has been found to carry it.

use bursar_id::{Id, Kind, OwnerId};
use bursar_time::Timestamp;
use sha2::{Digest, Sha256};

/// How many bits of an id are the entry's number.
const SEQ_BITS: u32 = 48;

/// How many are the tag.
const TAG_BITS: u32 = 26;

/// The installation's key for operation ids. Made once and kept for ever: without it no id leads anywhere.
#[derive(Clone, Copy)]
pub struct OperationKey([u8; 32]);

impl std::fmt::Debug for OperationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OperationKey(..)")
    }
}

impl OperationKey {
    /// The key with these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The id of what entry number `seq` of `owner`'s ledger makes at `at`.
    pub fn id<K: Kind>(&self, owner: OwnerId, at: Timestamp, seq: u64) -> Id<K> {
        let millis = at.as_millis();
        let pad = self.pad(owner, millis, K::PREFIX);
        let masked = (seq ^ pad.mask) & ((1 << SEQ_BITS) - 1);
        Id::from_custom(millis, (u128::from(masked) << TAG_BITS) | u128::from(pad.tag(seq)))
    }

    /// The number of the entry that an id names, if it can name one of `owner`'s.
    pub fn seq<K: Kind>(&self, owner: OwnerId, id: Id<K>) -> Option<u64> {
        let custom = id.custom()?;
        let pad = self.pad(owner, id.timestamp_millis(), K::PREFIX);
        let masked = u64::try_from(custom >> TAG_BITS).ok()?;
        let seq = (masked ^ pad.mask) & ((1 << SEQ_BITS) - 1);
        let tag = u64::try_from(custom & ((1 << TAG_BITS) - 1)).ok()?;
        (seq > 0 && pad.tag(seq) == tag).then_some(seq)
    }

    /// A number for each list of texts of one owner, which nobody without the key can foresee.
    pub(super) fn weight(&self, owner: OwnerId, about: &str, parts: &[&[u8]]) -> u128 {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(about);
        hash.update(owner.to_bytes());
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut first = [0; 16];
        first.copy_from_slice(&hash.finalize()[..16]);
        u128::from_be_bytes(first)
    }

    /// One hash gives both the mask and the key of the tag.
    fn pad(&self, owner: OwnerId, millis: u64, kind: &str) -> Pad {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(owner.to_bytes());
        hash.update(millis.to_be_bytes());
        hash.update(kind);
        let bytes: [u8; 32] = hash.finalize().into();
        let (mut mask, mut tag_key) = ([0; 8], [0; 24]);
        mask.copy_from_slice(&bytes[..8]);
        tag_key.copy_from_slice(&bytes[8..]);
        Pad { mask: u64::from_be_bytes(mask), tag_key }
    }
}

/// What hides the number of one owner's entries in one millisecond.
struct Pad {
    mask: u64,
    tag_key: [u8; 24],
}

impl Pad {
    fn tag(&self, seq: u64) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.tag_key);
        hash.update(seq.to_be_bytes());
        let bytes: [u8; 32] = hash.finalize().into();
        u64::from_be_bytes([0, 0, 0, 0, bytes[0], bytes[1], bytes[2], bytes[3]]) >> (32 - TAG_BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursar_id::{ChargeId, HoldId, UserId};
    use proptest::prelude::*;

    const KEY: OperationKey = OperationKey::new([7; 32]);

    fn owner(n: u64) -> OwnerId {
        OwnerId::User(UserId::from_parts(n, [1; 10]))
    }

    proptest! {
        #[test]
        fn an_id_leads_back_to_its_number(seq in 1_u64..1 << SEQ_BITS, millis in 0_i64..1 << 47, who: u64) {
            let at = Timestamp::from_micros(millis * 1_000).unwrap();
            let id: ChargeId = KEY.id(owner(who), at, seq);
            prop_assert_eq!(KEY.seq(owner(who), id), Some(seq));
            prop_assert_eq!(id.timestamp_millis(), at.as_millis());
        }
    }

    #[test]
    fn to_others_it_leads_nowhere() {
        let at = Timestamp::from_unix_secs(1_700_000_000).unwrap();
        let id: ChargeId = KEY.id(owner(1), at, 42);
        assert_eq!(KEY.seq(owner(2), id), None, "another owner's");
        assert_eq!(OperationKey::new([8; 32]).seq(owner(1), id), None, "another installation's");
        assert_eq!(KEY.seq(owner(1), HoldId::from_uuid(id.as_uuid())), None, "another kind");
        assert_eq!(KEY.seq(owner(1), ChargeId::from_parts(1, [3; 10])), None, "made elsewhere");
        let ids: std::collections::BTreeSet<ChargeId> = (1..1_000).map(|seq| KEY.id(owner(1), at, seq)).collect();
        assert_eq!(ids.len(), 999, "no two alike");
    }
}
