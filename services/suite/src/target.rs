//! Where a running suite is, as `demo --target` and `bench --target` take it.

use std::{fmt, str::FromStr};

use bursar_runtime::Service;

/// A host, and the port that its services' ports follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    host: String,
    port_base: u16,
}

impl Target {
    /// The suite on this machine whose ports follow `port_base`.
    pub(crate) fn local(port_base: u16) -> Self {
        Self { host: "127.0.0.1".to_owned(), port_base }
    }

    /// The address of one service.
    pub(crate) fn url(&self, service: Service) -> String {
        format!("http://{}:{}", self.host, self.port_base + service.port_offset())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port_base)
    }
}

impl FromStr for Target {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "must be a host and the base port, such as 127.0.0.1:7400";
        let (host, port) = text.rsplit_once(':').ok_or(FORM)?;
        let port_base: u16 = port.parse().map_err(|_| FORM)?;
        if host.is_empty() || port_base == 0 || port_base > u16::MAX - Service::last_port_offset() {
            return Err(FORM);
        }
        Ok(Self { host: host.to_owned(), port_base })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_host_and_a_base_port() {
        assert_eq!("127.0.0.1:7400".parse(), Ok(Target::local(7400)));
        let six: Target = "[::1]:7400".parse().expect("a target");
        assert_eq!(six.url(Service::Billing), "http://[::1]:7403");
        for bad in ["", "7400", ":7400", "localhost", "localhost:", "localhost:0", "localhost:65533", "a:b"] {
            assert!(bad.parse::<Target>().is_err(), "{bad:?}");
        }
    }
}
