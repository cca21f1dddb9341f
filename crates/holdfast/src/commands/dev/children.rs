//! The nodes as child processes: starts them, reads their output, stops them.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

use super::folder::Member;
use crate::output::Output;

/// Longest time that a node may take to stop. It is longer than the time that a node waits for calls under
/// way.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// Words that make a line worth showing even when not everything is shown.
const LOUD: [&str; 4] = ["WARN", "ERROR", "error:", "panicked"];

/// All child processes of this command.
#[derive(Debug)]
pub(super) struct Children {
    running: Vec<Running>,
    deaths: mpsc::UnboundedReceiver<Death>,
    tell_death: mpsc::UnboundedSender<Death>,
    /// Whether all nodes are being stopped. Then no node can hand its leadership over, and their messages
    /// about it are not shown.
    stopping: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Running {
    node_id: u64,
    pid: Pid,
    /// The node stops when this end of its standard input is closed, even when we ourselves were killed.
    _stdin: Option<ChildStdin>,
}

#[derive(Debug)]
struct Death {
    member: Member,
    how: String,
}

impl Default for Children {
    fn default() -> Self {
        let (tell_death, deaths) = mpsc::unbounded_channel();
        Self {
            running: Vec::new(),
            deaths,
            tell_death,
            stopping: Arc::default(),
        }
    }
}

impl Children {
    /// Starts a node.
    ///
    /// # Errors
    /// When this binary or the node's log cannot be opened.
    pub(super) fn start(&mut self, member: &Member, verbose: bool, output: Output) -> anyhow::Result<()> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&member.log)
            .with_context(|| format!("cannot open the log {}", member.log.display()))?;
        let binary = std::env::current_exe().context("cannot find this binary")?;
        let mut child = Command::new(binary)
            .args(["serve", "--stop-with-stdin", "--config"])
            .arg(&member.config)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C reaches only this process, which then stops the nodes.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a node")?;
        let pid = child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .context("a node ended at once")?;
        self.running.push(Running {
            node_id: member.node_id,
            pid: Pid::from_raw(pid),
            _stdin: child.stdin.take(),
        });
        let pipes = (child.stdout.take(), child.stderr.take());
        let echo = Echo {
            prefix: format!("node {} | ", member.node_id),
            all: verbose,
            stopping: Arc::clone(&self.stopping),
            output,
        };
        tokio::spawn(follow(
            child,
            pipes,
            log,
            echo,
            member.clone(),
            self.tell_death.clone(),
        ));
        Ok(())
    }

    /// Returns the process id of a node that runs.
    pub(super) fn pid(&self, node_id: u64) -> Option<i32> {
        Some(
            self.running
                .iter()
                .find(|running| running.node_id == node_id)?
                .pid
                .as_raw(),
        )
    }

    /// Returns the number of nodes that run.
    pub(super) fn alive(&self) -> usize {
        self.running.len()
    }

    /// Waits for the next node to end, and returns how it ended.
    pub(super) async fn next_death(&mut self) -> (Member, String) {
        match self.deaths.recv().await {
            Some(death) => {
                self.running
                    .retain(|running| running.node_id != death.member.node_id);
                (death.member, death.how)
            }
            // This process holds a sender itself, so the channel stays open.
            None => std::future::pending().await,
        }
    }

    /// Asks all nodes to stop and waits for them. Kills the nodes that do not stop in time.
    ///
    /// # Errors
    /// When a node had to be killed.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        self.stopping.store(true, Ordering::Relaxed);
        for running in &self.running {
            // The node may have ended by itself meanwhile.
            let _ = kill(running.pid, Signal::SIGTERM);
        }
        let all_ended = async {
            while self.alive() > 0 {
                self.next_death().await;
            }
        };
        if tokio::time::timeout(STOP_WITHIN, all_ended).await.is_err() {
            self.kill()?;
        }
        Ok(())
    }

    /// Kills all nodes that still run.
    ///
    /// # Errors
    /// Names the nodes that could not be killed.
    pub(super) fn kill(&self) -> anyhow::Result<()> {
        let left: Vec<String> = self
            .running
            .iter()
            .map(|running| running.node_id.to_string())
            .collect();
        for running in &self.running {
            let _ = kill(running.pid, Signal::SIGKILL);
        }
        if left.is_empty() {
            Ok(())
        } else {
            anyhow::bail!("killed the nodes that did not stop: {}", left.join(", "))
        }
    }
}

/// The part of a node's log that is shown on our stderr.
#[derive(Debug, Clone)]
struct Echo {
    prefix: String,
    all: bool,
    stopping: Arc<AtomicBool>,
    output: Output,
}

/// Copies the output of a node into its log until the node ends, then reports how it ended.
async fn follow(
    mut child: Child,
    (stdout, stderr): (Option<ChildStdout>, Option<ChildStderr>),
    log: std::fs::File,
    echo: Echo,
    member: Member,
    tell_death: mpsc::UnboundedSender<Death>,
) {
    let copy_stdout = async {
        if let Some(stdout) = stdout {
            copy_lines(stdout, &log, &echo).await;
        }
    };
    let copy_stderr = async {
        if let Some(stderr) = stderr {
            copy_lines(stderr, &log, &echo).await;
        }
    };
    let ((), (), status) = tokio::join!(copy_stdout, copy_stderr, child.wait());
    let how = match status {
        Ok(status) => status.to_string(),
        Err(error) => format!("its status is lost: {error}"),
    };
    // When this process is ending too, nobody listens.
    let _ = tell_death.send(Death { member, how });
}

async fn copy_lines(from: impl AsyncRead + Unpin, mut log: &std::fs::File, echo: &Echo) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        match from.read_until(b'\n', &mut line).await {
            Ok(1..) => {
                // On a full disk, reading must go on or the node would block. The node reports the full disk
                // itself.
                let _ = log.write_all(&line);
                let text = String::from_utf8_lossy(&line);
                let loud =
                    !echo.stopping.load(Ordering::Relaxed) && LOUD.iter().any(|word| text.contains(word));
                if echo.all || loud {
                    echo.output.note(format!("{}{}", echo.prefix, text.trim_end()));
                }
            }
            Ok(0) | Err(_) => return,
        }
    }
}
