//! Bursar's protocol: the messages, clients and servers generated from the .proto files, the table of who may call each
//! RPC, and the descriptors for reflection.
//!
//! Generated code and what is derived from the descriptors lives here; conversions into the crates' own types do not.

pub use bursar::{access, billing, event, identity, organization, testing};

/// Every file of the protocol with everything it imports, encoded as a `google.protobuf.FileDescriptorSet`, comments and
/// option extensions included. It is what the reflection service serves.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Declares a module for the code that was generated for a package.
macro_rules! package {
    ($(#[$doc:meta])* $module:ident, $package:literal) => {
        $(#[$doc])*
        #[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub, rustdoc::all, reason = "generated code")]
        pub mod $module {
            include!(concat!(env!("OUT_DIR"), "/", $package, ".rs"));
        }
    };
}

/// Bursar's packages, nested as the generated code expects them; use the re-exports at the crate's root.
mod bursar {
    /// Who may call an RPC.
    pub mod access {
        pub use crate::method::{Idempotency, METHODS, MethodRule, rule};
        pub use v1::{Acting, CallerKind, Permission};
        package!(
            /// `bursar.access.v1`
            v1, "bursar.access.v1"
        );
    }
    /// Credits, plans, purchases and usage.
    pub mod billing {
        package!(
            /// `bursar.billing.v1`
            v1, "bursar.billing.v1"
        );
    }
    /// What happened, told between services.
    pub mod event {
        package!(
            /// `bursar.event.v1`
            v1, "bursar.event.v1"
        );
    }
    /// Users, sessions, contexts, service accounts and keys.
    pub mod identity {
        package!(
            /// `bursar.identity.v1`
            v1, "bursar.identity.v1"
        );
    }
    /// Organizations, members, invitations and projects.
    pub mod organization {
        package!(
            /// `bursar.organization.v1`
            v1, "bursar.organization.v1"
        );
    }
    /// The test clock.
    pub mod testing {
        package!(
            /// `bursar.testing.v1`
            v1, "bursar.testing.v1"
        );
    }
}

/// The vendored packages of googleapis.
pub mod google {
    package!(
        /// `google.rpc`: the status of one charge of a batch, and the error details that ride on a status.
        rpc, "google.rpc"
    );
    package!(
        /// `google.type`: money.
        r#type, "google.r#type"
    );
}

pub mod event_type;
mod method;

/// `Debug` of the messages that have fields marked `debug_redact`.
mod redacted {
    include!(concat!(env!("OUT_DIR"), "/redacted.rs"));
}
