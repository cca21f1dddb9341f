//! The settings of a Snowflake sink, as `sinks.toml` has them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::settings::{SecretReference, SettingError};

/// How to reach a table in Snowflake.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnowflakeConfig {
    /// The account identifier: `organization-account`, or a locator with its region (`ab12345.eu-west-1`).
    pub account: String,
    /// The URL of the account, when it is not `https://<account>.snowflakecomputing.com`: for private link.
    #[serde(default)]
    pub url: Option<String>,
    /// The user. Its default role is the role of the sink.
    pub user: String,
    /// The private key of the user: PKCS#8 as PEM.
    pub private_key: SecretReference,
    /// The passphrase of the private key, when it is encrypted.
    #[serde(default)]
    pub passphrase: Option<SecretReference>,
    /// The database of the table.
    #[serde(default = "database")]
    pub database: String,
    /// The schema of the table.
    #[serde(default = "schema")]
    pub schema: String,
    /// The table. It has the changes of one cluster only.
    #[serde(default = "table")]
    pub table: String,
    /// The pipe, when it is not the one that Snowflake makes for each table, `<TABLE>-STREAMING`.
    #[serde(default)]
    pub pipe: Option<String>,
    /// By shard: the change after which a channel begins that Snowflake does not know. Snowflake forgets
    /// channels that were idle for 30 days. A shard that is not named begins with its first change.
    #[serde(default)]
    pub resume_after: BTreeMap<String, u64>,
    /// By shard: the change up to which every row that Snowflake has refused was repaired. Rows that are
    /// refused after it stop the shard.
    #[serde(default)]
    pub errors_repaired_through: BTreeMap<String, u64>,
    /// Whether a channel whose accepted rows stay uncommitted is opened all the same. Snowflake then discards
    /// these rows, and they are sent again.
    #[serde(default)]
    pub discard_uncommitted: bool,
    /// The limits of Snowflake, and how patient the sink is.
    #[serde(default)]
    pub limits: Limits,
}

/// The limits of Snowflake, and how patient the sink is. Limits that are not of Snowflake's pages are ours.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The largest request in bytes, compressed. Snowflake: 4 MB (limitations of Snowpipe Streaming).
    pub request_bytes: usize,
    /// The requests that a channel may send in a second. Snowflake: 10.
    pub requests_per_second: u32,
    /// The bytes that a channel may send in a second, before they are compressed. Snowflake: 20 MB.
    pub bytes_per_second: u32,
    /// The changes that may be accepted and not committed, before the sink waits.
    pub uncommitted_changes: u64,
    /// The time between two looks at the status of a channel that has uncommitted rows.
    #[serde(deserialize_with = "crate::settings::time")]
    pub status_every: Duration,
    /// The time after which accepted rows that are not committed count as discarded.
    #[serde(deserialize_with = "crate::settings::time")]
    pub commit_patience: Duration,
    /// The time that the row counts of a channel may differ from what was committed.
    #[serde(deserialize_with = "crate::settings::time")]
    pub count_patience: Duration,
    /// Whether the row counts of a channel are compared with what was committed.
    pub check_counts: bool,
    /// The time that opening waits for rows of the past to be committed.
    #[serde(deserialize_with = "crate::settings::time")]
    pub uncommitted_patience: Duration,
    /// The first pause before a request is sent again that Snowflake had no time for; it doubles from there.
    #[serde(deserialize_with = "crate::settings::time")]
    pub throttled_pause: Duration,
    /// The time that a request may take.
    #[serde(deserialize_with = "crate::settings::time")]
    pub request_patience: Duration,
    /// The age at which a token is replaced. Snowflake: a key-pair token lives an hour at most.
    #[serde(deserialize_with = "crate::settings::time")]
    pub token_age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes: 4_000_000,
            requests_per_second: 10,
            bytes_per_second: 20_000_000,
            uncommitted_changes: 500_000,
            status_every: Duration::from_secs(1),
            commit_patience: Duration::from_secs(60),
            count_patience: Duration::from_secs(60),
            check_counts: true,
            uncommitted_patience: Duration::from_secs(60),
            throttled_pause: Duration::from_millis(250),
            request_patience: Duration::from_secs(60),
            token_age: Duration::from_secs(45 * 60),
        }
    }
}

