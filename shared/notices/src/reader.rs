//! Who reads a mail, and how it speaks of the account.

use bursar_mail::quoted;
use bursar_members::CreditUnit;

/// Who is told. It has no `Debug`: the address is personal.
#[derive(Clone, PartialEq, Eq)]
pub struct Addressee {
    /// The address.
    pub to: String,
    /// Whose account it is about, as its reader knows it.
    pub whose: Whose,
}

/// Whose account a mail is about, to who reads it.
#[derive(Clone, PartialEq, Eq)]
pub enum Whose {
    /// The reader's.
    Own,
    /// Somebody's of this name, which the letter quotes; empty: somebody's.
    Named(String),
}

impl Whose {
    /// What a letter calls the account within a sentence: its name may be anybody's words.
    pub(crate) fn called(&self) -> String {
        match self {
            Self::Own => "your own account".to_owned(),
            Self::Named(name) if name.is_empty() => "an account".to_owned(),
            Self::Named(name) => quoted(name),
        }
    }

    /// The same where a sentence begins with it.
    pub(crate) fn called_first(&self) -> String {
        match self {
            Self::Own => "Your own account".to_owned(),
            Self::Named(name) if name.is_empty() => "An account".to_owned(),
            Self::Named(name) => quoted(name),
        }
    }
}

/// A reader, and the words that the deployment has.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// Who is told.
    pub addressee: &'a Addressee,
    /// What the product is called.
    pub product: &'a str,
    /// What credits are called.
    pub unit: CreditUnit,
}
