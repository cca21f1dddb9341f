//! Redis: scripts that check, take and record, with an append-only file that is synced before each answer.
//!
//! It is one server without a replica: it does less than three nodes with a quorum, and is compared as it is.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use redis::Script;
use redis::aio::MultiplexedConnection;
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::buyers::{Fulfilment, Target};
use crate::usage::UsageMeter;
use crate::workload::SKUS;

/// Script that reserves. Its records expire by themselves, as holds do.
const RESERVE: &str = "\
    local free = tonumber(redis.call('HGET', KEYS[1], 'free') or '0')
    if free < 1 then return 0 end
    redis.call('HINCRBY', KEYS[1], 'free', -1)
    redis.call('HINCRBY', KEYS[1], 'held', 1)
    redis.call('SET', KEYS[2], 'held ' .. KEYS[1], 'EX', 3600)
    return 1";

/// Script that commits. A paid reservation does not expire.
const COMMIT: &str = "\
    if redis.call('GET', KEYS[2]) ~= 'held ' .. KEYS[1] then return 0 end
    redis.call('HINCRBY', KEYS[1], 'held', -1)
    redis.call('HINCRBY', KEYS[1], 'committed', 1)
    redis.call('SET', KEYS[2], 'committed ' .. KEYS[1])
    return 1";

const SHIP: &str = "\
    if redis.call('GET', KEYS[2]) ~= 'committed ' .. KEYS[1] then return 0 end
    redis.call('HINCRBY', KEYS[1], 'committed', -1)
    redis.call('SET', KEYS[2], 'shipped ' .. KEYS[1])
    return 1";

/// A running server.
pub(crate) struct Server {
    process: Child,
    port: u16,
}

impl Server {
    pub(crate) async fn start(folder: &Path, port: u16) -> Result<Self> {
        let data = folder.join("redis");
        tokio::fs::create_dir(&data).await?;
        // Its manual says that only `appendfsync always` loses nothing
        // (https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/).
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--dir"])
            .arg(&data)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("the package redis-server is not installed")?;
        let server = Self { process, port };
        server.fill().await?;
        Ok(server)
    }

    async fn fill(&self) -> Result<()> {
        let patience = tokio::time::Instant::now() + Duration::from_secs(30);
        let mut connection = loop {
            match self.connect().await {
                Ok(connection) => break connection,
                Err(error) if tokio::time::Instant::now() > patience => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        for first in (0..SKUS).step_by(1000) {
            let mut pipeline = redis::pipe();
            for sku in first..(first + 1000).min(SKUS) {
                pipeline.hset(name(sku), "free", 1_000_000_000_000_i64).ignore();
            }
            let () = pipeline.query_async(&mut connection).await?;
        }
        Ok(())
    }

    async fn connect(&self) -> Result<MultiplexedConnection> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}/", self.port))?;
        Ok(client.get_multiplexed_async_connection().await?)
    }

    pub(crate) fn meter(&self) -> Result<UsageMeter> {
        Ok(UsageMeter::new(self.process.id().context("Redis ended")?))
    }

    /// Opens this many connections. When there are more callers, they share connections, and their commands
    /// are sent together.
    pub(crate) async fn callers(&self, connections: usize) -> Result<Callers> {
        let mut all = Vec::with_capacity(connections);
        for _ in 0..connections {
            all.push(self.connect().await?);
        }
        Ok(Callers {
            connections: Arc::new(all),
            scripts: Arc::new(Scripts {
                reserve: Script::new(RESERVE),
                commit: Script::new(COMMIT),
                ship: Script::new(SHIP),
            }),
        })
    }
}

fn name(sku: usize) -> String {
    format!("stock:{sku}")
}

struct Scripts {
    reserve: Script,
    commit: Script,
    ship: Script,
}

/// Connections that the callers share.
#[derive(Clone)]
pub(crate) struct Callers {
    connections: Arc<Vec<MultiplexedConnection>>,
    scripts: Arc<Scripts>,
}

impl Callers {
    /// Runs a script. Returns whether it did something.
    async fn run(&self, script: &Script, caller: usize, id: Uuid, sku: usize) -> Result<bool> {
        let mut connection = self.connections[caller % self.connections.len()].clone();
        let mut record = b"reservation:".to_vec();
        record.extend_from_slice(id.as_bytes());
        let mut call = script.prepare_invoke();
        let done: u8 = call
            .key(name(sku))
            .key(record)
            .invoke_async(&mut connection)
            .await?;
        Ok(done == 1)
    }
}

impl Target for Callers {
    async fn reserve(&self, caller: usize, id: Uuid, sku: usize) -> Result<bool> {
        self.run(&self.scripts.reserve, caller, id, sku).await
    }
}

impl Fulfilment for Callers {
    async fn commit(&self, caller: usize, id: Uuid, sku: usize) -> Result<bool> {
        self.run(&self.scripts.commit, caller, id, sku).await
    }

    async fn ship(&self, caller: usize, id: Uuid, sku: usize) -> Result<bool> {
        self.run(&self.scripts.ship, caller, id, sku).await
    }
}
