//! The files of a bundle, one function for each.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use holdfast_client::v1;
use holdfast_node::NodeConfig;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::context::Context;

/// Most bytes that are taken of a log, from its end.
pub(super) const LOG_BYTES: u64 = 4 << 20;
/// Most bytes of an HTTP answer.
const ANSWER_BYTES: u64 = 64 << 20;
/// Longest time that the node may take for one answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Most files that are listed.
const FILES: usize = 100_000;

/// Returns the configuration in force, without secrets and without names of people. Keys are in files; only
/// the names of these files are in it.
pub(super) fn configuration(config: &NodeConfig) -> anyhow::Result<String> {
    let mut config = config.clone();
    if let Some(endpoint) = &mut config.telemetry.otlp_endpoint {
        *endpoint = without_credentials(endpoint);
    }
    let admins = &mut config.security.admins;
    *admins = (1..=admins.len())
        .map(|number| format!("admin-{number}"))
        .collect();
    toml::to_string(&config).context("cannot write the configuration")
}

/// Returns a URL without user, password and query.
fn without_credentials(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path = if path.is_empty() {
        String::new()
    } else {
        format!("/{path}")
    };
    match scheme {
        "" => format!("{host}{path}"),
        scheme => format!("{scheme}://{host}{path}"),
    }
}

/// Describes the program, the machine, and the limits that the system sets.
pub(super) fn about(config: &NodeConfig) -> String {
    let mut text = format!(
        "holdfast {}\nnode {}\n",
        env!("CARGO_PKG_VERSION"),
        config.node.node_id
    );
    // Writing to a String cannot fail.
    let mut line = |what: &str, value: String| {
        let _ = writeln!(text, "{what}: {value}");
    };
    let first_line = |path: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().next().unwrap_or_default().to_owned()
    };
    line("kernel", first_line("/proc/version"));
    line("load", first_line("/proc/loadavg"));
    line("memory", first_line("/proc/meminfo"));
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    line("processors", processors.to_string());
    for (what, resource) in [
        ("open files", Resource::RLIMIT_NOFILE),
        ("size of a file", Resource::RLIMIT_FSIZE),
    ] {
        let limit = getrlimit(resource).map_or_else(
            |error| error.to_string(),
            |(soft, hard)| format!("{soft} (at most {hard})"),
        );
        line(&format!("limit of this shell, {what}"), limit);
    }
    let disk = statvfs(&config.node.data_dir).map_or_else(
        |error| error.to_string(),
        |disk| {
            let mib = |blocks: u64| blocks.saturating_mul(disk.fragment_size()) >> 20;
            format!(
                "{} MiB of {} MiB available",
                mib(disk.blocks_available()),
                mib(disk.blocks())
            )
        },
    );
    line("disk of the data folder", disk);
    text
}

/// Lists the files below a folder with their sizes and times, without their content.
pub(super) fn files(folder: &Path) -> io::Result<String> {
    let mut text = String::from("bytes\tbytes on disk\tmodified (s)\tfile\n");
    let mut folders = vec![folder.to_owned()];
    let mut listed = 0;
    while let Some(next) = folders.pop() {
        let mut entries = fs::read_dir(&next)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            // The file may have been removed meanwhile.
            let Ok(about) = fs::symlink_metadata(&path) else {
                continue;
            };
            if about.is_dir() {
                folders.push(path);
                continue;
            }
            listed += 1;
            if listed > FILES {
                text.push_str("... and more\n");
                return Ok(text);
            }
            let modified = about
                .modified()
                .ok()
                .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            let shown = path.strip_prefix(folder).unwrap_or(&path).display();
            let on_disk = std::os::unix::fs::MetadataExt::blocks(&about) * 512;
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{}\t{on_disk}\t{}\t{shown}",
                about.len(),
                modified.unwrap_or_default().as_secs()
            );
        }
    }
    Ok(text)
}

/// Returns the end of a log file, starting at the beginning of a line.
pub(super) fn log_end(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    let skipped = file.metadata()?.len().saturating_sub(LOG_BYTES);
    file.seek(SeekFrom::Start(skipped))?;
    let mut end = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut end)?;
    if skipped > 0
        && let Some(line_end) = end.iter().position(|byte| *byte == b'\n')
    {
        end.drain(..=line_end);
    }
    Ok(end)
}

/// Returns the answer of the node's HTTP port.
pub(super) async fn http(config: &NodeConfig, path: &str) -> anyhow::Result<Vec<u8>> {
    if config.tls.is_set() && config.tls.http {
        bail!("the HTTP port speaks TLS: ask for {path} with curl");
    }
    let asked = async {
        let mut stream = TcpStream::connect(reachable(&config.listen.http)).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES).read_to_end(&mut answer).await?;
        io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(ANSWER_TIME, asked).await;
    Ok(answer.context("no answer in time")??)
}

/// Returns the cluster's topology and the status of each node, as text.
pub(super) async fn status(config: &NodeConfig, context: &Context) -> anyhow::Result<String> {
    let client = context.client_of(&reachable(&config.listen.client))?;
    let topology: v1::GetTopologyResponse = client.refresh_topology().await?;
    let mut text = format!("{topology:#?}\n");
    for node in &topology.nodes {
        let status = client.get_node_status(&client.address_of(node)).await;
        // Writing to a String cannot fail.
        let _ = match status {
            Ok(status) => writeln!(text, "node {}: {status:#?}", node.node_id),
            Err(error) => writeln!(text, "node {}: {error}", node.node_id),
        };
    }
    Ok(text)
}

/// Returns the address at which this machine reaches a listening address.
fn reachable(address: &str) -> String {
    for everywhere in ["0.0.0.0:", "[::]:"] {
        if let Some(port) = address.strip_prefix(everywhere) {
            return format!("127.0.0.1:{port}");
        }
    }
    address.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_in_a_bundle_has_no_passwords_and_no_names_of_people() {
        let mut config = NodeConfig::default();
        config.telemetry.otlp_endpoint = Some("http://ann:pass@collector:4317/v1?token=secret".to_owned());
        config.security.admins = vec!["ann".to_owned(), "bob".to_owned()];
        let text = configuration(&config).unwrap();
        for secret in ["ann", "bob", "pass@", "token", "secret"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        assert!(text.contains("http://collector:4317/v1") && text.contains("admin-2"));
    }

    #[test]
    fn the_end_of_a_log_begins_with_a_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.log");
        let line = format!("{}\n", "x".repeat(99));
        fs::write(&path, line.repeat(usize::try_from(LOG_BYTES).unwrap() / 100 + 10)).unwrap();
        let end = log_end(&path).unwrap();
        assert!(end.len() as u64 <= LOG_BYTES && end.starts_with(line.as_bytes()));
        fs::write(&path, "short").unwrap();
        assert_eq!(log_end(&path).unwrap(), b"short");
    }

    #[test]
    fn an_address_of_all_interfaces_is_reached_at_this_machine() {
        assert_eq!(reachable("0.0.0.0:7303"), "127.0.0.1:7303");
        assert_eq!(reachable("[::]:7303"), "127.0.0.1:7303");
        assert_eq!(reachable("10.0.0.1:7303"), "10.0.0.1:7303");
    }
}
