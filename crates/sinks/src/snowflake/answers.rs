//! Answers of Snowflake, and the meaning of its error codes.
//!
//! The codes are those of
//! <https://docs.snowflake.com/en/user-guide/snowpipe-streaming/snowpipe-streaming-high-performance-error-handling>.

use std::time::Duration;

use serde::Deserialize;

use crate::clock::now_ms;
use crate::sink::SinkError;

/// The longest message of Snowflake that is shown, in characters.
const MESSAGE_MAX: usize = 400;
/// The difference of the clocks above which a refused token is likely due to it, in seconds.
const SKEW_MAX_S: u64 = 30;

/// The answer to opening a channel.
#[derive(Debug, Deserialize)]
pub(super) struct Opened {
    pub(super) next_continuation_token: String,
    pub(super) channel_status: ChannelStatus,
}

/// The answer to an append.
#[derive(Debug, Deserialize)]
pub(super) struct Appended {
    pub(super) next_continuation_token: String,
}

/// The answer to the question for the status of channels. Channels that do not exist are missing.
#[derive(Debug, Deserialize)]
pub(super) struct Statuses {
    #[serde(default)]
    pub(super) channel_statuses: std::collections::BTreeMap<String, ChannelStatus>,
}

/// The status of a channel. All counts are since it was made.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct ChannelStatus {
    #[serde(default)]
    pub(super) channel_status_code: Option<String>,
    #[serde(default)]
    pub(super) last_committed_offset_token: Option<String>,
    #[serde(default)]
    rows_inserted: Option<u64>,
    /// Rows that were refused. The status in bulk has another name for it.
    #[serde(default, alias = "rows_errors")]
    rows_error_count: Option<u64>,
    #[serde(default)]
    pub(super) last_error_offset_upper_bound: Option<String>,
    #[serde(default)]
    pub(super) last_error_message: Option<String>,
}

/// An answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) message: String,
    pub(super) retry_after: Duration,
    /// The clock of the server minus ours in seconds, when it sent its time.
    pub(super) clock_ahead_s: Option<i64>,
}

#[derive(Deserialize)]
struct FailureBody {
    #[serde(default)]
    code: Option<serde_json::Value>,
    #[serde(default)]
    message: Option<String>,
}

/// The thing that an error code asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Another writer has opened the channel.
    TakenOver,
    /// The channel must be opened again.
    Reopen,
    /// Rows of the past are on their way: wait, then open.
    Uncommitted,
    /// A person must do something.
    Refused(&'static str),
    /// The code says nothing that we know.
    Unknown,
}

/// Returns what an error code asks for. It stands in answers, and as the status of a channel.
pub(super) fn meaning(code: &str) -> Meaning {
    match code {
        "ERR_CHANNEL_HAS_UNCOMMITTED_DATA" => Meaning::Uncommitted,
        "ERR_CHANNEL_HAS_INVALID_CLIENT_SEQUENCER" => Meaning::TakenOver,
        code if code.starts_with("STALE_CONTINUATION_TOKEN") => Meaning::TakenOver,
        "ERR_CHANNEL_HAS_INVALID_ROW_SEQUENCER" => Meaning::Reopen,
        code if code.starts_with("ERR_CHANNEL_MUST_BE_REOPENED") => Meaning::Reopen,
        code if code.starts_with("ERR_PIPE_DOES_NOT_EXIST") => Meaning::Refused(
            "check database, schema, table and pipe in sinks.toml, and that the role of the user may use them (USAGE, \
             INSERT; OPERATE for a pipe of your own)",
        ),
        code if code.starts_with("ERR_TABLE_DOES_NOT_EXIST") => Meaning::Refused(
            "make the table with streaming_once.sql, and grant INSERT on it to the role of the user",
        ),
        code if code.contains("SCHEMA") => {
            Meaning::Refused("the table does not have the columns of streaming_once.sql: add what is missing")
        }
        _ => Meaning::Unknown,
    }
}

impl ChannelStatus {
    /// Returns how many rows were inserted.
    pub(super) fn inserted(&self) -> u64 {
        self.rows_inserted.unwrap_or(0)
    }

