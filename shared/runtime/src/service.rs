//! The three services by name, and which of the base port's neighbours each one listens on.

use std::fmt;

/// One of Bursar's services.
///
/// The offsets are part of the interface (`--port-base N`: operations on N, identity on N+1, …).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Users, sessions, tokens.
    Identity,
    /// Organizations, members, invitations, projects.
    Organization,
    /// Accounts, credits, plans.
    Billing,
}

impl Service {
    /// Every service, in the order of their ports.
    pub const ALL: [Self; 3] = [Self::Identity, Self::Organization, Self::Billing];

    /// The lower-case name, as it appears in settings, metrics and file names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Organization => "organization",
            Self::Billing => "billing",
        }
    }

    /// How far above the base port this service listens.
    pub const fn port_offset(self) -> u16 {
        match self {
            Self::Identity => 1,
            Self::Organization => 2,
            Self::Billing => 3,
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
