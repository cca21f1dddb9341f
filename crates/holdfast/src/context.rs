//! The context that every command gets beside its own arguments.

use std::sync::OnceLock;

use holdfast_client::{AdminClient, Client, ClientOptions};

use crate::output::Output;

/// The cluster to talk to and the way to print.
#[derive(Debug)]
pub(crate) struct Context {
    options: ClientOptions,
    client: OnceLock<Client>,
    /// Whether `--json` was given; the same as `output.is_json()`.
    pub(crate) json: bool,
    /// The printer of results.
    pub(crate) output: Output,
    /// The log filter from the command line, if one was given.
    pub(crate) log_level: Option<String>,
}

impl Context {
    pub(crate) fn new(options: ClientOptions, output: Output, log_level: Option<String>) -> Self {
        Self {
            options,
            client: OnceLock::new(),
            json: output.is_json(),
            output,
            log_level,
        }
    }

    /// Returns the client. It is created on the first call, and connects on its first request.
    ///
    /// # Errors
    /// When `--endpoints` holds no usable address.
    pub(crate) fn client(&self) -> anyhow::Result<&Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Client::new(self.options.clone())?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Returns a client of the node at this address (`host:port`).
    ///
    /// # Errors
    /// When the address cannot be used.
    pub(crate) fn client_of(&self, address: &str) -> anyhow::Result<Client> {
        let scheme = self.scheme();
        Ok(Client::new(ClientOptions {
            endpoints: vec![format!("{scheme}://{address}")],
            ..self.options.clone()
        })?)
    }

    fn scheme(&self) -> &'static str {
        match self.options.tls {
            Some(_) => "https",
            None => "http",
        }
    }

    /// Returns the operators' client for the admin ports at these addresses (`host:port`, or with a scheme).
    ///
    /// # Errors
    /// When one of the addresses cannot be used.
    pub(crate) fn admin(&self, addresses: &[String]) -> anyhow::Result<AdminClient> {
        let scheme = self.scheme();
        let endpoints = addresses.iter().map(|address| match address.contains("://") {
            true => address.clone(),
            false => format!("{scheme}://{address}"),
        });
        Ok(AdminClient::new(ClientOptions {
            endpoints: endpoints.collect(),
            ..self.options.clone()
        })?)
    }

    /// Returns this shard, or all shards of the cluster.
    ///
    /// # Errors
    /// When no node answered before the deadline.
    pub(crate) async fn shards(&self, only: Option<u32>) -> anyhow::Result<Vec<u32>> {
        if let Some(only) = only {
            return Ok(vec![only]);
        }
        let topology = self.client()?.topology().await?;
        Ok(topology.shards.iter().map(|shard| shard.shard).collect())
    }
}