    /// Returns how many rows were refused.
    pub(super) fn errors(&self) -> u64 {
        self.rows_error_count.unwrap_or(0)
    }

    /// Returns the code of the status when the channel cannot be used.
    pub(super) fn fault(&self) -> Option<&str> {
        // Pages differ: SUCCESS on the one about errors, ACTIVE on the one about the interface.
        let code = self.channel_status_code.as_deref()?;
        (!["", "SUCCESS", "ACTIVE"].contains(&code)).then_some(code)
    }
}

impl Failure {
    /// Reads an answer with this status and body.
    pub(super) fn read(status: u16, body: &[u8], retry_after: Duration, clock_ahead_s: Option<i64>) -> Self {
        let (code, message) = match serde_json::from_slice::<FailureBody>(body) {
            Ok(FailureBody { code, message }) => {
                let code = match code {
                    Some(serde_json::Value::String(code)) => code,
                    Some(other) => other.to_string(),
                    None => String::new(),
                };
                (code, message.unwrap_or_default())
            }
            Err(_) => (String::new(), String::from_utf8_lossy(body).into_owned()),
        };
        Self {
            status,
            code: shown(&code),
            message: shown(&message),
            retry_after,
            clock_ahead_s,
        }
    }

    pub(super) fn is_throttled(&self) -> bool {
        self.status == 429
    }

    /// Returns what the answer asks for.
    pub(super) fn meaning(&self) -> Meaning {
        match (meaning(&self.code), self.status) {
            (_, 401 | 403) => Meaning::Refused("check the key of the user and the grants of its role"),
            // Superseded: the page about errors says so of each 409 without a code of its own.
            (Meaning::Unknown, 409) => Meaning::TakenOver,
            (Meaning::Unknown, 408 | 429 | 500..=599) => Meaning::Reopen,
            (Meaning::Unknown, 404) => Meaning::Refused(
                "check account, database, schema, table and pipe in sinks.toml, and the grants of the user's role",
            ),
            (Meaning::Unknown, 413) => Meaning::Refused("lower limits.request_bytes in sinks.toml"),
            (Meaning::Unknown, _) => Meaning::Refused(
                "look at the state of Snowflake's service, and at the page docs/snowflake.md",
            ),
            (known, _) => known,
        }
    }

    /// Returns the error of the sink. `what` is what was tried, `fingerprint` names the key that was used.
    pub(super) fn error(&self, what: &str, fingerprint: &str) -> SinkError {
        let what = format!("{what}: Snowflake answered {self}");
        match self.meaning() {
            Meaning::TakenOver => SinkError::TakenOver { what },
            Meaning::Reopen | Meaning::Uncommitted | Meaning::Unknown => SinkError::Unavailable {
                what,
                retry_after_ms: u64::try_from(self.retry_after.as_millis()).unwrap_or(u64::MAX),
            },
            Meaning::Refused(advice) => SinkError::Refused {
                what,
                advice: match self.status {
                    401 | 403 => self.advice_about_the_key(fingerprint),
                    _ => advice.to_owned(),
                },
            },
        }
    }

    fn advice_about_the_key(&self, fingerprint: &str) -> String {
        let ahead = self.clock_ahead_s.unwrap_or(0);
        if ahead.unsigned_abs() > SKEW_MAX_S {
            let ours = Duration::from_millis(now_ms());
            let theirs = ours.as_secs().saturating_add_signed(ahead);
            return format!(
                "the clock of this machine is wrong: it shows {}, Snowflake's shows {}. Set it (with NTP), because a \
                 token that is signed in the future or too far in the past is refused",
                rfc3339(ours.as_secs()),
                rfc3339(theirs),
            );
        }
        format!(
            "check that the user exists and is not disabled, that DESCRIBE USER shows the fingerprint {fingerprint}, \
             that a network policy lets this machine in, and that the default role of the user has its grants"
        )
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.status)?;
        for part in [&self.code, &self.message] {
            if !part.is_empty() {
                write!(out, " {part}")?;
            }
        }
        Ok(())
    }
}

/// Returns a text of Snowflake as it may be shown: bounded, and on one line.
pub(super) fn shown(text: &str) -> String {
    let on_one_line = text.chars().map(|one| if one.is_control() { ' ' } else { one });
    on_one_line
        .take(MESSAGE_MAX)
        .collect::<String>()
        .trim()
        .to_owned()
}

