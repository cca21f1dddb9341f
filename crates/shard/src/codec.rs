//! Encoding of everything this crate writes or sends: one version byte, then postcard.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The only version so far.
pub(crate) const VERSION: u8 = 1;

/// First capacity of an encoded value, in bytes. Most values fit, so memory is allocated once.
const USUAL_BYTES: usize = 512;

/// Reason why a value cannot be encoded, or bytes cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    /// There are no bytes at all.
    #[error("it is empty")]
    Empty,
    /// The version byte is not [`VERSION`].
    #[error("it has version {0}, and this program reads version {VERSION}")]
    Version(u8),
    /// The bytes are not a value of the expected type.
    #[error("it cannot be read: {0}")]
    Malformed(postcard::Error),
    /// Number of bytes that follow after the value.
    #[error("it has {0} bytes too many")]
    Trailing(usize),
    /// The value cannot be encoded.
    #[error("it cannot be written: {0}")]
    NotWritable(postcard::Error),
}

impl From<CodecError> for std::io::Error {
    fn from(error: CodecError) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string())
    }
}

/// Encodes a value behind the version byte.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, CodecError> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    bytes.push(VERSION);
    let bytes = postcard::to_extend(value, bytes).map_err(CodecError::NotWritable)?;
    Ok(Bytes::from(bytes))
}

/// Decodes a value. Every byte must belong to it.
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
