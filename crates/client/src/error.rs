//! Errors of a call, and what the caller knows after each of them.

use std::error::Error as _;

use holdfast_api::v1::{Reason, Refusal};
use prost::Message as _;
use tonic::{Code, ConnectError, Status};
use tonic_types::pb;

/// The reason why a call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The options cannot work. Nothing was sent.
    #[error("{0}")]
    Options(String),
    /// The cluster refused. The request had no effect.
    #[error("refused: {}", .0.message)]
    Refused(Box<Refusal>),
    /// Nobody took the request before the deadline. It had no effect.
    #[error("no node took the request before the deadline, so it had no effect ({message})")]
    Unavailable {
        /// The failure of the last attempt.
        message: String,
    },
    /// The request was sent, and no answer came before the deadline. It may or may not take effect. To find
    /// out, call again with the same operation id.
    #[error("the outcome is unknown: the request may or may not have taken effect ({message})")]
    Unknown {
        /// The failure of the last attempt.
        message: String,
    },
    /// No node and this client accept each other's certificates. The request was never sent, and another
    /// attempt does not help.
    #[error(
        "the connection was refused because of its certificates, so the request had no effect ({message})"
    )]
    Untrusted {
        /// The failure of the last attempt.
        message: String,
    },
    /// The server answered with an error that carries no refusal, or with something that this client does not
    /// understand.
    #[error("{code:?}: {message}")]
    Unexpected {
        /// The gRPC code.
        code: Code,
        /// The fault, in words.
        message: String,
    },
}

impl ClientError {
    /// Returns the refusal's reason, if the error is a refusal.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Refused(refusal) => Some(refusal.reason()),
            _ => None,
        }
    }

    /// Returns whether the request may have taken effect all the same.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }
}

/// Returns whether the same request, with the same operation id, may be answered otherwise a moment later
/// without anybody's action.
pub fn is_retryable(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NoLeader | Reason::OutcomeUnknown | Reason::Overloaded | Reason::Deadline | Reason::Contended
    )
}

/// The effect of a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Certainly no effect.
    None,
    /// An unknown effect.
    Unknown,
}

/// The outcome of one attempt without a usable answer.
#[derive(Debug, Clone)]
pub(crate) enum Attempt {
    /// Another attempt changes nothing.
    Final(ClientError),
    /// This node and this client do not accept each other's certificates. Nothing was sent. Another node may
    /// differ.
    Untrusted { message: String },
    /// Another attempt, with the same operation id, may succeed.
    Retry {
        effect: Effect,
        /// The least milliseconds to wait; 0 when the server does not say.
        retry_after_ms: u64,
        message: String,
    },
}

impl Attempt {
    /// Makes the outcome of an attempt whose answer did not come in time.
    pub(crate) fn timed_out(address: &str) -> Self {
        Self::Retry {
            effect: Effect::Unknown,
            retry_after_ms: 0,
            message: format!("no answer from {address} in time"),
        }
    }

    /// Makes the outcome of a refusal.
    pub(crate) fn from_refusal(refusal: Refusal) -> Self {
        let reason = refusal.reason();
        if !is_retryable(reason) {
            return Self::Final(ClientError::Refused(Box::new(refusal)));
        }
        let effect = match reason {
            Reason::NoLeader | Reason::Overloaded | Reason::Contended => Effect::None,
            _ => Effect::Unknown,
        };
        Self::Retry {
            effect,
            retry_after_ms: refusal.retry_after_ms,
            message: refusal.message,
        }
    }

    /// Makes the outcome of a gRPC error.
    pub(crate) fn from_status(status: &Status, address: &str) -> Self {
        if let Some(refusal) = refusal_of(status) {
            return Self::from_refusal(refusal);
        }
        if let Some(why) = distrust(status) {
            return Self::Untrusted {
                message: format!("{address}: {why}"),
            };
        }
        // A status with a source was made on this side, by the transport.
        let of_transport = status.source().is_some();
        let may_pass = matches!(
            status.code(),
            Code::Unavailable
                | Code::Cancelled
                | Code::DeadlineExceeded
                | Code::ResourceExhausted
                | Code::Unknown
                | Code::Aborted
        );
        if !of_transport && !may_pass {
            return Self::Final(ClientError::Unexpected {
                code: status.code(),
                message: status.message().to_owned(),
            });
        }
        Self::Retry {
            effect: if never_sent(status) {
                Effect::None
            } else {
                Effect::Unknown
            },
            retry_after_ms: 0,
            message: format!("{address}: {}", innermost(status)),
        }
    }
}

impl Attempt {
    /// Returns the error of a call that is not tried again.
    pub(crate) fn into_error(self) -> ClientError {
        match self {
            Self::Final(error) => error,
            Self::Untrusted { message } => ClientError::Untrusted { message },
            Self::Retry { message, .. } => ClientError::Unavailable { message },
        }
    }
}

/// The alerts (RFC 8446) that refuse a certificate, or a missing one, during the handshake. After one of
/// them, nothing that was sent over the connection was read.
const DISTRUST: [&str; 11] = [
    "AccessDenied",
    "BadCertificate",
    "CertificateExpired",
    "CertificateRequired",
    "CertificateRevoked",
    "CertificateUnknown",
    "DecryptError",
    "HandshakeFailure",
    "NoCertificate",
    "UnknownCA",
    "UnsupportedCertificate",
];

/// Returns why one side does not accept the other's certificate; None when a call failed for another reason.
/// HTTP/2 passes on only the text of an error of the connection below it, so this function has to search the
/// text.
fn distrust(status: &Status) -> Option<String> {
    let mut cause = status.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if let Some((_, alert)) = text.split_once("received fatal alert: ") {
            let alert: String = alert.chars().take_while(char::is_ascii_alphanumeric).collect();
            if DISTRUST.contains(&alert.as_str()) {
                return Some(format!(
                    "the node does not accept this client's certificate ({alert})"
                ));
            }
        }
        if let Some((_, why)) = text.split_once("invalid peer certificate: ") {
            return Some(format!(
                "this client does not accept the node's certificate ({why})"
            ));
        }
        cause = error.source();
    }
    None
}

/// Returns the refusal in the details of a gRPC error, if it has one.
pub fn refusal_of(status: &Status) -> Option<Refusal> {
    if status.details().is_empty() {
        return None;
    }
    let details = pb::Status::decode(status.details()).ok()?;
    let packed = details
        .details
        .iter()
        .find(|any| any.type_url.rsplit('/').next() == Some("holdfast.v1.Refusal"))?;
    Refusal::decode(packed.value.as_slice()).ok()
}

/// Returns whether the request certainly never left: there was no connection, or the connection ended before
/// it took the request. Over HTTP/2, hyper reports only such requests as cancelled (`client::dispatch`
/// returns the request with the error). A request that was on its way gets the error of the stream or of the
/// connection.
fn never_sent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        let cancelled = error
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_canceled);
        if cancelled || error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Returns the most precise cause. The transport's own text is only "transport error".
fn innermost(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = status.source();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}
