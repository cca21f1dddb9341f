//! Values of the configuration as people write them.

use std::time::Duration;

use serde::Deserialize;

/// Reads a time such as `5s` or `250ms`.
///
/// # Errors
/// The text is no time, or it is 0 or more than a day.
pub(crate) fn time<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time = humantime::parse_duration(&text).map_err(serde::de::Error::custom)?;
    if time.is_zero() || time > Duration::from_secs(86_400) {
        return Err(serde::de::Error::custom(format!(
            "{text} is not allowed: choose a time from 1ms to 1day"
        )));
    }
    Ok(time)
}
