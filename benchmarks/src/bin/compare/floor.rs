//! The floor that no system can avoid: a gRPC call over loopback, and a data sync.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use holdfast_api::v1;
use holdfast_api::v1::availability_client::AvailabilityClient;
use holdfast_api::v1::availability_server::{Availability, AvailabilityServer};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::buyers::Target;
use crate::latencies::{histogram, microseconds};

/// Length of one written record in bytes: about that of a log entry with one reservation.
const SYNCED_BYTES: usize = 256;

/// Length of the file in bytes. It exists already and is overwritten, so that a sync has no metadata to
/// write.
const FILE_BYTES: usize = 16 << 20;

/// Measures how long it takes to write and sync a little, in microseconds.
pub(crate) fn data_syncs(folder: &Path, duration: Duration) -> Result<Histogram<u64>> {
    let mut file = File::create(folder.join("synced"))?;
    file.write_all(&vec![1; FILE_BYTES])?;
    file.sync_all()?;
    file.rewind()?;
    let mut latency = histogram()?;
    let (until, mut position) = (Instant::now() + duration, 0);
    while Instant::now() < until {
        if position + SYNCED_BYTES > FILE_BYTES {
            file.rewind()?;
            position = 0;
        }
        let began = Instant::now();
        file.write_all(&[2; SYNCED_BYTES])?;
        file.sync_data()?;
        latency.saturating_record(microseconds(began.elapsed()));
        position += SYNCED_BYTES;
    }
    Ok(latency)
}

/// A service that answers at once with the request itself.
struct Echo;

#[tonic::async_trait]
impl Availability for Echo {
    async fn check_availability(
        &self,
        request: Request<v1::CheckAvailabilityRequest>,
    ) -> Result<Response<v1::CheckAvailabilityResponse>, Status> {
        let skus = request.into_inner().skus.into_iter();
        let skus = skus.map(|sku| v1::SkuAvailability {
            sku,
            available: 1,
            ..Default::default()
        });
        Ok(Response::new(v1::CheckAvailabilityResponse {
            skus: skus.collect(),
        }))
    }

    async fn promise(&self, _: Request<v1::PromiseRequest>) -> Result<Response<v1::PromiseResponse>, Status> {
        Err(Status::unimplemented("an echo promises nothing"))
    }
}

/// Serves echoes until the process is killed; prints its address.
#[allow(clippy::print_stdout, reason = "the parent reads it")]
pub(crate) async fn serve_echoes() -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    Server::builder()
        .add_service(AvailabilityServer::new(Echo))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}

/// An echo server in a process of its own, and one connection to it. A client of Holdfast has one to each
/// node too.
#[derive(Clone)]
pub(crate) struct Echoes {
    client: AvailabilityClient<Channel>,
}

impl Echoes {
    pub(crate) async fn start() -> Result<(Self, Child)> {
        let mut server = Command::new(std::env::current_exe()?)
            .arg("serve-echoes")
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = server.stdout.take().context("the echo server has no output")?;
        let address = BufReader::new(output).lines().next_line().await?;
        let address = address.context("the echo server ended")?;
        let client = AvailabilityClient::connect(format!("http://{address}")).await?;
        Ok((Self { client }, server))
    }
}

impl Target for Echoes {
    async fn reserve(&self, _: usize, _: Uuid, sku: usize) -> Result<bool> {
        let request = v1::CheckAvailabilityRequest {
            storefront: "web".to_owned(),
            skus: vec![format!("SKU-{sku}")],
            ..Default::default()
        };
        let answer = self.client.clone().check_availability(request).await?;
        Ok(answer
            .into_inner()
            .skus
            .first()
            .is_some_and(|sku| sku.available > 0))
    }
}
