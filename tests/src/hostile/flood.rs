//! The floods: what hostile callers send again and again, until they are asked to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use holdfast_api::v1;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::{Builder, Runtime};

use super::wire::{Http2, connect, framed, prefix};
use crate::requests;

const RESERVE: &str = "/holdfast.v1.Reservations/Reserve";
const BATCH: &str = "/holdfast.v1.Reservations/Batch";
const TAIL: &str = "/holdfast.v1.Changes/TailChanges";

/// Number of calls of one connection.
const CALLS: usize = 1_000;
/// Number of calls of one connection that send a byte at intervals.
const SLOW_CALLS: usize = 100;
/// Size of the largest message in bytes.
const MESSAGE_BYTES: usize = 4 << 20;
/// Window of HTTP/2 in bytes, for those who read.
const WINDOW_BYTES: u32 = 65_535;
/// Pause between the bytes of a slow body, and before slow callers begin anew.
const SLOW: Duration = Duration::from_secs(1);
/// Number of threads of all hostile callers together.
const THREADS: usize = 2;

/// A kind of hostile caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// Thousands of calls announce a large message and send nothing of it.
    Announced,
    /// Hundreds of calls send a byte of their message at intervals.
    SlowBodies,
    /// Messages contain as many empty elements as fit.
    EmptyElements,
    /// Connections that say nothing.
    SilentConnections,
    /// Connections open and close at once.
    ShortConnections,
    /// Calls are cancelled as soon as they are made.
    RapidResets,
    /// Change streams and batches whose answers nobody reads.
    UnreadAnswers,
    /// The largest legal orders.
    GiantOrders,
    /// Bytes that are not HTTP/2.
    MalformedFrames,
}

impl Flood {
    /// All kinds of floods.
    pub const ALL: [Self; 9] = [
        Self::Announced,
        Self::SlowBodies,
        Self::EmptyElements,
        Self::SilentConnections,
        Self::ShortConnections,
        Self::RapidResets,
        Self::UnreadAnswers,
        Self::GiantOrders,
        Self::MalformedFrames,
    ];

    /// Returns the number of hostile callers at each node.
    fn callers(self) -> usize {
        match self {
            Self::Announced | Self::SlowBodies => 3,
            Self::EmptyElements => 24,
            Self::SilentConnections => 1_500,
            Self::ShortConnections | Self::RapidResets | Self::MalformedFrames => 8,
            Self::UnreadAnswers => 64,
            Self::GiantOrders => 8,
        }
    }

    /// Returns the pause of a hostile caller before it begins anew. A flood is to exhaust a node, not the
    /// machine that sends it.
    fn pause(self) -> Duration {
        match self {
            Self::Announced | Self::SlowBodies | Self::UnreadAnswers | Self::SilentConnections => SLOW,
            Self::RapidResets => Duration::from_millis(50),
            Self::EmptyElements | Self::GiantOrders => Duration::from_millis(250),
            Self::ShortConnections | Self::MalformedFrames => Duration::from_millis(5),
        }
    }

    /// Returns how many attempts at each node make a complete flood.
    pub fn in_full(self) -> u64 {
        match self {
            Self::Announced => 3_000,
            Self::SlowBodies => 300,
            Self::EmptyElements => 48,
            Self::SilentConnections => 1_500,
            Self::ShortConnections | Self::MalformedFrames => 500,
            Self::RapidResets => 8_000,
            Self::UnreadAnswers => 128,
            Self::GiantOrders => 16,
        }
    }
}

/// A flood that is under way. It ends when this is dropped.
#[derive(Debug)]
pub struct Attack {
    attempts: Arc<AtomicU64>,
    /// Threads of the hostile callers. Honest callers do not share them, because their waiting times must
    /// depend on the nodes only.
    threads: Option<Runtime>,
}

impl Drop for Attack {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

impl Attack {
    /// Begins a flood of these nodes.
    ///
    /// # Errors
    /// When there are no threads for it.
    pub fn begin(flood: Flood, addresses: &[SocketAddr]) -> Result<Self> {
        let attempts = Arc::new(AtomicU64::new(0));
        let threads = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("hostile")
            .enable_all()
            .build()?;
        for &address in addresses {
            for caller in 0..flood.callers() {
                let attempts = Arc::clone(&attempts);
                threads.spawn(async move {
                    loop {
                        // Refusals and broken connections are normal for a hostile caller.
                        let _ = attempt(flood, caller, address, &attempts).await;
                        tokio::time::sleep(flood.pause()).await;
                    }
                });
            }
        }
        Ok(Self {
            attempts,
            threads: Some(threads),
        })
    }

