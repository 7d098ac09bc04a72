//! `ExportOrganization`: what is in the archive, opened by Python's `zipfile`; who gets it; and what becomes of it meanwhile.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use bursar_db::audit::Outcome;
use bursar_id::Role;
use bursar_proto::billing::v1::GroupBy;
use bursar_proto::organization::v1 as proto;
use bursar_proto::organization::v1::ExportKind::{self, Audit, Content, Library, Members, Projects, Usage};
use bursar_testkit::{Client, audited, refused};
use bursar_time::Span;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tonic::{Code, Status, Streaming};

use crate::avatars::png;
use crate::contents::{noise, start, upload};
use crate::library::{create, document, item};
use crate::world::{World, delete, invite, set_policy, transfer, until};

/// Reads an archive and says of each file how long it is, what its hash is, and what it says if it is text.
const READ: &str = "
import hashlib, json, sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
assert archive.testzip() is None
files = []
for entry in archive.infolist():
    data = archive.read(entry)
    text = data.decode() if entry.filename.endswith('json') else ''
    files.append([entry.filename, len(data), hashlib.sha256(data).hexdigest(), text])
print(json.dumps(files))
";

/// What Python finds in an archive.
#[derive(Debug)]
pub(crate) struct Archive {
    /// Length and SHA-256 of each file.
    pub(crate) files: BTreeMap<String, (u64, String)>,
    /// The lines, or the one document, of each file of text.
    texts: BTreeMap<String, Vec<Value>>,
}

impl Archive {
    fn read(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("export.zip");
        std::fs::write(&path, bytes).expect("written");
        let python = Command::new("python3").args(["-c", READ]).arg(&path).output().expect("python3 runs");
        assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
        let found: Vec<(String, u64, String, String)> = serde_json::from_slice(&python.stdout).expect("JSON");
        let names: Vec<_> = found.iter().map(|(name, ..)| name.clone()).collect();
        assert_eq!(names.last().map(String::as_str), Some("manifest.json"), "the last of {names:?}");
        let mut archive = Self { files: BTreeMap::new(), texts: BTreeMap::new() };
        for (name, length, hash, text) in found {
            let lines = if name.ends_with(".ndjson") { text.lines().collect() } else { vec![text.as_str()] };
            if name.ends_with("json") {
                let lines = lines.into_iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
                archive.texts.insert(name.clone(), lines);
            }
            assert_eq!(archive.files.insert(name.clone(), (length, hash)), None, "{name} is there twice");
        }
        archive
    }

    fn names(&self) -> Vec<&str> {
        self.files.keys().map(String::as_str).collect()
    }

    fn one(&self, name: &str) -> &Value {
        let [one] = self.texts[name].as_slice() else { panic!("{name}: {:?}", self.texts[name]) };
        one
    }

    /// A field of each line.
    pub(crate) fn each(&self, name: &str, field: &str) -> Vec<&Value> {
        self.texts[name].iter().map(|line| &line[field]).collect()
    }
}

async fn begin(
    client: &Client,
    organization: &str,
    kinds: &[ExportKind],
) -> Result<Streaming<proto::ExportOrganizationResponse>, Status> {
    let kinds = kinds.iter().map(|kind| i32::from(*kind)).collect();
    let request = proto::ExportOrganizationRequest { organization_id: organization.to_owned(), kinds };
    Ok(client.organizations().export_organization(request).await?.into_inner())
}

async fn rest(mut stream: Streaming<proto::ExportOrganizationResponse>) -> Result<Vec<u8>, Status> {
    let mut bytes = Vec::new();
    while let Some(part) = stream.message().await? {
        assert!((1..=65_536).contains(&part.chunk.len()), "{} bytes at once", part.chunk.len());
        bytes.extend_from_slice(&part.chunk);
    }
    Ok(bytes)
}

/// Everything that comes until it ends, and how it ends.
async fn received(mut stream: Streaming<proto::ExportOrganizationResponse>) -> (usize, Result<(), Status>) {
    let mut received = 0;
    loop {
        match stream.message().await {
            Ok(Some(part)) => received += part.chunk.len(),
            Ok(None) => return (received, Ok(())),
            Err(status) => return (received, Err(status)),
        }
    }
}

pub(crate) async fn export(client: &Client, organization: &str, kinds: &[ExportKind]) -> Result<Archive, Status> {
    Ok(Archive::read(&rest(begin(client, organization, kinds).await?).await?))
}

