//! The lists of an export, page by page.

use bursar_id::OwnerId;
use futures::StreamExt as _;
use serde_json::{Map, Value};

use super::super::Organization;
use super::super::library::bytes_from;
use super::super::outflow::Broken;
use super::archive::Archive;
use super::usage::Report;
use super::{Exporting, lines};
use crate::Error;
use crate::domain::Refusal;
use crate::domain::export::MAX_CONTENTS;
use crate::store::items::{self, By};
use crate::store::{audit, contents, invitations, memberships, projects};

/// Rows in one page.
const PAGE: i64 = 500;
/// The most bytes of items that one page reads; one item is read at least.
const PAGE_BYTES: i64 = 1024 * 1024;

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
        archive.begin_text("members.ndjson")?;
        let (mut after, mut count) = (None, 0);
        loop {
            let mut tx = self.look_for_export(exporting).await?;
            let rows = memberships::list(&mut tx, exporting.id, None, after.as_ref(), PAGE).await?;
            drop(tx);
            let Some(last) = rows.last() else { break };
            after = Some((last.joined_at, last.user_id));
            count += archive.lines(rows.iter().map(lines::member)).await?;
        }
        counts.note("members", count);
        Ok(())
    }

    pub(super) async fn write_invitations(
        &self,
        archive: &mut Archive,
        exporting: &Exporting,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        archive.begin_text("invitations.ndjson")?;
        let filter = invitations::Filter { organization: exporting.id, state: None, now: exporting.began };
        let (mut before, mut count) = (None, 0);
        loop {
            let mut tx = self.look_for_export(exporting).await?;
            let rows = invitations::list(&mut tx, &filter, before, PAGE).await?;
            drop(tx);
            let Some(last) = rows.last() else { break };
            before = Some(last.id);
            let told: Result<Vec<_>, _> = rows.iter().map(|row| lines::invitation(row, exporting.began)).collect();
            count += archive.lines(told?).await?;
        }
        counts.note("invitations", count);
        Ok(())
    }

    pub(super) async fn write_projects(
        &self,
        archive: &mut Archive,
        exporting: &Exporting,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        archive.begin_text("projects.ndjson")?;
        let (mut before, mut count) = (None, 0);
        loop {
            let mut tx = self.look_for_export(exporting).await?;
            let rows = projects::list(&mut tx, OwnerId::Organization(exporting.id), before, PAGE).await?;
            drop(tx);
            let Some(last) = rows.last() else { break };
            before = Some(last.id);
            count += archive.lines(rows.iter().map(lines::project)).await?;
        }
        counts.note("projects", count);
        Ok(())
    }

    pub(super) async fn write_audit(
        &self,
        archive: &mut Archive,
        exporting: &Exporting,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        archive.begin_text("audit.ndjson")?;
        let (owner, everything) = (OwnerId::Organization(exporting.id), audit::Filter::default());
        let (mut after, mut count) = (None, 0);
        loop {
            let mut tx = self.look_for_export(exporting).await?;
            let found = audit::list(&mut tx, owner, &everything, after.as_ref(), (PAGE, PAGE)).await?;
            drop(tx);
            let Some(last) = found.rows.last() else { break };
            after = Some((last.at, last.id));
            count += archive.lines(found.rows.iter().map(lines::audited)).await?;
        }
        counts.note("audit", count);
        Ok(())
    }

    pub(super) async fn write_items(
        &self,
        archive: &mut Archive,
        exporting: &Exporting,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        archive.begin_text("library/items.ndjson")?;
        let owner = OwnerId::Organization(exporting.id);
        let (mut before, mut count) = (None, 0);
        loop {
            let mut tx = self.look_for_export(exporting).await?;
            let keys = items::keys(&mut tx, owner, &By::Owner, before, PAGE).await?;
            let (mut page, mut bytes) = (Vec::new(), 0_i64);
            for key in &keys {
                bytes = bytes.saturating_add(key.bytes);
                if bytes > PAGE_BYTES && !page.is_empty() {
                    break;
                }
                page.push(key.id);
            }
            let Some(&last) = page.last() else { break };
            let rows = items::by_ids(&mut tx, owner, &page).await?;
            drop(tx);
            before = Some(last);
            let shown: Result<Vec<_>, _> = rows.into_iter().map(|row| self.shown(row)).collect();
            count += archive.lines(shown?.into_iter().map(lines::item)).await?;
        }
        counts.note("items", count);
        Ok(())
    }

    pub(super) async fn write_contents(
        &self,
        archive: &mut Archive,
        exporting: &Exporting,
        counts: &mut Counts,
    ) -> Result<(), Broken> {
        let owner = OwnerId::Organization(exporting.id);
        let (mut before, mut count, mut size) = (None, 0_i64, 0_u64);
        loop {
            let mut tx = self.look_for_export(exporting).await?;
            let rows = contents::before(&mut tx, owner, before, PAGE).await?;
            drop(tx);
            let Some(last) = rows.last() else { break };
            before = Some(last.item);
            for row in rows {
                count += 1;
                // Others may come while it is written.
                if count > MAX_CONTENTS {
                    return Err(Error::from(Refusal::ExportTooLarge { limit: MAX_CONTENTS }).into());
                }
                archive.begin_bytes(&format!("library/content/{}", row.item), row.content.size.unsigned_abs())?;
                let mut bytes = std::pin::pin!(bytes_from(&self.0.contents, &row.content, 0));
                while let Some(part) = bytes.next().await {
                    let part = part?;
                    size = size.saturating_add(part.len() as u64);
                    archive.write(&part).await?;
                }
            }
        }
        counts.note("contents", count.unsigned_abs());
        counts.note("content_bytes", size);
        Ok(())
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
