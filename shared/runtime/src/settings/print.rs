//! What `--print-config` shows.

use figment::value::{Dict, Value};

use super::{ConfigError, Settings, grouping};

impl Settings {
    /// Every setting as TOML that reads back as the same settings, except that secrets are replaced by
    /// `[redacted]` and passwords in URLs by `***`.
    pub fn to_redacted_toml(&self) -> Result<String, ConfigError> {
        let dict = self.as_written()?;
        toml::to_string(&dict).map_err(|error| ConfigError::new(vec![error.to_string()]))
    }

    /// Every setting under the key that people write it with; secrets are redacted.
    pub(super) fn as_written(&self) -> Result<Dict, ConfigError> {
        match Value::serialize(self) {
            Ok(Value::Dict(_, dict)) => Ok(grouping::written(dict)),
            Ok(_) => Err(ConfigError::new(vec!["the settings are no table".to_owned()])),
            Err(error) => Err(ConfigError::new(vec![error.to_string()])),
        }
    }
}
