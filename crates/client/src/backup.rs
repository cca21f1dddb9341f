//! One node's part of a backup.

use holdfast_api::v1;
use holdfast_api::v1::backup_client::BackupClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::ClientError;
use crate::client::{Client, MAX_ANSWER_BYTES};
use crate::error::Attempt;

/// The most steps that wait to be sent. The protocol has one at a time.
const STEPS: usize = 1;

/// A session of the Backup service with one node. Nothing is retried: when the session fails, the whole
/// backup begins again. Dropping the session ends it.
#[derive(Debug)]
pub struct BackupSession {
    address: String,
    steps: mpsc::Sender<v1::TakeRequest>,
    answers: Streaming<v1::TakeResponse>,
}

impl Client {
    /// Begins a session with the node at this address, which is an admin port (see
    /// [`Client::admin_address_of`]).
    ///
    /// # Errors
    /// [`ClientError`] when that node does not accept the session. [`ClientError::Unavailable`] may be
    /// temporary.
    pub async fn backup_session(&self, address: &str) -> Result<BackupSession, ClientError> {
        let mut client =
            BackupClient::new(self.channels().to(address)?).max_decoding_message_size(MAX_ANSWER_BYTES);
        let (steps, outgoing) = mpsc::channel(STEPS);
        let opened = client.take(ReceiverStream::new(outgoing));
        match tokio::time::timeout(self.options().deadline, opened).await {
            Ok(Ok(response)) => Ok(BackupSession {
                address: address.to_owned(),
                steps,
                answers: response.into_inner(),
            }),
            Ok(Err(status)) => Err(Attempt::from_status(&status, address).into_error()),
            Err(_) => Err(Attempt::timed_out(address).into_error()),
        }
    }
}

impl BackupSession {
    /// Sends the next step.
    ///
    /// # Errors
    /// [`ClientError::Unavailable`] when the node has ended the session; [`BackupSession::answer`] returns
    /// the reason.
    pub async fn step(&self, step: v1::take_request::Step) -> Result<(), ClientError> {
        let request = v1::TakeRequest { step: Some(step) };
        self.steps.send(request).await.map_err(|_| self.ended())
    }

    /// Waits for the next answer.
    ///
    /// # Errors
    /// [`ClientError`] when the node refused a step or is gone. [`ClientError::Unavailable`] may be
    /// temporary.
    pub async fn answer(&mut self) -> Result<v1::take_response::Answer, ClientError> {
        match self.answers.message().await {
            Ok(Some(response)) => response.answer.ok_or_else(|| self.ended()),
            Ok(None) => Err(self.ended()),
            Err(status) => Err(Attempt::from_status(&status, &self.address).into_error()),
        }
    }

    fn ended(&self) -> ClientError {
        ClientError::Unavailable {
            message: format!("{} ended the backup", self.address),
        }
    }
}
