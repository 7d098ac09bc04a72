//! `SetAvatar` and `GetAvatar`.

use std::io::Cursor;

use bursar_id::Role;
use bursar_proto::organization::v1 as proto;
use bursar_rpc::ServiceRole;
use bursar_testkit::{Client, Refusal, organization, png_that_says, refused};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::world::World;

/// A picture of one colour.
pub(crate) fn png(side: u32, colour: [u8; 3]) -> Vec<u8> {
    let picture = DynamicImage::ImageRgb8(RgbImage::from_pixel(side, side, Rgb(colour)));
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).expect("a picture");
    bytes.into_inner()
}

async fn set(client: &Client, organization: &str, content: Vec<u8>, request_id: &str) -> Result<(), Status> {
    let (organization_id, request_id) = (organization.to_owned(), request_id.to_owned());
    let request = proto::SetAvatarRequest { organization_id, content, request_id };
    client.organizations().set_avatar(request).await.map(drop)
}

async fn get(client: &Client, organization: &str, size: i32) -> Result<proto::GetAvatarResponse, Status> {
    get_unless(client, organization, size, "").await
}

async fn get_unless(
    client: &Client,
    organization: &str,
    size: i32,
    known: &str,
) -> Result<proto::GetAvatarResponse, Status> {
    let (organization_id, if_none_match) = (organization.to_owned(), known.to_owned());
    let request = proto::GetAvatarRequest { organization_id, size, if_none_match };
    Ok(client.organizations().get_avatar(request).await?.into_inner())
}

bursar_testkit::engines! {
    async fn a_picture_is_drawn_anew_and_shown_to_members_and_the_products_services(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Admin).await;
        let cem = world.join(&ada, &acme, 3, Role::Member).await;
        let sent = png(300, [200, 0, 0]);
        set(&ben.client, &acme, sent.clone(), "").await.expect("an Admin may");
        for (asked, given) in [(0, 192), (1, 64), (100, 192), (512, 512), (100_000, 512)] {
            let shown = get(&cem.client, &acme, asked).await.expect("a member sees it");
            let picture = image::load_from_memory(&shown.content).expect("a picture");
            assert_eq!((picture.width(), picture.height()), (given, given), "asked for {asked}");
            assert_eq!((shown.media_type.as_str(), shown.not_modified), ("image/jpeg", false));
            assert_ne!(shown.content, sent);
        }
        let product = world.service(ServiceRole::Product);
        let shown = get(&product, &acme, 64).await.expect("a service of the product sees it");
        let eve = world.issuer.user(world.who(9).user).at(world.clock.now());
        let stranger = get(&product.for_user(&eve), &acme, 64).await;
        refused(stranger, Code::PermissionDenied, "NOT_A_MEMBER");
        let known = get_unless(&cem.client, &acme, 64, &shown.etag).await.expect("known");
        assert!(known.not_modified && known.content.is_empty() && known.etag == shown.etag, "{known:?}");
        set(&ada.client, &acme, png(300, [0, 0, 200]), "").await.expect("the Owner may");
        let other = get_unless(&cem.client, &acme, 64, &shown.etag).await.expect("another one");
        assert!(!other.not_modified && other.etag != shown.etag);
        set(&ada.client, &acme, Vec::new(), "").await.expect("removed");
        refused(get(&cem.client, &acme, 64).await, Code::NotFound, "NOT_FOUND");
    }

    async fn who_may_not_and_what_is_no_picture_changes_nothing(db: TestDb) {
        let world = World::start(db).await;
        let (ada, eve) = (world.who(1), world.who(9));
        let acme = world.create(&ada, "Acme").await.id;
        let dan = world.join(&ada, &acme, 4, Role::Member).await;
        let absent = organization(77).to_string();
        let good = || png(20, [1, 2, 3]);
        refused(set(&dan.client, &acme, good(), "").await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        for organization in [&acme, &absent] {
            refused(set(&eve.client, organization, good(), "").await, Code::PermissionDenied, "NOT_A_MEMBER");
            refused(get(&eve.client, organization, 0).await, Code::PermissionDenied, "NOT_A_MEMBER");
        }
        let identity = world.service(ServiceRole::Identity);
        refused(get(&identity, &acme, 0).await, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        refused(get(&world.service(ServiceRole::Product), &absent, 0).await, Code::NotFound, "NOT_FOUND");
        refused(get(&world.anybody, &acme, 0).await, Code::Unauthenticated, "TOKEN_MISSING");
        let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>".to_vec();
        let cut = good()[..40].to_vec();
        let pixels = "must have at most 4096 pixels either way";
        for (content, because) in [
            (svg, "must be a PNG, JPEG or WebP picture"),
            (png_that_says(&good(), 65_535, 65_535), pixels),
            (png_that_says(&good(), 4_097, 1), pixels),
            (png_that_says(&good(), 1, 4_097), pixels),
            (cut, "is a broken picture"),
            (vec![0; 1024 * 1024 + 1], "must have at most 1 MiB"),
            (b"x".to_vec(), "must be a PNG, JPEG or WebP picture"),
        ] {
            let status = set(&ada.client, &acme, content, "").await.expect_err("no picture");
            let refusal = Refusal::of(&status);
            assert_eq!((refusal.code, refusal.reason.as_str()), (Code::InvalidArgument, "INVALID_FIELDS"));
            assert_eq!(refusal.fields, ["content"]);
            let said = status.get_details_bad_request().expect("what is wrong").field_violations.remove(0);
            assert_eq!(said.description, because);
        }
        let negative = Refusal::of(&get(&ada.client, &acme, -1).await.expect_err("negative"));
        assert_eq!(negative.fields, ["size"]);
        refused(get(&ada.client, &acme, 0).await, Code::NotFound, "NOT_FOUND");
    }

    async fn a_request_id_sets_one_picture(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let first = png(20, [1, 2, 3]);
        set(&ada.client, &acme, first.clone(), "r").await.expect("set");
        let etag = get(&ada.client, &acme, 64).await.expect("shown").etag;
        set(&ada.client, &acme, png(20, [9, 9, 9]), "s").await.expect("set");
        set(&ada.client, &acme, first, "r").await.expect("answered as before");
        assert_ne!(get(&ada.client, &acme, 64).await.expect("shown").etag, etag, "the repetition changed nothing");
        let reused = set(&ada.client, &acme, png(20, [7, 7, 7]), "r").await;
        refused(reused, Code::AlreadyExists, "REQUEST_ID_REUSED");
    }

    async fn many_at_once_are_drawn_or_told_to_come_again(db: TestDb) {
        let world = World::start(db).await;
        let (ada, ben) = (world.who(1), world.who(2));
        let mut hers = Vec::new();
        for name in ["Acme", "Azur", "Atlas", "Alto"] {
            hers.push(world.create(&ada, name).await.id);
        }
        let umbra = world.create(&ben, "Umbra").await.id;
        let large = png(1_500, [5, 5, 5]);
        let calls = (0..24).map(|n| set(&ada.client, &hers[n % hers.len()], large.clone(), ""));
        let (outcomes, other) =
            tokio::join!(futures::future::join_all(calls), set(&ben.client, &umbra, large.clone(), ""));
        other.expect("somebody else has a place beside her");
        let drawn = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert!(drawn >= 4, "only {drawn} had a place");
        for outcome in outcomes.into_iter().filter(Result::is_err) {
            refused(outcome, Code::ResourceExhausted, "OVERLOADED");
        }
        set(&ada.client, &hers[0], large, "").await.expect("places are given back");
    }
}
