//! Steps of a task: messages to the terminal, and runs of other programs.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Returns the root of the checkout.
pub(crate) fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or(manifest.clone(), PathBuf::from)
}

/// Returns the folder into which cargo builds.
pub(crate) fn target() -> PathBuf {
    let elsewhere = std::env::var_os("CARGO_TARGET_DIR");
    elsewhere.map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// Prints the next step for the person at the terminal.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "==> {text}");
}

/// Runs a program to its end, in the root unless the command names another folder. Its output goes where ours
/// goes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    if command.get_current_dir().is_none() {
        command.current_dir(root());
    }
    let status = command
        .status()
        .with_context(|| format!("could not start: {shown}"))?;
    if !status.success() {
        bail!("{shown}\nfailed with {status}");
    }
    Ok(())
}

/// Runs a program to its end. Returns what it prints on standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command
        .current_dir(root())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("could not start: {shown}"))?;
    let text = String::from_utf8(output.stdout).context("the output is not UTF-8")?;
    if !output.status.success() {
        bail!("{shown}\nfailed with {}:\n{text}", output.status);
    }
    Ok(text)
}

/// Returns the cargo that started this task.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn show(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(
        command
            .get_args()
            .map(|argument| argument.to_string_lossy().into_owned()),
    );
    words.join(" ")
}
