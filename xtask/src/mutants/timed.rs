//! Runs of programs that end in bounded time.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Runs a program to its end. Returns its status and its output, which goes into a file meanwhile. A program
/// that takes longer is stopped, and that is an error.
pub(super) fn run(mut command: Command, log: &Path, timeout: Duration) -> Result<(ExitStatus, String)> {
    let file = File::create(log).with_context(|| log.display().to_string())?;
    command.stdout(file.try_clone()?).stderr(file);
    let program = command.get_program().to_string_lossy().into_owned();
    let mut running = command
        .spawn()
        .with_context(|| format!("{program} does not start"))?;
    let until = Instant::now() + timeout;
    let status = loop {
        if let Some(status) = running.try_wait()? {
            break status;
        }
        if Instant::now() >= until {
            running.kill()?;
            running.wait()?;
            bail!("it does not end within {} s", timeout.as_secs());
        }
        #[expect(clippy::disallowed_methods, reason = "a process that ends tells nobody")]
        std::thread::sleep(Duration::from_millis(50));
    };
    let output = fs::read_to_string(log).with_context(|| log.display().to_string())?;
    Ok((status, output))
}
