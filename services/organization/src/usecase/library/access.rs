//! Who works in a library: a user in the token's own context, or one of the product's services for whomever it names.

use bursar_db::Tx;
use bursar_id::{ItemId, OwnerId, Role, UserId};
use bursar_rpc::{Caller, Mutation, Problem};

use super::super::Organization;
use super::super::access::{acting, demand_served, hold_open, power};
use crate::Error;
use crate::domain::Refusal;
use crate::store::items::{self, ItemRow};
use crate::store::{memberships, users};

/// Somebody who may work in a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visitor {
    /// A user, with the role in the organization as far as an API key goes ([`power`]); none in the personal context.
    User(UserId, Option<Role>),
    /// A service alone: its power over items is its own, whomever it names.
    Service,
}

impl Organization {
    /// The caller's standing in the library of `owner`.
    pub(super) async fn visit(&self, m: &mut Mutation, caller: &Caller, owner: OwnerId) -> Result<Visitor, Error> {
        if let Some(user) = acting(caller)? {
            let role = self.admit_context(m, user, owner).await?;
            return Ok(Visitor::User(user.user, power(user, role)));
        }
        m.admit(owner);
        Ok(Visitor::Service)
    }

    /// The caller's standing where an item is meant: a user's own context. Where the item of a service is, is not known yet.
    pub(super) async fn visit_for_item(&self, m: &mut Mutation, caller: &Caller) -> Result<Visitor, Error> {
        match acting(caller)? {
            Some(user) => self.visit(m, caller, user.context).await,
            None => Ok(Visitor::Service),
        }
    }

    /// The item that is meant, as it is before anything is locked: it belongs to the user's context, or a service asks.
    pub(super) async fn item(&self, tx: &mut Tx, caller: &Caller, id: ItemId) -> Result<ItemRow, Error> {
        let row = match acting(caller)? {
            Some(user) => items::by_id(tx, user.context, id).await?,
            None => items::anywhere(tx, id).await?,
        };
        Ok(row.ok_or(Refusal::ItemNotFound)?)
    }

    /// The item that is meant, for reading it.
    pub(super) async fn item_to_read(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        id: Result<ItemId, Problem>,
    ) -> Result<ItemRow, Error> {
        if let Some(user) = acting(caller)? {
            self.authorize_context(tx, user, user.context).await?;
            return self.item(tx, caller, id?).await;
        }
        let row = self.item(tx, caller, id?).await?;
        demand_served(tx, row.owner).await?;
        Ok(row)
    }

    /// Who writes: the user, or the member whom a service names. Whoever deletes the account meanwhile finds what is
    /// written, and of whoever has done so nothing is written any more. An organization is open until the transaction ends.
    pub(super) async fn writer(
        &self,
        tx: &mut Tx,
        visitor: Visitor,
        owner: OwnerId,
        named: Option<UserId>,
    ) -> Result<UserId, Error> {
        let writer = self.locked_writer(tx, visitor, named).await?;
        enter(tx, visitor, owner, writer).await?;
        Ok(writer)
    }

    /// Who writes, locked; see [`Organization::writer`].
    pub(super) async fn locked_writer(
        &self,
        tx: &mut Tx,
        visitor: Visitor,
        named: Option<UserId>,
    ) -> Result<UserId, Error> {
        match (visitor, named) {
            (Visitor::User(user, _), named) if named.is_none_or(|named| named == user) => {
                users::lock(tx, user).await?.standing().demand_staying()?;
                Ok(user)
            }
            (Visitor::User(..), _) => {
                Err(Problem::invalid_field("member", "must be empty or the user's own id").into())
            }
            (Visitor::Service, None) => Err(Problem::invalid_field("member", "must name for whom it is done").into()),
            (Visitor::Service, Some(named)) => {
                users::lock(tx, named).await?.standing().demand_to_stay()?;
                // A service that writes for somebody is stopped as that person is; it may name another member.
                self.demand_able(tx, named).await?;
                Ok(named)
            }
        }
    }
}

/// Demands that the library of `owner` is one for whoever writes, which of a user is known already, and keeps it open.
pub(super) async fn enter(tx: &mut Tx, visitor: Visitor, owner: OwnerId, writer: UserId) -> Result<(), Error> {
    let belongs = match (visitor, owner) {
        (Visitor::User(..), _) => true,
        (Visitor::Service, OwnerId::User(user)) => user == writer,
        (Visitor::Service, OwnerId::Organization(organization)) => {
            memberships::place(tx, organization, writer).await?.role.is_some()
        }
    };
    if !belongs {
        return Err(Refusal::NotAMember.into());
    }
    hold_open(tx, owner).await
}