bursar_testkit::engines! {
    async fn the_owner_gets_everything_and_python_reads_it(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let name = "A\"c\\me — 株式会社 📦 ../../etc";
        let acme = world.create(&ada, name).await.id;
        let ben = world.join(&ada, &acme, 2, Role::Admin).await;
        // Ids of one instant have no order.
        world.advance(Span::SECOND);
        invite(&ada, &acme, "cem@example.com", Role::Member).await.expect("invited");
        let content = png(600, [200, 30, 30]);
        let avatar = proto::SetAvatarRequest { organization_id: acme.clone(), content, ..Default::default() };
        ada.client.organizations().set_avatar(avatar).await.expect("set");
        let at_work = world.acting(&ben, &acme).client;
        let preferences = Some(document(&[("theme", Some("dark"))]));
        let request = proto::UpdatePreferencesRequest { organization_id: acme.clone(), preferences, ..Default::default() };
        at_work.members().update_preferences(request).await.expect("preferred");
        let project = proto::CreateProjectRequest { owner: acme.clone(), name: "Site — 2".to_owned(), ..Default::default() };
        at_work.projects().create_project(project).await.expect("created");
        let agent = create(&at_work, item(&acme, "agent", "Max \"the\" 機械")).await.expect("made");
        let below = proto::CreateItemRequest { parent: agent.id.clone(), ..item(&acme, "persona", "Kind") };
        let persona = create(&at_work, below).await.expect("made");
        let secret = document(&[("endpoint", Some("https://x.example")), ("token", Some("hush-hush"))]);
        let connection = proto::CreateItemRequest { document: Some(secret), ..item(&acme, "connection", "CRM") };
        let connection = create(&at_work, connection).await.expect("made");
        // More than two segments, nothing, and the same again.
        let bytes = noise((8 << 20) + 12_345);
        let mut assets = Vec::new();
        for (n, bytes) in [bytes.as_slice(), b"", bytes.as_slice()].into_iter().enumerate() {
            let asset = create(&at_work, item(&acme, "brand_asset", &format!("Asset {n}"))).await.expect("made").id;
            upload(&at_work, start(&asset, bytes), bytes).await.expect("uploaded");
            assets.push((asset, bytes));
        }
        // What others have is not in it.
        let zoe = world.who(9);
        let umbra = world.create(&zoe, "Umbra").await.id;
        create(&world.acting(&zoe, &umbra).client, item(&umbra, "agent", "Theirs")).await.expect("made");
        create(&ada.client, item(&ada.user.to_string(), "agent", "Hers alone")).await.expect("made");

        // Whatever the token's context is.
        for client in [&ada.client, &world.acting(&ada, &acme).client] {
            let archive = export(client, &acme, &[]).await.expect("exported");
            let mut names = vec![
                "audit.ndjson", "avatar.jpg", "invitations.ndjson", "library/items.ndjson", "manifest.json", "members.ndjson",
                "organization.json", "preferences.ndjson", "projects.ndjson", "usage.ndjson", "usage_meters.ndjson",
            ];
            let contents: Vec<_> = assets.iter().map(|(id, _)| format!("library/content/{id}")).collect();
            names.extend(contents.iter().map(String::as_str));
            names.sort_unstable();
            assert_eq!(archive.names(), names);
            for ((_, bytes), name) in assets.iter().zip(&contents) {
                let sha256 = hex::encode(Sha256::digest(bytes));
                assert_eq!(archive.files[name], (bytes.len() as u64, sha256), "{name}");
            }
            let organization = archive.one("organization.json");
            assert_eq!(organization["name"], name);
            assert_eq!((&organization["id"], &organization["owner_user_id"]), (&acme.clone().into(), &ada.user.to_string().into()));
            assert_eq!(organization["policy"]["usage_visibility"], "MANAGERS");
            assert_eq!(archive.each("members.ndjson", "user_id"), [&ada.user.to_string(), &ben.user.to_string()]);
            assert_eq!(archive.each("members.ndjson", "role"), ["OWNER", "ADMIN"]);
            assert_eq!(archive.each("preferences.ndjson", "user_id"), [&ben.user.to_string()]);
            assert_eq!(archive.each("preferences.ndjson", "preferences"), [&serde_json::json!({ "theme": "dark" })]);
            assert_eq!(archive.each("invitations.ndjson", "state"), ["PENDING", "ACCEPTED"]);
            assert_eq!(archive.each("projects.ndjson", "name"), ["Site — 2"]);
            let items = &archive.texts["library/items.ndjson"];
            assert_eq!(items.len(), 6);
            let of = |id: &str| items.iter().find(|line| line["id"] == id).expect("an item");
            assert_eq!(of(&persona.id)["parent"], agent.id);
            assert_eq!((&of(&agent.id)["name"], &of(&agent.id)["content"]), (&"Max \"the\" 機械".into(), &Value::Null));
            assert_eq!(of(&assets[0].0)["content"]["size"], bytes.len());
            let connection = of(&connection.id);
            assert_eq!(connection["document"]["endpoint"], "https://x.example");
            assert_eq!(connection["secrets_set"], serde_json::json!(["token"]));
            assert!(!format!("{:?}", archive.texts).contains("hush-hush"), "what is secret stays");
            assert_eq!(archive.each("usage.ndjson", "member"), ["usr_1", "usr_1"]);
            assert_eq!(archive.each("usage.ndjson", "interval_start"), ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]);
            assert_eq!(archive.each("usage_meters.ndjson", "quantity"), ["1000", "1000"]);
            let methods = archive.each("audit.ndjson", "method");
            let itself = Value::from("bursar.organization.v1.OrganizationService/ExportOrganization");
            assert!(methods.contains(&&itself), "what it is itself: {methods:?}");
            let rows = audited(&world.store).await;
            let known = rows.iter().filter(|row| row.owner.map(|owner| owner.to_string()).as_ref() == Some(&acme)).count();
            assert_eq!(methods.len(), known);
            let manifest = archive.one("manifest.json");
            assert_eq!((&manifest["format"], &manifest["organization_id"]), (&1.into(), &acme.clone().into()));
            let counts = serde_json::json!({
                "members": 2, "preferences": 1, "invitations": 2, "projects": 1, "items": 6, "contents": 3, "content_bytes": 2 * bytes.len(),
                "audit": known, "usage": 2, "usage_meters": 2,
            });
            assert_eq!(manifest["counts"], counts);
        }
    }

    async fn an_export_has_what_was_named_and_may_have_nothing(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let files = |kind| match kind {
            Members => vec!["invitations.ndjson", "members.ndjson", "preferences.ndjson"],
            Projects => vec!["projects.ndjson"],
            Library => vec!["library/items.ndjson"],
            Content | ExportKind::Unspecified => vec![],
            Audit => vec!["audit.ndjson"],
            Usage => vec!["usage.ndjson", "usage_meters.ndjson"],
        };
        for kind in [Members, Projects, Library, Content, Audit, Usage] {
            let archive = export(&ada.client, &acme, &[kind, kind]).await.expect("exported");
            let mut names = files(kind);
            names.extend(["manifest.json", "organization.json"]);
            names.sort_unstable();
            assert_eq!(archive.names(), names, "{kind:?}");
            let named = kind.as_str_name().trim_start_matches("EXPORT_KIND_");
            assert_eq!(archive.one("manifest.json")["kinds"], serde_json::json!([named]));
        }
        let archive = export(&ada.client, &acme, &[Projects, Library, Content]).await.expect("exported");
        assert_eq!(archive.texts["library/items.ndjson"], Vec::<Value>::new());
        assert_eq!(archive.one("manifest.json")["counts"]["contents"], 0);
    }

    async fn nobody_but_the_owner_exports_and_whoever_belongs_there_is_audited(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let admin = world.join(&ada, &acme, 2, Role::Admin).await;
        let before: Vec<_> = audited(&world.store).await.into_iter().map(|row| row.id).collect();
        refused(begin(&admin.client, &acme, &[]).await.map(drop), Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        let stranger = refused(begin(&world.who(9).client, &acme, &[]).await.map(drop), Code::PermissionDenied, "NOT_A_MEMBER");
        let nowhere = bursar_testkit::organization(77).to_string();
        let nothing = refused(begin(&ada.client, &nowhere, &[]).await.map(drop), Code::PermissionDenied, "NOT_A_MEMBER");
        assert_eq!(stranger, nothing);
        refused(begin(&world.anybody, &acme, &[]).await.map(drop), Code::Unauthenticated, "TOKEN_MISSING");
        let request = proto::ExportOrganizationRequest { organization_id: acme.clone(), kinds: vec![1, 0, 99] };
        let bad = ada.client.organizations().export_organization(request).await.map(drop);
        assert_eq!(refused(bad, Code::InvalidArgument, "INVALID_FIELDS").fields, ["kinds[1]", "kinds[2]"]);
        export(&ada.client, &acme, &[Members]).await.expect("exported");
        let rows: Vec<_> = audited(&world.store).await.into_iter().filter(|row| !before.contains(&row.id)).collect();
        let told: Vec<_> = rows.iter().map(|row| (row.actor.as_str(), row.outcome, row.reason.as_deref())).collect();
        let (ada, admin) = (ada.user.to_string(), admin.user.to_string());
        let expected = [
            (admin.as_str(), Outcome::Refused, Some("ROLE_NOT_ALLOWED")),
            (ada.as_str(), Outcome::Refused, Some("INVALID_FIELDS")),
            (ada.as_str(), Outcome::Done, None),
        ];
        assert_eq!(told.len(), expected.len(), "{rows:?}");
        assert!(expected.iter().all(|row| told.contains(row)), "{rows:?}");
        assert!(rows.iter().all(|row| row.target.as_deref() == Some(&acme)), "{rows:?}");
    }

    async fn usage_is_told_as_the_policy_has_it_and_not_guessed(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let groups = |request: &bursar_proto::billing::v1::QueryUsageRequest| request.group_by().collect::<Vec<_>>();
        export(&ada.client, &acme, &[Usage]).await.expect("exported");
        let asked = world.usage.asked();
        let told: Vec<_> = asked.iter().map(groups).collect();
        let members = vec![GroupBy::Member, GroupBy::Project, GroupBy::Model];
        let meters = vec![GroupBy::Model, GroupBy::Meter];
        assert_eq!(told, [members.clone(), members, meters.clone(), meters]);
        assert!(asked.iter().all(|request| request.owner == acme && request.to == asked[0].to && request.to.is_some()));
        let nobody = proto::UsageVisibility::Nobody.into();
        let policy = proto::Policy { usage_visibility: nobody, ..Default::default() };
        set_policy(&ada, &acme, "usage_visibility", policy).await.expect("updated");
        let archive = export(&ada.client, &acme, &[Usage]).await.expect("exported");
        assert_eq!(groups(&world.usage.asked()[0]), [GroupBy::Project, GroupBy::Model], "totals alone");
        assert_eq!(archive.each("usage.ndjson", "member"), [&Value::Null, &Value::Null]);
        // Where no account was opened nothing was used; where billing is away nothing is said.
        world.usage.fail(Status::not_found("no account"));
        let archive = export(&ada.client, &acme, &[Usage]).await.expect("exported");
        assert_eq!(archive.texts["usage.ndjson"], Vec::<Value>::new());
        world.usage.fail(Status::unavailable("away"));
        refused(export(&ada.client, &acme, &[]).await, Code::Unavailable, "PEER_UNAVAILABLE");
        export(&ada.client, &acme, &[Audit]).await.expect("without usage");
    }

    async fn whoever_owns_it_no_more_gets_no_more_of_it(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Admin).await;
        let client = world.acting(&ada, &acme).client;
        // One content of several segments.
        let bytes = noise(20 << 20);
        let asset = create(&client, item(&acme, "brand_asset", "Large")).await.expect("made").id;
        upload(&client, start(&asset, &bytes), &bytes).await.expect("uploaded");
        let mut stream = begin(&ada.client, &acme, &[Content]).await.expect("begun");
        let mut begun = 0;
        while begun < 1 << 20 {
            begun += stream.message().await.expect("a chunk").expect("more").chunk.len();
        }
        transfer(&ada, &acme, ben.user).await.expect("transferred");
        let (more, ended) = received(stream).await;
        refused(ended, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        assert!(begun + more < bytes.len(), "{begun} bytes before and {more} after of {}", bytes.len());
        export(&ben.client, &acme, &[]).await.expect("the new owner's");
    }

    async fn a_deleted_organization_is_taken_home_with_the_personal_token_alone(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await;
        let admin = world.join(&ada, &acme.id, 2, Role::Admin).await;
        let bytes = noise(12_345);
        let asset = create(&world.acting(&admin, &acme.id).client, item(&acme.id, "brand_asset", "Logo")).await.expect("made").id;
        upload(&world.acting(&admin, &acme.id).client, start(&asset, &bytes), &bytes).await.expect("uploaded");
        delete(&ada, &acme).await.expect("deleted");
        let archive = export(&ada.client, &acme.id, &[Members, Library, Content, Usage, Audit]).await.expect("exported");
        assert_eq!(archive.one("manifest.json")["counts"]["members"], 2);
        let sha256 = hex::encode(Sha256::digest(&bytes));
        assert_eq!(archive.files[&format!("library/content/{asset}")], (bytes.len() as u64, sha256));
        assert_eq!(archive.each("library/items.ndjson", "id"), [asset.as_str()]);
        assert_eq!(archive.each("usage.ndjson", "member"), ["usr_1", "usr_1"]);
        for nobody in [&world.acting(&ada, &acme.id).client, &admin.client] {
            refused(begin(nobody, &acme.id, &[]).await.map(drop), Code::PermissionDenied, "ORGANIZATION_DELETED");
        }
    }

    async fn one_export_at_a_time_and_none_for_whoever_takes_nothing(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let (acme, umbra) = (world.create(&ada, "Acme").await.id, world.create(&ada, "Umbra").await.id);
        let client = world.acting(&ada, &acme).client;
        let bytes = noise(3 << 20);
        let asset = create(&client, item(&acme, "brand_asset", "Large")).await.expect("made").id;
        upload(&client, start(&asset, &bytes), &bytes).await.expect("uploaded");
        let stream = begin(&ada.client, &acme, &[]).await.expect("begun");
        // Whichever of their organizations it is.
        let second = refused(begin(&ada.client, &umbra, &[]).await.map(drop), Code::ResourceExhausted, "OVERLOADED");
        assert!(second.retryable, "{second:?}");
        // Whoever hangs up is gone at once: sooner than who takes nothing.
        drop(stream);
        until("the place is free", async || match begin(&ada.client, &umbra, &[Members]).await {
            Ok(other) => rest(other).await.is_ok(),
            Err(_) => false,
        })
        .await;
        // Where there is little patience, nothing is taken until the place is free again.
        let hasty = world.starts_again(|settings| settings.library.idle_timeout = Duration::from_millis(300)).await;
        let ada = world.who_at(&hasty, 1, &ada.email);
        let stream = begin(&ada.client, &acme, &[]).await.expect("begun");
        until("it is given up", async || begin(&ada.client, &umbra, &[Members]).await.is_ok()).await;
        refused(rest(stream).await.map(drop), Code::DeadlineExceeded, "EXPORT_STALLED");
    }

    async fn an_export_has_as_many_contents_as_the_setting_says_and_not_one_more(db: TestDb) {
        let world = World::start_with(db, |settings| settings.library.export_contents = 2).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let client = world.acting(&ada, &acme).client;
        let mut assets = Vec::new();
        for n in 0..3 {
            let asset = item(&acme, "brand_asset", &format!("Asset {n}"));
            assets.push(create(&client, asset).await.expect("made").id);
        }
        let give = async |n: usize| upload(&client, start(&assets[n], b"bytes"), b"bytes").await.expect("uploaded");
        for n in 0..2 {
            give(n).await;
        }
        let archive = export(&ada.client, &acme, &[Content]).await.expect("as many as may be");
        assert_eq!(archive.one("manifest.json")["counts"]["contents"], 2);
        // One more comes when it was looked how many there are, and before they are written.
        let gate = world.usage.hold();
        let stream = begin(&ada.client, &acme, &[Usage, Content]).await.expect("begun");
        give(2).await;
        gate.add_permits(1);
        let (_, ended) = received(stream).await;
        let large = refused(ended, Code::FailedPrecondition, "EXPORT_TOO_LARGE");
        assert_eq!(large.metadata["limit"], "2");
        // From then on it is known before anything is given.
        let large = refused(begin(&ada.client, &acme, &[]).await.map(drop), Code::FailedPrecondition, "EXPORT_TOO_LARGE");
        assert_eq!(large.metadata["limit"], "2");
        let archive = export(&ada.client, &acme, &[Library]).await.expect("without content");
        assert_eq!(archive.one("manifest.json")["counts"]["items"], 3);
        let rows = audited(&world.store).await.into_iter().filter(|row| row.reason.as_deref() == Some("EXPORT_TOO_LARGE"));
        assert_eq!(rows.count(), 1, "the refused call has its row");
        let roomy = world.starts_again(|settings| settings.library.export_contents = 3).await;
        let archive = export(&world.who_at(&roomy, 1, &ada.email).client, &acme, &[Content]).await.expect("exported");
        assert_eq!(archive.one("manifest.json")["counts"]["contents"], 3);
    }
}
