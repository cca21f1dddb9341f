//! Three nodes of the image on loopback, and what a caller does with them.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::container::{self, Container, Image};
use super::store;
use crate::{cluster, steps};

const NODES: [u8; 3] = [1, 2, 3];

/// Ports of a node, as the image's configuration and its `EXPOSE` have them.
const PORTS: [(&str, u16); 4] = [("CLIENT", 7301), ("PEER", 7302), ("HTTP", 7303), ("ADMIN", 7304)];

/// Longest time until all nodes are ready.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest time until a node has ended after SIGTERM: `stop_grace_period` in `cluster/compose.yaml`.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// One node in its container. It is killed when this is dropped.
struct Node {
    number: u8,
    container: Child,
    log: PathBuf,
}

/// Starts three nodes, checks that they run as they should, reserves stock through them and stops them.
pub(super) fn try_out(image: &Image, folder: &Path) -> Result<()> {
    steps::say("starting three nodes of the image");
    store::empty(folder)?;
    let hosts = folder.join("hosts");
    std::fs::write(&hosts, names())?;
    let mut nodes = Vec::new();
    for number in NODES {
        nodes.push(Node::start(image, number, folder, &hosts)?);
    }
    for node in &mut nodes {
        node.wait_until_ready()?;
        container::check_confined(image, node.process()?)
            .with_context(|| format!("node {} is not confined", node.number))?;
    }

    let data = folder.join("client");
    image.make_volume(&data)?;
    let caller = Container {
        image,
        data,
        hosts: &hosts,
    };
    reserve(&caller).with_context(|| ends_of_logs(&nodes))?;
    reach_an_object_store(&caller)?;

    steps::say("stopping the nodes with SIGTERM");
    for node in &mut nodes {
        node.stop()?;
    }
    // A gigabyte, mostly of segments that are made ahead. It stays when something went wrong.
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

/// Takes one reservation through its life, each step through another node.
fn reserve(caller: &Container<'_>) -> Result<()> {
    steps::say("stock is received through node 1 and reserved through node 2; node 3 reads the reservation");
    let stock = [
        "stock",
        "receive",
        "IMAGE-TEST",
        "--warehouse",
        "IMAGE-TEST",
        "--quantity",
        "5",
    ];
    ask(caller, 1, &stock)?;
    let reserved = ask(
        caller,
        2,
        &[
            "reserve",
            "IMAGE-TEST=2",
            "--storefront",
            "image-test",
            "--ttl",
            "15m",
        ],
    )?;
    let reservation = reserved["reservation_id"]
        .as_str()
        .context("a reservation has an id")?;
    let read = ask(caller, 3, &["get", reservation])?;
    ensure!(
        read["reservation"]["state"] == "held",
        "the reservation is not held: {read}"
    );

    steps::say("the script of `helm test` runs in the image");
    let script = std::fs::read_to_string(steps::root().join("helm/holdfast/files/test.sh"))?;
    let mut helm_test = caller.program(&["/bin/sh", "-c", &script]);
    steps::run(
        helm_test
            .env("HOLDFAST_ENDPOINTS", all_endpoints())
            .stdout(std::io::stderr()),
    )?;

    steps::say("verifying the change streams");
    let mut verify = caller.entrypoint(&["verify", "--json"]);
    let report = steps::output(verify.env("HOLDFAST_ENDPOINTS", all_endpoints()))?;
    let report = cluster::last_json_line(&report)?;
    ensure!(report["ok"] == true, "verify found something: {report}");
    Ok(())
}

/// Runs the image's program against one node, and returns its answer.
fn ask(caller: &Container<'_>, node: u8, arguments: &[&str]) -> Result<Value> {
    let mut command = caller.entrypoint(&[arguments, &["--json"]].concat());
    command.env("HOLDFAST_ENDPOINTS", endpoint(node));
    cluster::last_json_line(&steps::output(&mut command)?)
}

/// Checks that a backup gets as far as the connection: it needs the authorities that the image trusts.
fn reach_an_object_store(caller: &Container<'_>) -> Result<()> {
    // Nobody listens on this port, so the connection is refused.
    let list = ["backup", "list", "--from", "s3://image-test/backups"];
    let output = caller
        .entrypoint(&list)
        .env("AWS_ENDPOINT", "https://127.73.0.1:1")
        .env("AWS_ACCESS_KEY_ID", "image-test")
        .env("AWS_SECRET_ACCESS_KEY", "image-test")
        .output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        !output.status.success() && error.contains("Connection refused"),
        "a backup in an object store does not get as far as the connection: {error}"
    );
    Ok(())
}

