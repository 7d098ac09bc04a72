//! The rules of organizations: pure, without clock, store or network. Times come in as parameters.

pub mod audit;
pub mod avatar;
pub mod departure;
pub mod description;
pub mod entitlements;
pub mod etag;
pub mod export;
pub mod former_slugs;
pub mod invitation;
pub mod item;
pub mod kind;
pub mod media;
pub mod member;
pub mod name;
pub mod nomination;
pub mod project;
pub mod refusal;
pub mod schema;
pub mod slug;
pub mod standing;

pub use refusal::Refusal;