fn rfc3339(seconds: u64) -> String {
    // A time past the year 9999 has no such text; the clock is wrong then in any case.
    let seconds = seconds.min(253_402_300_799);
    humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: u16, body: &str) -> Failure {
        Failure::read(status, body.as_bytes(), Duration::from_secs(7), Some(1))
    }

    #[test]
    fn each_documented_code_is_treated_as_its_page_says() {
        for (code, expected) in [
            ("STALE_CONTINUATION_TOKEN_SEQUENCER", "another runner"),
            ("ERR_CHANNEL_HAS_INVALID_CLIENT_SEQUENCER", "another runner"),
            ("ERR_CHANNEL_HAS_INVALID_ROW_SEQUENCER", "append"),
            ("ERR_CHANNEL_MUST_BE_REOPENED", "append"),
            ("ERR_CHANNEL_MUST_BE_REOPENED_DUE_TO_ROW_SEQ_GAP", "append"),
            ("ERR_PIPE_DOES_NOT_EXIST_OR_NOT_AUTHORIZED", "check database"),
            ("ERR_TABLE_DOES_NOT_EXIST_NOT_AUTHORIZED", "streaming_once.sql"),
        ] {
            let failure = failure(400, &format!(r#"{{"code":"{code}","message":"m"}}"#));
            let error = failure.error("append", "SHA256:x");
            let text = error.to_string();
            assert!(text.contains(expected) && text.contains(code), "{text}");
            let refused = expected == "check database" || expected == "streaming_once.sql";
            assert_eq!(error.needs_a_person(), refused, "{text}");
            assert_eq!(
                matches!(error, SinkError::TakenOver { .. }),
                expected == "another runner"
            );
        }
    }

    #[test]
    fn statuses_without_a_code_are_told_apart() {
        for status in [408, 429, 500, 502, 503, 504] {
            let error = failure(status, "busy").error("append", "");
            assert!(
                matches!(
                    error,
                    SinkError::Unavailable {
                        retry_after_ms: 7_000,
                        ..
                    }
                ),
                "{status}"
            );
        }
        for status in [400, 401, 403, 404, 405, 413, 302] {
            let error = failure(status, "no").error("append", "");
            assert!(matches!(error, SinkError::Refused { .. }), "{status}: {error}");
        }
        assert!(matches!(
            failure(409, "").error("append", ""),
            SinkError::TakenOver { .. }
        ));
        let general = r#"{"code":"ERR_GENERAL_EXCEPTION_RETRY_REQUEST","message":"again"}"#;
        assert!(matches!(
            failure(500, general).error("open", ""),
            SinkError::Unavailable { .. }
        ));
    }

    #[test]
    fn a_refused_token_names_the_key_or_the_clock() {
        let mut failure = failure(401, r#"{"code":390144,"message":"JWT token is invalid."}"#);
        let text = failure.error("token", "SHA256:abc").to_string();
        assert!(
            text.contains("390144 JWT token is invalid") && text.contains("SHA256:abc"),
            "{text}"
        );
        failure.clock_ahead_s = Some(-600);
        let text = failure.error("token", "SHA256:abc").to_string();
        assert!(text.contains("clock of this machine is wrong"), "{text}");
    }

    #[test]
    fn a_message_is_shown_on_one_line_and_not_at_any_length() {
        let failure = failure(500, &format!("line\nline {}", "x".repeat(5_000)));
        let text = failure.to_string();
        assert!(!text.contains('\n') && text.len() < 500, "{text}");
    }

    #[test]
    fn both_names_of_the_error_count_are_read() {
        for name in ["rows_error_count", "rows_errors"] {
            let status: ChannelStatus = serde_json::from_str(&format!(r#"{{"{name}":3}}"#)).unwrap();
            assert_eq!(status.errors(), 3);
        }
        let empty =
            r#"{"rows_errors":null,"last_committed_offset_token":null,"last_error_timestamp":"2026"}"#;
        assert_eq!(serde_json::from_str::<ChannelStatus>(empty).unwrap().errors(), 0);
    }
}
