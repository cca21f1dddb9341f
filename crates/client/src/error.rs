//! What can go wrong with a call, and what the caller knows afterwards.

use holdfast_proto::v1;

/// Why a call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The options cannot work; nothing was sent.
    #[error("{0}")]
    Options(String),
    /// The cluster refused: the request had no effect.
    #[error("refused: {}", .0.message)]
    Refused(Box<v1::Refusal>),
    /// No node could be reached before the deadline, and none was sent the request: it had no effect.
    #[error("no node could be reached within the deadline ({message})")]
    Unreachable {
        /// What the last attempt met.
        message: String,
    },
    /// The request was sent, and its answer never came before the deadline: it may or may not take effect.
    /// Calling again with the same operation id tells.
    #[error("the outcome is unknown: the request was sent and may or may not take effect ({message}); call again with the same operation id to learn it")]
    Unknown {
        /// What the last attempt met.
        message: String,
    },
    /// The server answered something this client does not understand.
    #[error("unexpected answer: {message}")]
    Unexpected {
        /// What was wrong.
        message: String,
    },
}
