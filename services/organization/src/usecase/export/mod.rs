//! Giving an owner what the organization has, as a zip archive that is written while it is taken.
//!
//! Each page of rows is read in a transaction of its own, after another look whether the caller still owns the organization,
//! and nothing is held while whoever takes the archive thinks. Of content there is one part in memory at a time, and another
//! look before each segment.

mod archive;
mod lines;
mod sections;
mod usage;

use bursar_db::Tx;
use bursar_id::{OrganizationId, OwnerId};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Asked, Done, Mutation, UserCaller};
use bursar_time::Timestamp;
use serde_json::json;

use super::Organization;
use super::access::demand_not_suspended;
use super::outflow::{self, Broken, LONGEST, Outflow, Patience};
use crate::Error;
use crate::content::Place;
use crate::domain::Refusal;
use crate::domain::export::{ExportKind, ExportKinds};
use crate::store::{avatars, contents, organizations};
use archive::Archive;
use sections::Counts;

/// What is exported, for whom, since when.
#[derive(Clone)]
struct Exporting {
    id: OrganizationId,
    caller: UserCaller,
    kinds: ExportKinds,
    began: Timestamp,
}

impl Organization {
    /// Begins to export an organization. It changes nothing, and still goes the way of a mutation: its audit row is
    /// committed before anything is given.
    pub async fn export_organization(&self, id: OrganizationId, asked: &Asked<ExportKinds>) -> Result<Outflow, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let mut place = None;
        let done = self.may_export(&mut m, id, asked, &mut place).await;
        self.0.mutations.end(m, done).await?;
        let (Some(place), Ok(kinds)) = (place, asked.command()) else {
            return Err(Error::Internal("an export without a place"));
        };
        let (kinds, caller) = (kinds.clone(), asked.user()?.clone());
        let exporting = Exporting { id, caller, kinds, began: self.now() };
        let patience =
            Patience { idle: self.0.config.library.idle, limit: LONGEST.to_std(), over: Refusal::ExportStalled };
        let this = self.clone();
        Ok(outflow::begin(patience, |inlet| async move {
            let written = Box::pin(this.write_archive(Archive::new(inlet), &exporting)).await;
            drop(place);
            written
        }))
    }

    async fn may_export(
        &self,
        m: &mut Mutation,
        id: OrganizationId,
        asked: &Asked<ExportKinds>,
        place: &mut Option<Place>,
    ) -> Result<Done<(), Payload>, Error> {
        let caller = asked.user()?;
        m.about(&id);
        self.admit_export(m, caller, id).await?;
        let Some(kinds) = m.open(asked).await? else { return Ok(Done::Replay) };
        if kinds.has(ExportKind::Content) {
            let limit = self.0.config.library.exported;
            let (owner, most) = (OwnerId::Organization(id), limit.saturating_add(1));
            // What is being erased is looked for only where it may be too many.
            if contents::count(m.tx(), owner, most).await? > limit
                && contents::count_kept(m.tx(), owner, most).await? > limit
            {
                return Err(Refusal::ExportTooLarge { limit }.into());
            }
        }
        *place = Some(self.0.exports.take(OwnerId::User(caller.user)).ok_or(Error::Overloaded)?);
        Ok(Done::New((), Vec::new()))
    }

    async fn write_archive(&self, mut archive: Archive, exporting: &Exporting) -> Result<(), Broken> {
        let mut counts = Counts::default();
        self.write_organization(&mut archive, exporting).await?;
        // First what another service has to be asked for: where it is away, that is known soon.
        if exporting.kinds.has(ExportKind::Usage) {
            self.write_usage(&mut archive, exporting, &mut counts).await?;
        }
        if exporting.kinds.has(ExportKind::Members) {
            self.write_members(&mut archive, exporting, &mut counts).await?;
            self.write_preferences(&mut archive, exporting, &mut counts).await?;
            self.write_invitations(&mut archive, exporting, &mut counts).await?;
        }
        if exporting.kinds.has(ExportKind::Projects) {
            self.write_projects(&mut archive, exporting, &mut counts).await?;
        }
        if exporting.kinds.has(ExportKind::Audit) {
            self.write_audit(&mut archive, exporting, &mut counts).await?;
        }
        if exporting.kinds.has(ExportKind::Library) {
            self.write_items(&mut archive, exporting, &mut counts).await?;
        }
        if exporting.kinds.has(ExportKind::Content) {
            self.write_contents(&mut archive, exporting, &mut counts).await?;
        }
        let manifest = json!({
            "format": lines::FORMAT,
            "organization_id": exporting.id.to_string(),
            "began_at": exporting.began.to_rfc3339(),
            "ended_at": self.now().to_rfc3339(),
            "kinds": exporting.kinds.names(),
            "counts": counts.told(),
        });
        archive.document("manifest.json", &manifest).await?;
        archive.finish().await
    }

    async fn write_organization(&self, archive: &mut Archive, exporting: &Exporting) -> Result<(), Broken> {
        let mut tx = self.look_for_export(exporting).await?;
        let row = organizations::by_id(&mut tx, exporting.id).await?.ok_or(Error::from(Refusal::NotAMember))?;
        let policies = self.policy_view(&mut tx, exporting.id).await?;
        let [.., largest] = crate::domain::avatar::SIZES;
        let avatar = avatars::find(&mut tx, exporting.id, largest, "").await?;
        drop(tx);
        archive.document("organization.json", &lines::organization(&row, policies)).await?;
        if let Some(avatar) = avatar
            && let Some(content) = avatar.content
        {
            let name = if avatar.media_type == "image/png" { "avatar.png" } else { "avatar.jpg" };
            archive.begin_bytes(name, content.len() as u64)?;
            archive.write(&content).await?;
        }
        Ok(())
    }

    /// A transaction to read a page of what only the owner may have, if that still is who asked, and one who may ask.
    async fn look_for_export(&self, exporting: &Exporting) -> Result<Tx, Error> {
        let Exporting { id, caller, .. } = exporting;
        let mut tx = self.0.db.read().await?;
        self.authorize_export(&mut tx, caller, *id).await?;
        self.demand_staying(&mut tx, caller).await?;
        demand_not_suspended(&mut tx, caller).await?;
        Ok(tx)
    }
}
