//! What an owner takes home.

use std::process::Command;

use bursar_proto::organization::v1::{
    ExportKind, ExportOrganizationRequest, Policy, UpdatePolicyRequest, UsageVisibility,
};

use crate::support::{
    given,
    waiting::{PATIENCE, eventually},
    world::World,
};

/// Prints a file of an archive.
const PRINT: &str = "import sys, zipfile; print(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]).decode(), end='')";

/// A file of what somebody takes home of usage, the audit log and the library's content.
pub(crate) async fn export(who: &bursar_testkit::Person, organization: &str, file: &str) -> String {
    let kinds = vec![ExportKind::Usage.into(), ExportKind::Audit.into(), ExportKind::Content.into()];
    let request = ExportOrganizationRequest { organization_id: organization.to_owned(), kinds };
    let mut parts = given(who.client().organizations().export_organization(request).await);
    let mut bytes = Vec::new();
    while let Some(part) = parts.message().await.expect("the next chunk") {
        bytes.extend(part.chunk);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("export.zip");
    std::fs::write(&path, bytes).expect("written");
    let printed = Command::new("python3").args(["-c", PRINT]).arg(&path).arg(file).output().expect("python3 runs");
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    String::from_utf8(printed.stdout).expect("text")
}

/// Usage is what billing counted, of each member, and where the policy says so of nobody; the audit log is of all services.
pub(crate) async fn an_owner_exports_what_all_services_know(world: World) {
    let team = world.team().on_business().with_members(1).assemble().await;
    team.charge(&team.members[0], "2.5").await;
    team.charge(&team.owner, "1").await;
    let usage = export(&team.owner, &team.id, "usage.ndjson").await;
    assert_eq!(usage.lines().count(), 2, "{usage}");
    let of = |user: &str| usage.lines().find(|line| line.contains(user)).unwrap_or_default();
    assert!(of(&team.members[0].user).contains("\"charged\":\"2.5\""), "{usage}");
    assert!(of(&team.owner.user).contains("\"charged\":\"1\""), "{usage}");
    eventually("what billing audited is known", PATIENCE, async || {
        let audit = export(&team.owner, &team.id, "audit.ndjson").await;
        audit.contains("bursar.billing.v1.SubscriptionService/Subscribe").then_some(())
    })
    .await;
    let policy = Some(Policy { usage_visibility: UsageVisibility::Nobody.into(), ..Policy::default() });
    let request = UpdatePolicyRequest { organization_id: team.id.clone(), policy, ..UpdatePolicyRequest::default() };
    given(team.owner.client().organizations().update_policy(request).await);
    let totals = export(&team.owner, &team.id, "usage.ndjson").await;
    assert!(totals.contains("\"charged\":\"3.5\"") && !totals.contains("usr_"), "{totals}");
}
