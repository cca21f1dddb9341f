//! Redis servers for tests: real processes on loopback, killed and started again at will.
//!
//! - [`Server`] is one server with a folder of its own. It can be killed, and started again with that folder.
//! - [`Cluster`] is three servers that share the slots.
//!
//! They need Debian's package `redis-server`, which `cargo xtask test` installs. All end with their value,
//! and with the process that started them.

use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use holdfast_test_ports::take;
use redis::FromRedisValue;
use tempfile::TempDir;

/// How long a server may take to answer, or a cluster to come together.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// When an append-only file is synced to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendFsync {
    /// Before each answer.
    Always,
    /// Once a second, so a machine that dies loses a second. A process that is killed loses nothing.
    EverySecond,
}

/// The settings of a server.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The append-only file; none when the server keeps nothing.
    pub append_fsync: Option<AppendFsync>,
    /// The password of the default user.
    pub password: Option<String>,
    /// The port of the server whose replica it is.
    pub replica_of: Option<u16>,
    /// More settings, as `redis-server` names them, with their values.
    pub settings: Vec<(String, String)>,
    /// Whether it can be a node of a [`Cluster`].
    pub cluster: bool,
}

/// Returns a port on which nothing listens.
///
/// # Panics
/// When no port is free.
#[must_use]
pub fn free_port() -> u16 {
    take(1)[0]
}

/// One server. It is killed when it is dropped.
#[derive(Debug)]
pub struct Server {
    folder: TempDir,
    options: Options,
    port: u16,
    running: Option<Running>,
}

/// A process of a server, and the one that kills it when this process ends, however it ends. A value in a
/// `static` is never dropped, and a test may be killed.
#[derive(Debug)]
struct Running {
    server: Child,
    watcher: Child,
}

impl Running {
    fn start(command: &mut Command) -> Result<Self> {
        let server = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let mut server =
            server.context("redis-server cannot be started: install the package redis-server")?;
        // Its standard input ends with this process.
        let watcher = Command::new("sh")
            .args(["-c", "read -r _; kill -9 \"$0\"", &server.id().to_string()])
            .stdin(Stdio::piped())
            .spawn();
        match watcher {
            Ok(watcher) => Ok(Self { server, watcher }),
            Err(error) => {
                server.kill()?;
                Err(error.into())
            }
        }
    }

    /// Kills the watcher first, because the number of the server's process may become another one's.
    fn kill(&mut self) -> Result<()> {
        for process in [&mut self.watcher, &mut self.server] {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }
}

impl Server {
    /// Starts a server that keeps nothing, and waits until it answers.
    ///
    /// # Errors
    /// When it does not answer; the message has its log.
    pub fn start() -> Result<Self> {
        Self::start_with(Options::default())
    }

    /// Starts a server, and waits until it answers.
    ///
    /// # Errors
    /// When it does not answer; the message has its log.
    pub fn start_with(options: Options) -> Result<Self> {
        let port = take(2).first().copied().context("no port")?;
        let mut server = Self {
            folder: tempfile::tempdir()?,
            options,
            port,
            running: None,
        };
        server.restart()?;
        Ok(server)
    }

