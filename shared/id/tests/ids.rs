//! The text form of ids: what is read, what is refused and why, and that nothing is lost on the way.

use std::collections::HashSet;

use bursar_id::{
    ApiKeyId, ChargeId, EventId, HoldId, Id, IdProblem, InvitationId, InvoiceId, ItemId, Kind, LotId, OrganizationId,
    OwnerId, ProjectId, PurchaseId, RefundId, ServiceAccountId, SessionId, SubscriptionId, UserId, Uuid, kinds,
};
use proptest::prelude::*;

const ZEROES: &str = "usr_00000000000000000000000000";
const HIGHEST: &str = "usr_7zzzzzzzzzzzzzzzzzzzzzzzzz";

fn uuids() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

#[test]
fn known_texts_name_known_uuids() {
    // The second is the example of the TypeID specification.
    let cases = [
        (ZEROES, "00000000-0000-0000-0000-000000000000"),
        ("usr_01h455vb4pex5vsknk084sn02q", "01890a5d-ac96-774b-bcce-b302099a8057"),
        ("usr_00000000000000000000000001", "00000000-0000-0000-0000-000000000001"),
        ("usr_0000000000000000000000000g", "00000000-0000-0000-0000-000000000010"),
        ("usr_00000000000000000000000010", "00000000-0000-0000-0000-000000000020"),
        (HIGHEST, "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    ];
    for (text, uuid) in cases {
        let id: UserId = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(id.as_uuid().to_string(), uuid, "{text}");
        assert_eq!(id.to_string(), text);
        assert_eq!(id.text().as_str(), text);
        assert_eq!(String::from(id), text);
        assert_eq!(format!("{id:?}"), text);
        assert_eq!(format!("{id:>32}"), format!("  {text}"));
    }
}

#[test]
fn every_kind_has_its_own_prefix() {
    fn prefix<K: Kind>(expected: &'static str) -> &'static str {
        let id = Id::<K>::from_parts(0, [0; 10]);
        assert_eq!(Id::<K>::PREFIX, expected);
        assert_eq!(K::HEAD, format!("{expected}_"));
        assert!(id.to_string().starts_with(K::HEAD), "{id}");
        expected
    }
    let prefixes = [
        prefix::<kinds::User>("usr"),
        prefix::<kinds::Organization>("org"),
        prefix::<kinds::Invitation>("inv"),
        prefix::<kinds::Project>("prj"),
        prefix::<kinds::Item>("itm"),
        prefix::<kinds::Session>("ses"),
        prefix::<kinds::ApiKey>("key"),
        prefix::<kinds::ServiceAccount>("svc"),
        prefix::<kinds::Lot>("lot"),
        prefix::<kinds::Charge>("chg"),
        prefix::<kinds::Hold>("hld"),
        prefix::<kinds::Refund>("ref"),
        prefix::<kinds::Purchase>("pur"),
        prefix::<kinds::Subscription>("sub"),
        prefix::<kinds::Invoice>("ivc"),
        prefix::<kinds::Event>("evt"),
    ];
    assert_eq!(prefixes.iter().collect::<HashSet<_>>().len(), prefixes.len());
    // The aliases name the kinds that their names say.
    let _: (InvitationId, ProjectId, ItemId, SessionId, ApiKeyId, LotId, ChargeId, HoldId) = (
        Id::<kinds::Invitation>::from_parts(0, [0; 10]),
        Id::<kinds::Project>::from_parts(0, [0; 10]),
        Id::<kinds::Item>::from_parts(0, [0; 10]),
        Id::<kinds::Session>::from_parts(0, [0; 10]),
        Id::<kinds::ApiKey>::from_parts(0, [0; 10]),
        Id::<kinds::Lot>::from_parts(0, [0; 10]),
        Id::<kinds::Charge>::from_parts(0, [0; 10]),
        Id::<kinds::Hold>::from_parts(0, [0; 10]),
    );
    let _: (RefundId, PurchaseId, SubscriptionId, InvoiceId, EventId) = (
        Id::<kinds::Refund>::from_parts(0, [0; 10]),
        Id::<kinds::Purchase>::from_parts(0, [0; 10]),
        Id::<kinds::Subscription>::from_parts(0, [0; 10]),
        Id::<kinds::Invoice>::from_parts(0, [0; 10]),
        Id::<kinds::Event>::from_parts(0, [0; 10]),
    );
}

#[test]
fn wrong_texts_are_refused_with_the_reason() {
    let long = format!("{ZEROES}{}", "0".repeat(1 << 20));
    let bad = |position| IdProblem::BadCharacter { position };
    let cases = [
        ("", IdProblem::WrongPrefix),
        ("usr", IdProblem::WrongPrefix),
        ("org_00000000000000000000000000", IdProblem::WrongPrefix),
        ("USR_00000000000000000000000000", IdProblem::WrongPrefix),
        (" usr_00000000000000000000000000", IdProblem::WrongPrefix),
        ("usr-00000000000000000000000000", IdProblem::WrongPrefix),
        ("00000000-0000-0000-0000-000000000000", IdProblem::WrongPrefix),
        ("usr_", IdProblem::WrongLength { found: 4 }),
        ("usr_0000000000000000000000000", IdProblem::WrongLength { found: 29 }),
        ("usr_000000000000000000000000000", IdProblem::WrongLength { found: 31 }),
        ("usr_00000000000000000000000000 ", IdProblem::WrongLength { found: 31 }),
        (&long, IdProblem::WrongLength { found: 30 + (1 << 20) }),
        ("usr_i0000000000000000000000000", bad(5)),
        ("usr_0l000000000000000000000000", bad(6)),
        ("usr_0000000000000000000000000o", bad(30)),
        ("usr_000000000000u0000000000000", bad(17)),
        ("usr_0000000000000000000000000A", bad(30)),
        ("usr_0000000000000_000000000000", bad(18)),
        ("usr_000000000000000000000000\u{e9}", bad(29)),
        ("usr_000000000000000000000000\n0", bad(29)),
        ("usr_80000000000000000000000000", IdProblem::Overflow),
        ("usr_zzzzzzzzzzzzzzzzzzzzzzzzzz", IdProblem::Overflow),
    ];
    for (text, problem) in cases {
        let found = text.parse::<UserId>().map_err(|error| error.problem);
        assert_eq!(found, Err(problem), "{:?}", text.get(..40).unwrap_or(text));
    }
}

#[test]
fn messages_are_sentences_without_the_text() {
    let cases = [
        ("secret", "must be an id that starts with chg_: it begins otherwise"),
        ("chg_1", "must be an id that starts with chg_: it has 5 bytes instead of 30"),
        (
            "chg_0000000000000000000000000!",
            "must be an id that starts with chg_: character 30 is not lower-case base32",
        ),
        ("chg_z0000000000000000000000000", "must be an id that starts with chg_: its value does not fit into 128 bits"),
    ];
    for (text, message) in cases {
        assert_eq!(text.parse::<ChargeId>().unwrap_err().to_string(), message, "{text}");
    }
    let message = "lot_".parse::<OwnerId>().unwrap_err().to_string();
    assert_eq!(message, "must be an id that starts with usr_ or org_: it begins otherwise");
}

#[test]
fn well_known_service_accounts_never_change() {
    let cases = [
        (ServiceAccountId::OPERATOR, "svc_0000000000e008000000000001"),
        (ServiceAccountId::IDENTITY, "svc_0000000000e008000000000002"),
        (ServiceAccountId::ORGANIZATION, "svc_0000000000e008000000000003"),
        (ServiceAccountId::BILLING, "svc_0000000000e008000000000004"),
    ];
    for (id, text) in cases {
        assert_eq!(id.to_string(), text);
        assert_eq!(text.parse(), Ok(id));
    }
}

#[test]
fn owners_are_people_or_organizations() {
    let user = UserId::from_parts(7, [1; 10]);
    let organization = OrganizationId::from_parts(7, [1; 10]);
    let (own, shared) = (OwnerId::from(user), OwnerId::from(organization));
    assert_eq!((own.user(), own.organization()), (Some(user), None));
    assert_eq!((shared.user(), shared.organization()), (None, Some(organization)));
    assert_ne!(own, shared);
    assert_eq!(own.to_string(), user.to_string());
    assert_eq!(String::from(shared), organization.to_string());

    let problem = |text: &str| text.parse::<OwnerId>().unwrap_err().problem;
    assert_eq!(problem(""), IdProblem::WrongPrefix);
    assert_eq!(problem("prj_00000000000000000000000000"), IdProblem::WrongPrefix);
    assert_eq!(problem("org_"), IdProblem::WrongLength { found: 4 });
    assert_eq!(problem("usr_0000000000000000000000000u"), IdProblem::BadCharacter { position: 30 });
    assert_eq!(problem("org_80000000000000000000000000"), IdProblem::Overflow);
}

#[test]
fn json_has_the_text() {
    let user: UserId = ZEROES.parse().unwrap();
    assert_eq!(serde_json::to_string(&user).unwrap(), format!("\"{ZEROES}\""));
    assert_eq!(serde_json::from_str::<UserId>(&format!("\"{ZEROES}\"")).unwrap(), user);
    assert_eq!(serde_json::from_value::<OwnerId>(ZEROES.into()).unwrap(), OwnerId::User(user));
    assert_eq!(serde_json::to_value(OwnerId::User(user)).unwrap(), ZEROES);
    for wrong in ["7", "null", "\"usr_\"", "\"org_00000000000000000000000000\""] {
        assert!(serde_json::from_str::<UserId>(wrong).is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn text_keeps_every_uuid(uuid in uuids()) {
        let id = ChargeId::from_uuid(uuid);
        let text = id.to_string();
        prop_assert_eq!(text.len(), 30);
        prop_assert_eq!(text.parse::<ChargeId>(), Ok(id));
        prop_assert_eq!(text.parse::<ChargeId>().unwrap().as_uuid(), uuid);
    }

    /// One spelling for each id: whatever is read is written the same.
    #[test]
    fn reading_is_injective(text in "usr_[0-9a-z_]{26}|usr_[0-7][0-9a-hjkmnp-tv-z]{25}|.{0,40}") {
        if let Ok(id) = text.parse::<UserId>() {
            prop_assert_eq!(id.to_string(), text);
        }
    }

    /// Locks are taken in the order of ids by the program and in the order of texts by databases.
    #[test]
    fn ids_sort_as_their_texts(a in uuids(), b in uuids()) {
        let (x, y) = (LotId::from_uuid(a), LotId::from_uuid(b));
        prop_assert_eq!(x.cmp(&y), x.to_string().cmp(&y.to_string()));
    }

    #[test]
    fn owners_sort_as_their_texts(a in uuids(), b in uuids(), a_user: bool, b_user: bool) {
        let owner = |uuid, user| if user {
            OwnerId::from(UserId::from_uuid(uuid))
        } else {
            OwnerId::from(OrganizationId::from_uuid(uuid))
        };
        let (x, y) = (owner(a, a_user), owner(b, b_user));
        prop_assert_eq!(x.cmp(&y), x.to_string().cmp(&y.to_string()));
        prop_assert_eq!(x.to_string().parse::<OwnerId>(), Ok(x));
    }

    #[test]
    fn parts_make_a_version_7_uuid(millis in 0u64..1 << 48, random: [u8; 10]) {
        let id = SessionId::from_parts(millis, random);
        prop_assert_eq!(id.timestamp_millis(), millis);
        prop_assert_eq!(id.as_uuid().get_version_num(), 7);
        prop_assert_eq!(id.as_uuid().get_variant(), uuid::Variant::RFC4122);
    }

    #[test]
    fn later_ids_sort_after(a in 0u64..1 << 48, b in 0u64..1 << 48, x: [u8; 10], y: [u8; 10]) {
        prop_assume!(a != b);
        prop_assert_eq!(LotId::from_parts(a, x).cmp(&LotId::from_parts(b, y)), a.cmp(&b));
    }
}

#[test]
fn an_owner_survives_its_compact_form_and_keeps_its_order() {
    let owners = [
        OwnerId::Organization(OrganizationId::from_parts(1, [0; 10])),
        OwnerId::Organization(OrganizationId::from_parts(2, [9; 10])),
        OwnerId::User(UserId::from_parts(0, [0; 10])),
        OwnerId::User(UserId::from_parts(3, [1; 10])),
    ];
    let bytes = owners.map(OwnerId::to_bytes);
    assert!(bytes.is_sorted(), "{bytes:?}");
    assert_eq!(bytes.map(|it| OwnerId::from_bytes(&it)), owners.map(Some));
    let mut unknown = bytes[0];
    unknown[0] = 2;
    for bad in [&unknown[..], &bytes[0][..16], &[]] {
        assert_eq!(OwnerId::from_bytes(bad), None, "{bad:?}");
    }
}

#[test]
fn a_custom_id_carries_its_74_bits() {
    let all = (1_u128 << 74) - 1;
    for bits in [0, 1, all, 0x155_5555_5555_5555_5555, 1 << 62] {
        let id = UserId::from_custom(1_700_000_000_123, bits);
        assert_eq!(id.custom(), Some(bits));
        assert_eq!(id.timestamp_millis(), 1_700_000_000_123);
        assert_eq!((id.as_uuid().get_version_num(), id.as_uuid().get_variant()), (8, uuid::Variant::RFC4122));
        assert_eq!(id.to_string().parse::<UserId>(), Ok(id));
    }
    assert_eq!(UserId::from_parts(1, [1; 10]).custom(), None, "a version 7");
}

#[test]
fn fuzz_ids() {
    let samples = [ZEROES, HIGHEST, "org_01h455vb4pex5vsknk084sn02q", "usr_01h455vb4pex5vsknk084sn02q"];
    bursar_fuzz::fuzz("ids", &samples, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(id) = text.parse::<UserId>() {
            assert_eq!(id.to_string(), text, "two spellings of one id");
        }
        if let Ok(owner) = text.parse::<OwnerId>() {
            assert_eq!(owner.to_string(), text, "two spellings of one owner");
            assert_eq!(OwnerId::from_bytes(&owner.to_bytes()), Some(owner));
        }
        if let Some(owner) = OwnerId::from_bytes(bytes) {
            assert_eq!(owner.to_bytes().as_slice(), bytes, "two spellings of one owner's bytes");
        }
    });
}
