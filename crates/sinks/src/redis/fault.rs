//! What an error of Redis means for a sink.

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
        ErrorKind::Server(ServerErrorKind::ReadOnly) => {
            return Some("it is a read-only replica: give the address of the primary");
        }
        ErrorKind::Server(ServerErrorKind::NoPerm) => {
            return Some(
                "allow the user HGETALL, HMGET, HSET, HSETNX, HINCRBY, EVALSHA, EVAL, SCAN, UNLINK and INFO on the keys of the prefix",
            );
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