    /// Returns the port on which it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns its address, without a password.
    pub fn url(&self) -> String {
        format!("redis://{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// Kills it with SIGKILL, so it writes nothing more.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn kill(&mut self) -> Result<()> {
        match self.running.take() {
            Some(mut running) => running.kill(),
            None => Ok(()),
        }
    }

    /// Starts it again with its folder, and waits until it answers. Kills it before that if it still runs.
    ///
    /// # Errors
    /// When it does not answer; the message has its log.
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        let mut command = Command::new("redis-server");
        command.args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--port",
            &self.port.to_string(),
        ]);
        command.arg("--dir").arg(self.folder.path());
        command.arg("--logfile").arg(self.folder.path().join("log"));
        if let Some(sync) = self.options.append_fsync {
            let sync = match sync {
                AppendFsync::Always => "always",
                AppendFsync::EverySecond => "everysec",
            };
            command.args(["--appendonly", "yes", "--appendfsync", sync]);
        }
        if let Some(password) = &self.options.password {
            command.args(["--requirepass", password, "--masterauth", password]);
        }
        if let Some(port) = self.options.replica_of {
            command.args(["--replicaof", "127.0.0.1", &port.to_string()]);
        }
        if self.options.cluster {
            // Nodes of a cluster speak to each other on a second port.
            command.args(["--cluster-enabled", "yes", "--cluster-port"]);
            command.arg((self.port + 1).to_string());
        }
        for (name, value) in &self.options.settings {
            command.arg(format!("--{name}")).arg(value);
        }
        self.running = Some(Running::start(&mut command)?);
        let until = Instant::now() + PATIENCE;
        loop {
            let ready = self.ask::<String>(&["PING"]);
            match ready {
                Ok(_) => return Ok(()),
                Err(error) if self.has_ended()? || Instant::now() > until => {
                    let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                    return Err(error.context(format!("redis-server did not start:\n{log}")));
                }
                Err(_) => std::thread::park_timeout(PAUSE),
            }
        }
    }

    /// Removes bytes from the end of the append-only file, as a machine does that dies in the middle of a
    /// write. The server must not run.
    ///
    /// # Errors
    /// When there is no such file, or it is shorter.
    pub fn cut_append_only_file(&self, bytes: u64) -> Result<()> {
        let folder = std::fs::read_dir(self.folder.path().join("appendonlydir"))?;
        let files: Vec<_> = folder.collect::<std::io::Result<_>>()?;
        let newest = files
            .iter()
            .map(std::fs::DirEntry::path)
            .find(|path| path.to_string_lossy().ends_with(".incr.aof"));
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(newest.context("no append-only file")?)?;
        let length = file.metadata()?.len();
        file.set_len(length.checked_sub(bytes).context("the file is shorter")?)?;
        Ok(())
    }

    fn has_ended(&mut self) -> Result<bool> {
        match &mut self.running {
            Some(running) => Ok(running.server.try_wait()?.is_some()),
            None => Ok(true),
        }
    }

    /// Runs a command as the default user, over a connection of its own.
    ///
    /// # Errors
    /// When it does not answer, or answers with an error or another type.
    pub fn ask<T: FromRedisValue>(&self, words: &[&str]) -> Result<T> {
        let (name, arguments) = words.split_first().context("no command")?;
        let mut url = self.url();
        if let Some(password) = &self.options.password {
            url = url.replace("redis://", &format!("redis://:{password}@"));
        }
        let mut connection = redis::Client::open(url)?.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        Ok(redis::cmd(name).arg(arguments).query(&mut connection)?)
    }

    /// Waits until the answer of a command fulfils a condition.
    ///
    /// # Errors
    /// When it does not within a minute.
    pub fn wait_until<T: FromRedisValue + std::fmt::Debug>(
        &self,
        words: &[&str],
        condition: impl Fn(&T) -> bool,
    ) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let answer: T = self.ask(words)?;
            if condition(&answer) {
                return Ok(());
            }
            if Instant::now() > until {
                bail!("{} still answers {answer:?}", words.join(" "));
            }
            std::thread::park_timeout(PAUSE);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// A cluster of three primaries without replicas.
#[derive(Debug)]
pub struct Cluster {
    /// Its servers.
    pub servers: Vec<Server>,
}

impl Cluster {
    /// Starts three servers, shares the slots among them, and waits until each of them says that all are
    /// served.
    ///
    /// # Errors
    /// When they do not come together.
    pub fn start() -> Result<Self> {
        let options = Options {
            cluster: true,
            ..Options::default()
        };
        let servers: Vec<Server> = (0..3)
            .map(|_| Server::start_with(options.clone()))
            .collect::<Result<_>>()?;
        let addresses = servers.iter().map(|server| format!("127.0.0.1:{}", server.port));
        let output = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(addresses)
            .args(["--cluster-yes"])
            .output()
            .context("redis-cli cannot be started: install the package redis-tools")?;
        ensure!(
            output.status.success(),
            "the cluster was not made:\n{}",
            String::from_utf8_lossy(&output.stdout)
        );
        for server in &servers {
            server.wait_until(&["CLUSTER", "INFO"], |info: &String| {
                info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
            })?;
        }
        Ok(Self { servers })
    }

    /// Returns the address of one of its servers.
    pub fn url(&self) -> String {
        self.servers.first().map(Server::url).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_killed_comes_back_with_its_append_only_file() {
        let mut server = Server::start_with(Options {
            append_fsync: Some(AppendFsync::Always),
            password: Some("hush".to_owned()),
            ..Options::default()
        })
        .unwrap();
        let _: () = server.ask(&["SET", "key", "value"]).unwrap();
        server.kill().unwrap();
        assert!(server.ask::<String>(&["GET", "key"]).is_err());
        server.restart().unwrap();
        assert_eq!(server.ask::<String>(&["GET", "key"]).unwrap(), "value");
    }

    #[test]
    fn three_servers_share_the_slots() {
        let cluster = Cluster::start().unwrap();
        let answers = cluster
            .servers
            .iter()
            .map(|server| server.ask::<Option<String>>(&["GET", "key"]));
        assert_eq!(answers.filter(Result::is_ok).count(), 1);
    }
}
