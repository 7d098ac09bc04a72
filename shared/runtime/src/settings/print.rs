//! What `--print-config` shows.

use super::{ConfigError, Settings};

impl Settings {
    /// Every setting as TOML that reads back as the same settings, except that secrets are replaced by
    /// `[redacted]` and passwords in URLs by `***`.
    pub fn to_redacted_toml(&self) -> Result<String, ConfigError> {
        toml::to_string(self).map_err(|error| ConfigError::new(vec![error.to_string()]))
    }
}