impl SnowflakeConfig {
    /// Checks everything that can be checked without a connection. `sink` is the name of the sink.
    ///
    /// # Errors
    /// [`SettingError::Sink`] names the setting and the fault.
    pub fn check(&self, sink: &str) -> Result<(), SettingError> {
        let fault = |reason: String| SettingError::Sink {
            sink: sink.to_owned(),
            reason,
        };
        let in_account = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if self.account.is_empty() || self.account.len() > 255 || !self.account.bytes().all(in_account) {
            return Err(fault(format!(
                "account is {:?}: it must be as in myorganization-myaccount, without https:// and without \
                 snowflakecomputing.com",
                self.account
            )));
        }
        if self.account.ends_with("snowflakecomputing.com") {
            return Err(fault("account must be without snowflakecomputing.com".to_owned()));
        }
        if self.user.is_empty() || self.user.len() > 255 || self.user.chars().any(char::is_control) {
            return Err(fault("user is empty or too long".to_owned()));
        }
        for (setting, name) in [
            ("database", &self.database),
            ("schema", &self.schema),
            ("table", &self.table),
        ] {
            if !is_identifier(name) {
                return Err(fault(format!(
                    "{setting} is {name:?}: it must be an unquoted identifier of Snowflake, with letters, digits and \
                     underscores"
                )));
            }
        }
        if let Some(pipe) = &self.pipe
            && !is_identifier(&pipe.replace('-', "_"))
        {
            return Err(fault(format!("pipe is {pipe:?}: it is not a name of a pipe")));
        }
        by_shard(&self.resume_after).map_err(|key| fault(format!("resume_after: {key:?} is not a shard")))?;
        by_shard(&self.errors_repaired_through)
            .map_err(|key| fault(format!("errors_repaired_through: {key:?} is not a shard")))?;
        let limits = &self.limits;
        if limits.request_bytes == 0
            || limits.requests_per_second == 0
            || limits.bytes_per_second < 10_000
            || limits.uncommitted_changes == 0
        {
            return Err(fault(
                "limits: request_bytes, requests_per_second and uncommitted_changes must not be 0, and \
                 bytes_per_second must be 10000 at least"
                    .to_owned(),
            ));
        }
        if limits.token_age > Duration::from_secs(55 * 60) {
            return Err(fault(
                "limits.token_age must be below 55m: Snowflake ends a token after an hour".to_owned(),
            ));
        }
        Ok(())
    }

    /// Returns the pipe that rows are sent to.
    #[cfg(feature = "snowflake")]
    pub(super) fn pipe(&self) -> String {
        match &self.pipe {
            Some(pipe) => pipe.to_uppercase(),
            None => format!("{}-STREAMING", self.table.to_uppercase()),
        }
    }
}

/// Reads a table of changes by shard.
///
/// # Errors
/// The key that is not a shard.
pub(super) fn by_shard(table: &BTreeMap<String, u64>) -> Result<BTreeMap<u32, u64>, String> {
    let entries = table.iter();
    entries
        .map(|(key, seq)| Ok((key.parse::<u32>().map_err(|_| key.clone())?, *seq)))
        .collect()
}

/// Returns whether a name needs no quotes in Snowflake: <https://docs.snowflake.com/en/sql-reference/identifiers-syntax>.
fn is_identifier(name: &str) -> bool {
    let begins = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    name.len() <= 255
        && name.as_bytes().first().is_some_and(begins)
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$')
}

fn database() -> String {
    "HOLDFAST".to_owned()
}

fn schema() -> String {
    "RAW".to_owned()
}

fn table() -> String {
    "CHANGES_STREAMED".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, SinkConfig};

    fn read(more: &str) -> Result<SnowflakeConfig, String> {
        let text = format!(
            "[sinks.facts]\ntype = 'snowflake'\naccount = 'myorg-my_account'\nuser = 'u'\n\
             private_key = {{ env = 'KEY' }}\n{more}"
        );
        let config: Config = toml::from_str(&text).map_err(|error| error.to_string())?;
        match &config.sinks["facts"] {
            SinkConfig::Snowflake(config) => {
                config.check("facts").map_err(|error| error.to_string())?;
                Ok((**config).clone())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_settings_of_the_page_are_read() {
        let config = read(
            "[sinks.facts.errors_repaired_through]\n3 = 118200\n[sinks.facts.limits]\ntoken_age = '30m'\n\
             request_bytes = 1000",
        )
        .unwrap();
        assert_eq!(by_shard(&config.errors_repaired_through).unwrap()[&3], 118_200);
        assert_eq!(config.limits.token_age, Duration::from_secs(1_800));
        assert_eq!(config.limits.requests_per_second, 10);
        assert_eq!(
            (config.schema.as_str(), config.table.as_str()),
            ("RAW", "CHANGES_STREAMED")
        );
    }

    #[test]
    fn a_setting_that_cannot_work_is_named() {
        for (more, part) in [
            ("table = 'a b'", "table is \"a b\""),
            ("database = '1x'", "unquoted identifier"),
            ("pipe = 'a;b'", "not a name of a pipe"),
            ("resume_after = { x = 3 }", "resume_after: \"x\" is not a shard"),
            ("limits = { request_bytes = 0 }", "must not be 0"),
            ("limits = { token_age = '2h' }", "below 55m"),
            ("limits = { status_every = 'soon' }", "expected number"),
            ("password = 'x'", "unknown field `password`"),
        ] {
            let error = read(more).unwrap_err();
            assert!(error.contains(part), "{more}: {error}");
        }
        let mut config = read("").unwrap();
        for account in ["", "https://a", "a b", "a.snowflakecomputing.com"] {
            config.account = account.to_owned();
            let error = config.check("facts").unwrap_err().to_string();
            assert!(error.contains("account"), "{error}");
        }
    }
}
