//! Bytes of everything this crate writes or sends: one version byte, then postcard.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The only version so far.
pub(crate) const VERSION: u8 = 1;

/// What is written mostly fits, so that memory is asked for once.
const USUAL_BYTES: usize = 512;

/// Why bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    /// No bytes at all.
    #[error("empty")]
    Empty,
    /// Written by another version.
    #[error("version {0} is not supported, this is version {VERSION}")]
    Version(u8),
    /// Not what was expected.
    #[error("not readable: {0}")]
    Malformed(postcard::Error),
    /// More than was expected.
    #[error("{0} bytes too many")]
    Trailing(usize),
    /// A value that has no bytes.
    #[error("not writable: {0}")]
    NotWritable(postcard::Error),
}

impl From<CodecError> for std::io::Error {
    fn from(error: CodecError) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string())
    }
}

/// Writes a value.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, CodecError> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    bytes.push(VERSION);
    let bytes = postcard::to_extend(value, bytes).map_err(CodecError::NotWritable)?;
    Ok(Bytes::from(bytes))
}

/// Reads a value; every byte must belong to it.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (version, body) = bytes.split_first().ok_or(CodecError::Empty)?;
    if *version != VERSION {
        return Err(CodecError::Version(*version));
    }
    let (value, rest) = postcard::take_from_bytes(body).map_err(CodecError::Malformed)?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(CodecError::Trailing(rest.len()))
    }
}

#[cfg(test)]
mod tests;
