//! Which users an operator lists, between the API's message and what the use case works with.

use bursar_proto::identity::v1::list_users_request::Query;
use bursar_proto::identity::v1::{ListUsersRequest, UserState};
use bursar_rpc::{PageKey, PageRequest, Problem};

use crate::usecase::{Listed, UsersWanted};

/// Which users, and which page of them.
pub(super) fn wanted(message: &ListUsersRequest, pages: &PageKey) -> Result<UsersWanted, Problem> {
    let (by, listed) = match &message.query {
        None => ("", Listed::All),
        Some(Query::State(state)) => state_of(*state)?,
        Some(Query::EmailPrefix(prefix)) => ("email_prefix", Listed::Address(prefix_of(prefix)?)),
    };
    let text = if let Listed::Address(prefix) = &listed { prefix.as_str() } else { "" };
    let page = PageRequest::parse(message.page_size, &message.page_token, pages.list("ListUsers", [by, text]))?;
    Ok(UsersWanted { listed, page })
}

fn state_of(state: i32) -> Result<(&'static str, Listed), Problem> {
    match UserState::try_from(state) {
        Ok(UserState::Unproven) => Ok(("unproven", Listed::Unproven)),
        Ok(UserState::Suspended) => Ok(("suspended", Listed::Suspended)),
        Ok(UserState::Leaving) => Ok(("leaving", Listed::Leaving)),
        Ok(UserState::Unspecified) | Err(_) => Err(Problem::invalid_field("state", "is no state of a user")),
    }
}

/// How case-folded addresses begin that begin so.
fn prefix_of(prefix: &str) -> Result<String, Problem> {
    let fits =
        (1..=bursar_email::MAX_LENGTH).contains(&prefix.len()) && prefix.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        Ok(bursar_email::fold(prefix))
    } else {
        Err(Problem::invalid_field("email_prefix", "has 1 to 254 characters that an address may have"))
    }
}
