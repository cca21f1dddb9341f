use std::sync::Arc;

use crate::{ClientError, ClientOptions};

/// A connection to a cluster. Cheap to clone; all clones share their connections and what they learnt.
#[derive(Clone, Debug)]
pub struct Client {
    options: Arc<ClientOptions>,
}

impl Client {
    /// A client for these endpoints. Connects when it is first used.
    ///
    /// # Errors
    /// [`ClientError::Options`] when an endpoint is not an address.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        Ok(Self {
            options: Arc::new(options),
        })
    }

    /// The options it was made with.
    pub fn options(&self) -> &ClientOptions {
        &self.options
    }
}
