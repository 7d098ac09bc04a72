//! The lists of an export, page by page.

use std::pin::pin;
use std::sync::Arc;

use bursar_db::Tx;
use bursar_id::{ItemId, OwnerId, UserId};
use bursar_time::Timestamp;
use futures::{FutureExt as _, StreamExt as _};
use serde_json::{Map, Value};

use super::super::Organization;
use super::super::library::portion;
use super::super::outflow::{self, Broken, Look};
use super::archive::Archive;
use super::usage::Report;
use super::{Exporting, lines};
use crate::Error;
use crate::domain::Refusal;
use crate::store::contents::{self, ContentRow};
use crate::store::items::{self, By};
use crate::store::{audit, invitations, memberships, preferences, projects};

/// Rows in one page.
const PAGE: i64 = 500;
/// The most bytes of items that one page reads; one item is read at least.
const PAGE_BYTES: i64 = 1024 * 1024;
/// Documents in one page, each of which may be as long as one may be.
const DOCUMENTS: i64 = 8;

/// How many of each there are.
#[derive(Debug, Default)]
pub(super) struct Counts(Vec<(&'static str, u64)>);

impl Counts {
    fn note(&mut self, name: &'static str, count: u64) {
        self.0.push((name, count));
    }

    /// As a manifest has them.
    pub(super) fn told(self) -> Map<String, Value> {
        self.0.into_iter().map(|(name, count)| (name.to_owned(), Value::from(count))).collect()
    }
}

impl Organization {
    pub(super) async fn write_members(
        &self,
        archive: &mut Archive,
        exporting: &Exporting,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        let id = exporting.id;
        let page = |mut tx: Tx, after: Option<(Timestamp, UserId)>| async move {
            let rows = memberships::list(&mut tx, id, None, after.as_ref(), PAGE).await?;
            Ok(rows.last().map(|last| ((last.joined_at, last.user_id), rows.iter().map(lines::member).collect())))
        };
        counts.note("members", self.write_list(archive, exporting, "members.ndjson", page).await?);
        Ok(())
    }

    pub(super) async fn write_preferences(
        &self,
        archive: &mut Archive,
        exporting: &Exporting,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        let id = exporting.id;
        let page = |mut tx: Tx, after| async move {
            let rows = preferences::list(&mut tx, id, after, DOCUMENTS).await?;
            let Some(last) = rows.last() else { return Ok(None) };
            let told: Result<_, Error> = rows.iter().map(lines::preferences).collect();
            Ok(Some((last.user_id, told?)))
        };
        counts.note("preferences", self.write_list(archive, exporting, "preferences.ndjson", page).await?);
        Ok(())
    }

    pub(super) async fn write_invitations(
        &self,
        archive: &mut Archive,
        exporting: &Exporting,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        let (began, filter) =
            (exporting.began, invitations::Filter { organization: exporting.id, state: None, now: exporting.began });
        let filter = &filter;
        let page = |mut tx: Tx, before| async move {
            let rows = invitations::list(&mut tx, filter, before, (PAGE, PAGE)).await?.rows;
            let Some(last) = rows.last() else { return Ok(None) };
            let told: Result<_, Error> = rows.iter().map(|row| lines::invitation(row, began)).collect();
            Ok(Some((last.id, told?)))
        };
        counts.note("invitations", self.write_list(archive, exporting, "invitations.ndjson", page).await?);
        Ok(())
    }

    pub(super) async fn write_projects(
        &self,
        archive: &mut Archive,
        exporting: &Exporting,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        let owner = OwnerId::Organization(exporting.id);
        let page = |mut tx: Tx, before| async move {
            let rows = projects::list(&mut tx, owner, before, PAGE).await?;
            Ok(rows.last().map(|last| (last.id, rows.iter().map(lines::project).collect())))
        };
        counts.note("projects", self.write_list(archive, exporting, "projects.ndjson", page).await?);
        Ok(())
    }

    pub(super) async fn write_audit(
        &self,
        archive: &mut Archive,
        exporting: &Exporting,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        let (owner, everything) = (OwnerId::Organization(exporting.id), audit::Filter::default());
        let everything = &everything;
        let page = |mut tx: Tx, after: Option<audit::Place>| async move {
            let rows = audit::list(&mut tx, owner, everything, after.as_ref(), (PAGE, PAGE)).await?.rows;
            Ok(rows.last().map(|last| ((last.at, last.id), rows.iter().map(lines::audited).collect())))
        };
        counts.note("audit", self.write_list(archive, exporting, "audit.ndjson", page).await?);
        Ok(())
    }

    pub(super) async fn write_items(
        &self,
        archive: &mut Archive,
        exporting: &Exporting,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        let owner = OwnerId::Organization(exporting.id);
        let page = |mut tx: Tx, before| async move {
            let keys = items::keys(&mut tx, owner, &By::Owner, before, PAGE).await?;
            let ids: Vec<ItemId> = portion(&keys, PAGE_BYTES, |_| true).iter().map(|key| key.id).collect();
            let Some(&last) = ids.last() else { return Ok(None) };
            let rows = items::by_ids(&mut tx, owner, &ids).await?;
            let told: Result<_, Error> = rows.into_iter().map(|row| Ok(lines::item(self.shown(row)?))).collect();
            Ok(Some((last, told?)))
        };
        counts.note("items", self.write_list(archive, exporting, "library/items.ndjson", page).await?);
        Ok(())
    }

    /// Writes a file with a line for each thing, as the pages have them: each with its last place, after which the next one
    /// begins.
    async fn write_list<K, F>(
        &self,
        archive: &mut Archive,
        exporting: &Exporting,
        file: &str,
        page: impl Fn(Tx, Option<K>) -> F,
    ) -> Result<u64, Broken>
    where
        F: Future<Output = Result<Option<(K, Vec<Value>)>, Error>>,
    {
        archive.begin_text(file)?;
        let (mut after, mut count) = (None, 0);
        while let Some((last, told)) = page(self.look_for_export(exporting).await?, after).await? {
            after = Some(last);
            count += archive.lines(told).await?;
        }
        Ok(count)
    }

    pub(super) async fn write_contents(
        &self,
        archive: &mut Archive,
        exporting: &Exporting,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        let (owner, limit) = (OwnerId::Organization(exporting.id), self.0.config.library.exported);
        let (mut before, mut count, mut size) = (None, 0_i64, 0_u64);
        loop {
            let mut tx = self.look_for_export(exporting).await?;
            let listed = contents::items_before(&mut tx, owner, before, PAGE).await?;
            drop(tx);
            let Some(last) = listed.last() else { break };
            before = Some(*last);
            for item in listed {
                let mut tx = self.look_for_export(exporting).await?;
                let found = contents::of_item(&mut tx, owner, item).await?;
                drop(tx);
                // It was listed a while ago, and what is gone since is nobody's to read.
                let Some(found) = found else { continue };
                count += 1;
                // Others may come while it is written.
                if count > limit {
                    return Err(Error::from(Refusal::ExportTooLarge { limit }).into());
                }
                size = size.saturating_add(self.write_content(archive, exporting, item, &found).await?);
            }
        }
        counts.note("contents", count.unsigned_abs());
        counts.note("content_bytes", size);
        Ok(())
    }

    /// Writes the content of an item; says how many bytes it has.
    async fn write_content(
        &self,
        archive: &mut Archive,
        exporting: &Exporting,
        item: ItemId,
        found: &ContentRow,
    ) -> Result<u64, Broken> {
        let (this, exporting) = (self.clone(), Arc::new(exporting.clone()));
        let look: Look = Box::new(move || {
            let (this, exporting) = (this.clone(), Arc::clone(&exporting));
            async move { this.look_for_export(&exporting).await.map(drop) }.boxed()
        });
        archive.begin_bytes(&format!("library/content/{item}"), found.size.unsigned_abs())?;
        let mut bytes = pin!(outflow::content(&self.0.contents, found, 0, look));
        let mut size = 0_u64;
        while let Some(part) = bytes.next().await {
            let part = part?;
            size = size.saturating_add(part.len() as u64);
            archive.write(&part).await?;
        }
        Ok(size)
    }

    pub(super) async fn write_usage(
        &self,
        archive: &mut Archive,
        exporting: &Exporting,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        let mut tx = self.look_for_export(exporting).await?;
        let permitted = Report::permitted(self.policy(&mut tx, exporting.id).await?.usage_visibility);
        drop(tx);
        for (file, name, report) in
            [("usage.ndjson", "usage", permitted), ("usage_meters.ndjson", "usage_meters", Report::Meters)]
        {
            archive.begin_text(file)?;
            let (mut token, mut count) = (String::new(), 0);
            loop {
                let (rows, next) = self.usage_page(exporting.id, report, exporting.began, token).await?;
                let told: Result<Vec<_>, _> = rows.into_iter().map(lines::usage).collect();
                count += archive.lines(told?).await?;
                if next.is_empty() {
                    break;
                }
                drop(self.look_for_export(exporting).await?);
                token = next;
            }
            counts.note(name, count);
        }
        Ok(())
    }
}
