//! What can go wrong with a call, and what the caller knows afterwards.

use std::error::Error as _;

use holdfast_api::v1::{Reason, Refusal};
use prost::Message as _;
use tonic::{Code, ConnectError, Status};
use tonic_types::pb;

/// Why a call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The options cannot work; nothing was sent.
    #[error("{0}")]
    Options(String),
    /// The cluster refused: the request had no effect.
    #[error("refused: {}", .0.message)]
    Refused(Box<Refusal>),
    /// Nobody took the request before the deadline: it had no effect.
    #[error("no node took the request within the deadline, it had no effect ({message})")]
    Unavailable {
        /// What the last attempt met.
        message: String,
    },
    /// The request was sent, and no answer came before the deadline: it may or may not take effect.
    /// Calling again with the same operation id tells.
    #[error("the outcome is unknown: the request may or may not have taken effect ({message})")]
    Unknown {
        /// What the last attempt met.
        message: String,
    },
    /// No node and this client accept each other's certificates: the request was never sent, and trying again does not help.
    #[error("the connection was refused for its certificates, the request had no effect ({message})")]
    Untrusted {
        /// What the last attempt met.
        message: String,
    },
    /// The server answered with an error that carries no refusal, or with something this client does not understand.
    #[error("{code:?}: {message}")]
    Unexpected {
        /// The gRPC code.
        code: Code,
        /// What was wrong.
        message: String,
    },
}

impl ClientError {
    /// The refusal's reason, when it is a refusal.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Refused(refusal) => Some(refusal.reason()),
            _ => None,
        }
    }

    /// May the request have taken effect all the same?
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }
}

/// May the same request, with the same operation id, be answered otherwise a moment later without anybody doing anything?
pub fn is_retryable(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NoLeader | Reason::OutcomeUnknown | Reason::Overloaded | Reason::Deadline | Reason::Contended
    )
}

/// What an attempt that failed has left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Certainly nothing.
    None,
    /// Nobody knows.
    Unknown,
}

/// What one attempt came to when it did not come to an answer.
#[derive(Debug, Clone)]
pub(crate) enum Attempt {
    /// Trying again changes nothing.
    Final(ClientError),
    /// This node and this client do not accept each other's certificates. Nothing was sent; another node may differ.
    Untrusted { message: String },
    /// Try again with the same operation id.
    Retry {
        effect: Effect,
        /// Wait at least this long; 0 when the server does not say.
        retry_after_ms: u64,
        message: String,
    },
}

impl Attempt {
    /// An attempt whose answer did not come in time.
    pub(crate) fn timed_out(address: &str) -> Self {
        Self::Retry {
            effect: Effect::Unknown,
            retry_after_ms: 0,
            message: format!("no answer from {address} in time"),
        }
    }

    /// Judges a refusal.
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

    /// Judges a gRPC error.
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
    /// The error of a call that is not tried again.
    pub(crate) fn into_error(self) -> ClientError {
        match self {
            Self::Final(error) => error,
            Self::Untrusted { message } => ClientError::Untrusted { message },
            Self::Retry { message, .. } => ClientError::Unavailable { message },
        }
    }
}

/// The alerts (RFC 8446) that refuse a certificate, or the lack of one, during the handshake. After one of them nothing that was sent
/// over the connection was read.
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

/// Why one side does not accept the other's certificate; none when a call failed for another reason. HTTP/2 passes on only the
/// text of an error of the connection below it, so the text is all there is to go by.
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

/// The refusal that a gRPC error carries in its details, if it does.
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

/// Returns whether the request certainly never left: there was no connection, or the connection ended
/// before it took the request. Over HTTP/2 hyper reports only such requests as cancelled
/// (`client::dispatch` returns the request with the error); requests that were on their way get the
/// error of the stream or the connection.
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

/// The cause that says most: the transport's own words are only "transport error".
fn innermost(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = status.source();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}
