//! Programs that a bare machine lacks, installed by package name.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::steps;

/// Makes sure that a Python of at least 3.11 with `venv` is there. It builds the warehouse and tests the
/// chart.
pub(crate) fn python() -> Result<()> {
    let has_python = succeeds(
        "python3",
        &["-c", "import sys; sys.exit(sys.version_info < (3, 11))"],
    );
    if !has_python {
        install(&["python3"]).context("the warehouse and the chart need Python 3.11 or newer")?;
    }
    if !succeeds("python3", &["-c", "import venv, ensurepip"]) {
        install(&["python3-venv"]).context("the warehouse and the chart need Python's venv module")?;
    }
    Ok(())
}

/// Makes sure that the programs are there that build librdkafka, against which the Kafka sink is tested.
pub(crate) fn c_build_tools() -> Result<()> {
    let packages = [("make", "make"), ("g++", "g++")];
    let missing = packages
        .iter()
        .filter(|(program, _)| !succeeds(program, &["--version"]));
    let missing: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing).context("the tests of the Kafka sink build librdkafka, which needs make and g++")
}

/// Makes sure that `promtool` is there, which tests the alerts. In Debian it is in the package of the server.
pub(crate) fn promtool() -> Result<()> {
    if succeeds("promtool", &["--version"]) {
        return Ok(());
    }
    install(&["prometheus"]).context("the tests of the alerts need promtool")
}

/// Makes sure that the servers are there that Holdfast is compared with.
pub(crate) fn database_servers() -> Result<()> {
    if !succeeds("sh", &["-c", "ls /usr/lib/postgresql/*/bin/initdb"]) {
        install(&["postgresql"]).context("the comparison needs PostgreSQL")?;
    }
    redis_server()
}

/// Makes sure that `redis-server` and `redis-cli` are there.
pub(crate) fn redis_server() -> Result<()> {
    if succeeds("redis-server", &["--version"]) && succeeds("redis-cli", &["--version"]) {
        return Ok(());
    }
    // The second one brings redis-cli.
    install(&["redis-server", "redis-tools"]).context("the view of the stock needs a Redis server")
}

/// Installs the programs that some faults need, if possible. Without them these faults are left out, and the
/// report says so. Returns whether programs may run in a network of their own, which needs root.
pub(crate) fn faults() -> bool {
    let has_clocks = succeeds("faketime", &["--version"]);
    let has_filter = succeeds("nft", &["--version"]);
    let packages = [("faketime", has_clocks), ("nftables", has_filter)];
    let missing = packages.iter().filter(|(_, is_there)| !is_there);
    let missing: Vec<&str> = missing.map(|(package, _)| *package).collect();
    if !missing.is_empty()
        && let Err(error) = install(&missing)
    {
        steps::say(&format!("going on without {}: {error:#}", missing.join(", ")));
    }
    succeeds("unshare", &["--net", "ip", "link", "set", "lo", "up"])
}

/// Makes sure that the programs are there that make and build images.
pub(crate) fn image_builders() -> Result<()> {
    for program in ["buildah", "debootstrap"] {
        if !succeeds(program, &["--version"]) {
            install(&[program]).with_context(|| format!("the image needs {program}"))?;
        }
    }
    Ok(())
}

/// Returns whether this process may do everything on this machine.
pub(crate) fn is_root() -> bool {
    succeeds("sh", &["-c", "test \"$(id -u)\" = 0"])
}

fn install(packages: &[&str]) -> Result<()> {
    if !succeeds("apt-get", &["--version"]) {
        bail!(
            "please install {} with this system's package manager and run the command again",
            packages.join(", ")
        );
    }
    let prefix: &[&str] = if is_root() { &[] } else { &["sudo"] };
    for arguments in [
        &["update"][..],
        &[&["install", "--yes", "--no-install-recommends"], packages].concat(),
    ] {
        let words = [prefix, &["apt-get"], arguments].concat();
        steps::run(
            Command::new(words[0])
                .args(&words[1..])
                // Standard output is for the results of the task, such as one JSON object.
                .stdout(std::io::stderr())
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )?;
    }
    Ok(())
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
