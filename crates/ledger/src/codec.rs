//! The encoding of entries, changes and commands: one version byte, then postcard.
//!
//! The same bytes go to the log, to the change log and to peers, so a version never changes its meaning. A
//! new layout gets a new number, and the old layout stays readable. Decoding checks every name, refuses
//! trailing bytes, and never allocates more than the input can fill.

use serde::{Serialize, de::DeserializeOwned};

use crate::{Change, Command, Entry};

/// The version that is written. It is also the only one that is read.
pub(crate) const VERSION: u8 = 2;

/// The reason why bytes could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// There are no bytes, not even a version byte.
    #[error("{what}: it has no bytes")]
    Empty {
        /// The expected content.
        what: &'static str,
    },
    /// A newer program wrote the bytes, or they are not ours.
    #[error("{what}: it has version {version}, and this program reads version {VERSION}")]
    UnknownVersion {
        /// The expected content.
        what: &'static str,
        /// The version that was found.
        version: u8,
    },
    /// The body is cut short, or holds something that is not allowed.
    #[error("{what}: it is malformed: {message}")]
    Malformed {
        /// The expected content.
        what: &'static str,
        /// The fault in the body.
        message: String,
    },
    /// More bytes follow the body.
    #[error("{what}: it has {bytes} bytes too many")]
    TrailingBytes {
        /// The expected content.
        what: &'static str,
        /// The number of bytes too many.
        bytes: usize,
    },
}

/// Encodes a log entry.
pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    encode(entry)
}

/// Decodes a log entry.
///
/// # Errors
/// [`CodecError`] when the bytes are not exactly one entry of a known version.
pub fn decode_entry(bytes: &[u8]) -> Result<Entry, CodecError> {
    decode("entry", bytes)
}

/// Encodes the changes of one entry.
pub fn encode_changes(changes: &[Change]) -> Vec<u8> {
    encode(changes)
}

/// Decodes the changes of one entry.
///
/// # Errors
/// [`CodecError`] when the bytes are not exactly one list of changes of a known version.
pub fn decode_changes(bytes: &[u8]) -> Result<Vec<Change>, CodecError> {
    decode("changes", bytes)
}

/// Encodes one command.
pub fn encode_command(command: &Command) -> Vec<u8> {
    encode(command)
}

/// Decodes one command.
///
/// # Errors
/// [`CodecError`] when the bytes are not exactly one command of a known version.
pub fn decode_command(bytes: &[u8]) -> Result<Command, CodecError> {
    decode("command", bytes)
}

pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    postcard::to_extend(value, vec![VERSION]).expect("memory takes whatever these types write")
}

pub(crate) fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, CodecError> {
    decode_version(what, VERSION, bytes)
}

/// Decodes a value whose first byte is a version of its own.
pub(crate) fn decode_version<T: DeserializeOwned>(
    what: &'static str,
    expected: u8,
    bytes: &[u8],
) -> Result<T, CodecError> {
    let (version, body) = bytes.split_first().ok_or(CodecError::Empty { what })?;
    if *version != expected {
        return Err(CodecError::UnknownVersion {
            what,
            version: *version,
        });
    }
    let (value, rest) = postcard::take_from_bytes(body).map_err(|error| CodecError::Malformed {
        what,
        message: error.to_string(),
    })?;
    if !rest.is_empty() {
        return Err(CodecError::TrailingBytes {
            what,
            bytes: rest.len(),
        });
    }
    Ok(value)
}