impl Node {
    /// Starts a node with the configuration of the image. Only the addresses where it listens differ from
    /// `cluster/compose.yaml`, because all three nodes share one network here.
    fn start(image: &Image, number: u8, folder: &Path, hosts: &Path) -> Result<Self> {
        let data = folder.join(format!("node-{number}"));
        image.make_volume(&data)?;
        let log = folder.join(format!("node-{number}.log"));
        let output = File::create(&log)?;
        let mut command = Container { image, data, hosts }.entrypoint(&image.default_arguments());
        command.env("HOLDFAST__NODE__NODE_ID", number.to_string());
        for (name, port) in PORTS {
            command.env(
                format!("HOLDFAST__LISTEN__{name}"),
                format!("{}:{port}", address(number)),
            );
        }
        let container = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("could not start unshare")?;
        Ok(Self {
            number,
            container,
            log,
        })
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let address: SocketAddr = format!("{}:{}", address(self.number), PORTS[2].1).parse()?;
        let ended = poll(START_TIMEOUT, || {
            let ended = self.container.try_wait()?;
            Ok((ended.is_some() || is_ready(address)).then_some(ended))
        })?;
        match ended {
            Some(None) => Ok(()),
            Some(Some(status)) => bail!("node {} ended with {status}:\n{}", self.number, end_of(&self.log)),
            None => bail!(
                "node {} did not become ready:\n{}",
                self.number,
                end_of(&self.log)
            ),
        }
    }

    /// Returns the node's process, as this machine numbers it.
    fn process(&self) -> Result<u32> {
        container::process_in(&self.container)
            .with_context(|| format!("node {} has no process:\n{}", self.number, end_of(&self.log)))
    }

    /// Stops the node as a container engine does. It must end by itself, and without an error.
    fn stop(&mut self) -> Result<()> {
        steps::run(Command::new("kill").args(["-TERM", &self.process()?.to_string()]))?;
        let ended = poll(STOP_TIMEOUT, || Ok(self.container.try_wait()?))?;
        match ended {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!(
                "node {} ended with {status} after SIGTERM:\n{}",
                self.number,
                end_of(&self.log)
            ),
            None => bail!(
                "node {} did not end after SIGTERM:\n{}",
                self.number,
                end_of(&self.log)
            ),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.container.kill();
        let _ = self.container.wait();
    }
}

/// Asks again and again until there is an answer. Returns none when it takes too long.
fn poll<T>(timeout: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    let began = Instant::now();
    while began.elapsed() < timeout {
        if let Some(answer) = ask()? {
            return Ok(Some(answer));
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "a process in a container tells nobody that it is ready or has ended"
        )]
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(None)
}

/// Returns the address of a node. All of 127.0.0.0/8 is loopback, so each node has the image's own ports.
fn address(node: u8) -> String {
    format!("127.73.0.{node}")
}

fn endpoint(node: u8) -> String {
    format!("http://{}:{}", address(node), PORTS[0].1)
}

fn all_endpoints() -> String {
    NODES.map(endpoint).join(",")
}

/// Returns the text of /etc/hosts: the names that the image's configuration has for the nodes.
fn names() -> String {
    let nodes = NODES.map(|node| format!("{} holdfast-{node}\n", address(node)));
    format!("127.0.0.1 localhost\n{}", nodes.concat())
}

/// Asks a node once whether it is ready.
fn is_ready(address: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(
            format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer.starts_with("HTTP/1.1 200 "))
    };
    ask().unwrap_or(false)
}

fn ends_of_logs(nodes: &[Node]) -> String {
    let ends = nodes
        .iter()
        .map(|node| format!("node {}:\n{}\n", node.number, end_of(&node.log)));
    ends.collect()
}

fn end_of(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