    /// Returns the number of hostile attempts.
    pub fn attempts(&self) -> u64 {
        self.attempts.load(Ordering::Relaxed)
    }
}

async fn attempt(flood: Flood, caller: usize, address: SocketAddr, attempts: &AtomicU64) -> Result<()> {
    let count = || attempts.fetch_add(1, Ordering::Relaxed);
    match flood {
        Flood::Announced => {
            let mut connection = Http2::open(address, WINDOW_BYTES).await?;
            let mut calls = Vec::new();
            for _ in 0..CALLS {
                let mut call = connection.call(RESERVE).await?;
                call.send(prefix(MESSAGE_BYTES).freeze(), false)?;
                count();
                calls.push(call);
            }
            futures::future::join_all(calls.into_iter().map(|call| call.read())).await;
            Ok(())
        }
        Flood::SlowBodies => {
            let mut connection = Http2::open(address, WINDOW_BYTES).await?;
            let mut calls = Vec::new();
            for _ in 0..SLOW_CALLS {
                let mut call = connection.call(BATCH).await?;
                call.send(prefix(MESSAGE_BYTES).freeze(), false)?;
                count();
                calls.push(call);
            }
            while !calls.is_empty() {
                tokio::time::sleep(SLOW).await;
                calls.retain_mut(|call| call.send(Bytes::from_static(&[0x0a]), false).is_ok());
            }
            Ok(())
        }
        Flood::EmptyElements => {
            let mut connection = Http2::open(address, WINDOW_BYTES).await?;
            let path = if caller.is_multiple_of(2) { BATCH } else { RESERVE };
            // Field 1 of a batch is its items, field 3 of a Reserve its lines.
            let element = if path == BATCH { [0x0a, 0x00] } else { [0x1a, 0x00] };
            let message = framed(&element.repeat(MESSAGE_BYTES / 2));
            let mut call = connection.call(path).await?;
            call.send(message, true)?;
            let answered = call.read().await;
            count();
            answered
        }
        Flood::SilentConnections => {
            let mut connection = connect(address).await?;
            count();
            connection.read_to_end(&mut Vec::new()).await?;
            Ok(())
        }
        Flood::ShortConnections => {
            drop(connect(address).await?);
            count();
            Ok(())
        }
        Flood::RapidResets => {
            let mut connection = Http2::open(address, WINDOW_BYTES).await?;
            for _ in 0..CALLS {
                connection.call(RESERVE).await?.reset();
                count();
            }
            Ok(())
        }
        Flood::UnreadAnswers => unread(caller, address, attempts).await,
        Flood::GiantOrders => {
            let mut connection = Http2::open(address, WINDOW_BYTES).await?;
            let mut call = connection.call(RESERVE).await?;
            call.send(framed(&largest_order().encode_to_vec()), true)?;
            let answered = call.read().await;
            count();
            answered
        }
        Flood::MalformedFrames => {
            let mut connection = connect(address).await?;
            if caller.is_multiple_of(2) {
                connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
            }
            let mut noise = vec![0_u8; 4_096];
            rand::fill(&mut noise[..]);
            connection.write_all(&noise).await?;
            count();
            connection.read_to_end(&mut Vec::new()).await?;
            Ok(())
        }
    }
}

/// Opens change streams and batches on one connection, and does not read their answers.
async fn unread(caller: usize, address: SocketAddr, attempts: &AtomicU64) -> Result<()> {
    // The window is so small that each answer has to wait.
    let mut connection = Http2::open(address, 1).await?;
    let mut calls = Vec::new();
    for _ in 0..2 {
        let mut call = if caller.is_multiple_of(2) {
            let mut call = connection.call(TAIL).await?;
            let follow = v1::TailChangesRequest {
                from_seq: 1,
                follow: true,
                ..v1::TailChangesRequest::default()
            };
            call.send(framed(&follow.encode_to_vec()), true)?;
            call
        } else {
            connection.call(BATCH).await?
        };
        if caller.is_multiple_of(2) {
            attempts.fetch_add(1, Ordering::Relaxed);
        } else {
            let items = (0..256).map(|tag| v1::BatchItem {
                tag,
                request: Some(v1::batch_item::Request::Reserve(requests::reserve("UNKNOWN", 1))),
            });
            let batch = v1::BatchRequest {
                items: items.collect(),
            };
            call.send(framed(&batch.encode_to_vec()), false)?;
            attempts.fetch_add(1, Ordering::Relaxed);
        }
        calls.push(call);
    }
    // Send more batches for as long as the node takes them, then wait until the node ends the calls.
    loop {
        for call in &mut calls {
            call.taken().await?;
        }
        tokio::time::sleep(SLOW).await;
    }
}

/// Returns an order with everything that an order may have.
fn largest_order() -> v1::ReserveRequest {
    let warehouses: Vec<String> = (0..64).map(|place| format!("{place:0>32}")).collect();
    let mut order = requests::reserve("", 1);
    order.lines = (0..1_024)
        .map(|line| v1::ReserveLine {
            sku: format!("{line:0>64}"),
            quantity: 1,
            source: Some(v1::Source {
                kind: Some(v1::source::Kind::Preference(v1::WarehouseList {
                    warehouses: warehouses.clone(),
                })),
            }),
        })
        .collect();
    order
}
