//! Errors of Redis, and what they mean for a sink.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::sink::SinkError;

/// Turns an error into what the runner does about it.
pub(crate) fn of(doing: &str, error: &RedisError) -> SinkError {
    let what = format!("Redis: cannot {doing}: {error}");
    match advice(error) {
        Some(advice) => SinkError::Refused {
            what,
            advice: advice.to_owned(),
        },
        None => SinkError::Unavailable {
            what,
            retry_after_ms: 0,
        },
    }
}

/// Returns what a person must do, or None for an error that passes by itself.
fn advice(error: &RedisError) -> Option<&'static str> {
    match error.kind() {
        ErrorKind::AuthenticationFailed => return Some("give a user and a password that Redis accepts"),
        ErrorKind::InvalidClientConfig => return Some("correct the address"),
        ErrorKind::Parse => return Some("what listens there is no Redis: correct the address"),
        ErrorKind::Server(ServerErrorKind::ReadOnly) => {
            return Some("it is a read-only replica: give the address of the primary");
        }
        ErrorKind::Server(ServerErrorKind::NoPerm) => {
            return Some("give the user the rights that docs/redis.md lists for a sink");
        }
        ErrorKind::Server(ServerErrorKind::CrossSlot) => {
            return Some("it is a cluster: set cluster = true");
        }
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) => {
            return Some("it is a cluster: set cluster = true");
        }
        _ => {}
    }
    let text = error.to_string();
    let says = |word: &str| text.contains(word);
    if says("cluster support disabled") {
        return Some("it is a single server: set cluster = false");
    }
    if says("OTHERCLUSTER") {
        return Some("it has the changes of another cluster: choose another prefix, or rebuild");
    }
    if says("would overflow") {
        return Some(
            "the units of a SKU over all warehouses do not fit into 64 bits: correct the stock, then run `holdfast sinks rebuild`",
        );
    }
    if says("is not an integer") {
        return Some("another program has changed the view: run `holdfast sinks rebuild`");
    }
    match error.code() {
        Some("OOM") => Some("it has no memory left: give it more, or use a Redis of its own"),
        Some("MISCONF") => Some("it cannot save to its disk: make room there"),
        Some("NOAUTH" | "WRONGPASS") => Some("give a user and a password that Redis accepts"),
        Some("WRONGTYPE") => Some("another program uses keys of this prefix: choose another prefix"),
        _ if says("OOM command not allowed") => {
            Some("it has no memory left: give it more, or use a Redis of its own")
        }
        _ if says("MISCONF") => Some("it cannot save to its disk: make room there"),
        _ if says("WRONGPASS") || says("NOAUTH") => Some("give a user and a password that Redis accepts"),
        _ if says("WRONGTYPE") => Some("another program uses keys of this prefix: choose another prefix"),
        _ if says("READONLY") => Some("it is a read-only replica: give the address of the primary"),
        _ => None,
    }
}
