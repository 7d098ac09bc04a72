//! What an id may name: one marker type for each prefix.

/// A kind of thing that has ids. Only the markers in [`kinds`] implement it.
pub trait Kind: sealed::Sealed + Send + Sync + 'static {
    /// The three letters before the underscore, for example `usr`.
    const PREFIX: &'static str;
    /// The prefix with its underscore, for example `usr_`.
    const HEAD: &'static str;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}
        impl super::sealed::Sealed for $name {}
        impl super::Kind for $name {
            const PREFIX: &'static str = $prefix;
            const HEAD: &'static str = concat!($prefix, "_");
        }
    )*};
}

/// The markers; they have no values and only tell the types of ids apart.
pub mod kinds {
    kinds! {
        /// A person with an account.
        User = "usr";
        /// An organization.
        Organization = "org";
        /// An invitation into an organization.
        Invitation = "inv";
        /// A project.
        Project = "prj";
        /// An item of a library.
        Item = "itm";
        /// A signed-in session.
        Session = "ses";
        /// An API key.
        ApiKey = "key";
        /// A service account.
        ServiceAccount = "svc";
        /// A lot of credits.
        Lot = "lot";
        /// A charge.
        Charge = "chg";
        /// A hold on credits.
        Hold = "hld";
        /// A refund of a charge.
        Refund = "ref";
        /// A limit on spending.
        Limit = "lim";
        /// A purchase of a pack.
        Purchase = "pur";
        /// A subscription to a plan.
        Subscription = "sub";
        /// A payment.
        Payment = "pay";
        /// A saved payment method.
        PaymentMethod = "pmt";
        /// An invoice.
        Invoice = "ivc";
        /// A credit note: what corrects an invoice.
        CreditNote = "crn";
        /// An event.
        Event = "evt";
        /// A row of an audit log.
        Audit = "aud";
        /// A mail waiting to be sent.
        Mail = "eml";
        /// Work to be done later.
        Job = "job";
    }
}
