//! PostgreSQL: one transaction with a guarded `UPDATE` and the insert of the reservation, committed
//! synchronously. The later steps are guarded updates of both.
//!
//! Both are in one statement, so that each step costs one round trip. It is one server without a replica: it
//! does less than three nodes with a quorum, and is compared as it is.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::process::{Child, Command};
use tokio_postgres::{Client, NoTls, Statement};
use uuid::Uuid;

use crate::buyers::{Fulfilment, Target};
use crate::usage::UsageMeter;
use crate::workload::{SKUS, SOLD_OUT};

/// The account that Debian's package creates. The server refuses to run as root.
const ACCOUNT: &str = "postgres";

const RESERVE: &str = "\
    WITH taken AS (
        UPDATE stock SET free = free - 1, held = held + 1 WHERE sku = $1 AND free >= 1 RETURNING sku
    )
    INSERT INTO reservation (id, sku, quantity, state, expires_at)
    SELECT $2, sku, 1, 'H', now() + interval '1 hour' FROM taken";

const COMMIT: &str = "\
    WITH paid AS (
        UPDATE reservation SET state = 'C' WHERE id = $1 AND state = 'H' AND expires_at > now()
        RETURNING sku, quantity
    )
    UPDATE stock SET held = stock.held - paid.quantity, committed = stock.committed + paid.quantity
    FROM paid WHERE stock.sku = paid.sku";

const SHIP: &str = "\
    WITH gone AS (
        UPDATE reservation SET state = 'S' WHERE id = $1 AND state = 'C' RETURNING sku, quantity
    )
    UPDATE stock SET committed = stock.committed - gone.quantity FROM gone WHERE stock.sku = gone.sku";

/// A running server.
pub(crate) struct Server {
    process: Child,
    port: u16,
}

impl Server {
    pub(crate) async fn start(folder: &Path, port: u16) -> Result<Self> {
        let programs = programs()?;
        let data = folder.join("postgres");
        tokio::fs::create_dir(&data).await?;
        if is_root()? {
            // The account must be able to reach the folder, and must own it.
            done(Command::new("chmod").arg("o+x").arg(folder)).await?;
            done(Command::new("chown").arg(ACCOUNT).arg(&data)).await?;
        }
        let mut make = without_root(&programs.join("initdb"))?;
        make.arg("--pgdata").arg(&data).args(["--username", ACCOUNT]);
        done(make.args(["--auth", "trust", "--encoding", "UTF8"])).await?;
        // The settings follow its manual: shared_buffers at a quarter of the memory, a WAL large enough that
        // checkpoints are rare, and prepared statements
        // (https://www.postgresql.org/docs/15/runtime-config.html). Commits stay synchronous.
        let settings = [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".into(),
            "unix_socket_directories=".into(),
            "max_connections=300".into(),
            "shared_buffers=1GB".into(),
            "max_wal_size=8GB".into(),
            "checkpoint_timeout=30min".into(),
            "synchronous_commit=on".into(),
            "fsync=on".into(),
        ];
        let mut run = without_root(&programs.join("postgres"))?;
        run.arg("-D").arg(&data);
        for setting in settings {
            run.arg("-c").arg(setting);
        }
        let log = std::fs::File::create(folder.join("postgres.log"))?;
        let process = run.stdout(Stdio::null()).stderr(log).kill_on_drop(true).spawn()?;
        let server = Self { process, port };
        server.fill().await?;
        Ok(server)
    }

    async fn fill(&self) -> Result<()> {
        let client = self.connect_when_ready().await?;
        let sql = format!(
            "CREATE TABLE stock (
                 sku integer PRIMARY KEY, free bigint NOT NULL CHECK (free >= 0), held bigint NOT NULL,
                 committed bigint NOT NULL DEFAULT 0);
             CREATE TABLE reservation (
                 id uuid PRIMARY KEY, sku integer NOT NULL, quantity bigint NOT NULL, state char(1) NOT NULL,
                 expires_at timestamptz NOT NULL);
             INSERT INTO stock SELECT sku, 1000000000000, 0 FROM generate_series(0, {SKUS} - 1) AS sku;
             INSERT INTO stock VALUES ({SOLD_OUT}, 0, 0);
             VACUUM ANALYZE stock;"
        );
        for statement in sql.split(';').filter(|statement| !statement.trim().is_empty()) {
            client.batch_execute(statement).await?;
        }
        Ok(())
    }

    async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        let settings = format!(
            "host=127.0.0.1 port={} user={ACCOUNT} dbname={ACCOUNT}",
            self.port
        );
        let (client, connection) = tokio_postgres::connect(&settings, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn connect_when_ready(&self) -> Result<Client> {
        let patience = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            match self.connect().await {
                Ok(client) => return Ok(client),
                Err(error) if tokio::time::Instant::now() > patience => {
                    return Err(error).context("PostgreSQL does not start; see postgres.log");
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    pub(crate) fn meter(&self) -> Result<UsageMeter> {
        Ok(UsageMeter::new(self.process.id().context("PostgreSQL ended")?))
    }

    /// Opens a connection for each caller.
    pub(crate) async fn callers(&self, callers: usize) -> Result<Callers> {
        let mut connections = Vec::with_capacity(callers);
        for _ in 0..callers {
            let client = self.connect().await?;
            connections.push(Connection {
                reserve: client.prepare(RESERVE).await?,
                commit: client.prepare(COMMIT).await?,
                ship: client.prepare(SHIP).await?,
                client,
            });
        }
        Ok(Callers {
            connections: Arc::new(connections),
        })
    }
}

/// Returns the folder where Debian keeps the programs of the newest version.
fn programs() -> Result<PathBuf> {
    let versions =
        std::fs::read_dir("/usr/lib/postgresql").context("the package postgresql is not installed")?;
    let folders = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    let newest = folders.filter(|folder| folder.join("initdb").exists()).max();
    newest.context("the package postgresql is not installed")
}

fn is_root() -> Result<bool> {
    Ok(std::fs::metadata("/proc/self")?.uid() == 0)
}

fn without_root(program: &Path) -> Result<Command> {
    if !is_root()? {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", ACCOUNT, "--regid", ACCOUNT, "--init-groups"]);
    command.arg(program);
    Ok(command)
}

async fn done(command: &mut Command) -> Result<()> {
    let output = command.output().await.with_context(|| format!("{command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

struct Connection {
    client: Client,
    reserve: Statement,
    commit: Statement,
    ship: Statement,
}

/// Connections, which the callers use in turn.
#[derive(Clone)]
pub(crate) struct Callers {
    connections: Arc<Vec<Connection>>,
}

impl Callers {
    fn connection(&self, caller: usize) -> &Connection {
        &self.connections[caller % self.connections.len()]
    }
}

impl Target for Callers {
    async fn reserve(&self, caller: usize, id: Uuid, sku: usize) -> Result<bool> {
        let Connection { client, reserve, .. } = self.connection(caller);
        let inserted = client.execute(reserve, &[&i32::try_from(sku)?, &id]).await?;
        Ok(inserted == 1)
    }
}

impl Fulfilment for Callers {
    async fn commit(&self, caller: usize, id: Uuid, _: usize) -> Result<bool> {
        let Connection { client, commit, .. } = self.connection(caller);
        Ok(client.execute(commit, &[&id]).await? == 1)
    }

    async fn ship(&self, caller: usize, id: Uuid, _: usize) -> Result<bool> {
        let Connection { client, ship, .. } = self.connection(caller);
        Ok(client.execute(ship, &[&id]).await? == 1)
    }
}
