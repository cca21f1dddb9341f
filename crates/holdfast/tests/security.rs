//! One node with certificates and an access policy, and the command line against it, as docs/security.md
//! describes it.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};

const PATIENCE: Duration = Duration::from_secs(60);

const POLICY: &str = r#"
[[rules]]
principals = ["spiffe://shop/checkout"]
verbs = ["reserve", "extend", "commit", "release", "read"]
storefronts = ["web"]
warehouses = ["*"]

[[rules]]
principals = ["spiffe://shop/sre"]
verbs = ["*"]
storefronts = ["*"]
warehouses = ["*"]
"#;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Writes a certificate to `file`.pem and its key to `file`.key.
fn certify(folder: &Path, file: &str, authority: &Authority, uri: &str) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    params
        .subject_alt_names
        .push(SanType::URI(uri.try_into().unwrap()));
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    std::fs::write(folder.join(format!("{file}.pem")), certificate.pem()).unwrap();
    std::fs::write(folder.join(format!("{file}.key")), key.serialize_pem()).unwrap();
}

struct Node {
    process: Child,
    folder: tempfile::TempDir,
    port: u16,
    admin_port: u16,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Node {
    fn start(folder: tempfile::TempDir) -> Self {
        let ports = holdfast_test_ports::take(4);
        let config = format!(
            "[node]\nnode_id = 1\ndata_dir = \"data\"\n\
             [listen]\nclient = \"127.0.0.1:{}\"\npeer = \"127.0.0.1:{}\"\nhttp = \"127.0.0.1:{}\"\nadmin = \"127.0.0.1:{}\"\n\
             [tls]\ncertificate = \"node-1.pem\"\nkey = \"node-1.key\"\nclient_ca = \"clients-ca.pem\"\npeer_ca = \"nodes-ca.pem\"\n\
             [security]\npolicy = \"policy.toml\"\nreload_interval = \"1h\"\n\
             [log]\nlevel = \"error\"\n",
            ports[0], ports[1], ports[2], ports[3]
        );
        std::fs::write(folder.path().join("node-1.toml"), config).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(["serve", "--config", "node-1.toml"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self {
            process,
            folder,
            port: ports[0],
            admin_port: ports[3],
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Runs the command line with the certificate `name`.
    fn holdfast(&self, name: &str, line: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(line.split_whitespace())
            .args(["--deadline-ms", "2000"])
            .env("HOLDFAST_ENDPOINTS", format!("https://localhost:{}", self.port))
            .env("HOLDFAST_ADMIN_ADDRESS", format!("localhost:{}", self.admin_port))
            .env("HOLDFAST_TLS_CA", "nodes-ca.pem")
            .env("HOLDFAST_TLS_CERT", format!("{name}.pem"))
            .env("HOLDFAST_TLS_KEY", format!("{name}.key"))
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    fn eventually(&self, name: &str, line: &str) {
        let began = Instant::now();
        loop {
            let output = self.holdfast(name, line);
            if output.status.success() {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{line}: {output:?}\n{}", self.log());
        }
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_command_line_works_with_certificates_and_is_told_what_its_policy_denies() {
    let folder = tempfile::tempdir().unwrap();
    let (nodes, clients) = (authority("nodes"), authority("clients"));
    let path = |file: &str| folder.path().join(file);
    std::fs::write(path("nodes-ca.pem"), nodes.pem()).unwrap();
    std::fs::write(path("clients-ca.pem"), clients.pem()).unwrap();
    std::fs::write(path("policy.toml"), POLICY).unwrap();
    certify(folder.path(), "node-1", &nodes, "spiffe://holdfast/node/1");
    certify(folder.path(), "checkout", &clients, "spiffe://shop/checkout");
    certify(folder.path(), "sre", &clients, "spiffe://shop/sre");
    let node = Node::start(folder);

    node.eventually("sre", "stock receive SHIRT-1 --warehouse LONDON --quantity 100");
    let granted = node.holdfast("checkout", "reserve SHIRT-1=2 --storefront web");
    assert!(granted.status.success(), "{granted:?}");
    let denied = node.holdfast("checkout", "reserve SHIRT-1=2 --storefront outlet");
    assert_eq!(denied.status.code(), Some(1));
    assert!(stderr(&denied).contains("permission_denied"), "{denied:?}");
    let status = node.holdfast("sre", "cluster status --json");
    assert!(
        String::from_utf8_lossy(&status.stdout).contains("wall_clock_ms"),
        "{status:?}"
    );

    let no_operator = node.holdfast("checkout", "cluster transfer-leader 0");
    assert!(
        stderr(&no_operator).contains("permission_denied"),
        "{no_operator:?}"
    );
    let operator = node.holdfast("sre", "cluster transfer-leader 0");
    assert!(stderr(&operator).contains("no other replica"), "{operator:?}");

    // The refusals are logged, although the log level is `error`.
    let log = node.log();
    let audit = log
        .lines()
        .find(|line| line.contains("\"target\":\"audit\"") && line.contains("\"verb\":\"reserve\""))
        .unwrap_or_default();
    for part in [
        "\"event\":\"denied\"",
        "spiffe://shop/checkout",
        "\"storefront\":\"outlet\"",
    ] {
        assert!(audit.contains(part), "`{part}` is missing in: {log}");
    }
    assert!(!log.contains("PRIVATE KEY"));

    // Two of the three options are a mistake, and so is plaintext with certificates.
    let half = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(["cluster", "status", "--tls-ca", "nodes-ca.pem"])
        .output()
        .unwrap();
    assert_eq!(half.status.code(), Some(2));
    assert!(stderr(&half).contains("--tls-key"), "{half:?}");
    let plain = node.holdfast("sre", "cluster status --endpoints http://localhost:1");
    assert_eq!(plain.status.code(), Some(2));
    assert!(stderr(&plain).contains("https"), "{plain:?}");

    // The clients get another CA, and the node gets only a SIGHUP.
    let others = authority("other clients");
    certify(node.folder.path(), "new-sre", &others, "spiffe://shop/sre");
    std::fs::write(node.folder.path().join("clients-ca.pem"), others.pem()).unwrap();
    assert!(!node.holdfast("new-sre", "cluster status").status.success());
    kill(Pid::from_raw(node.process.id().cast_signed()), Signal::SIGHUP).unwrap();
    node.eventually("new-sre", "cluster status");
    assert!(!node.holdfast("sre", "cluster status").status.success());
}

#[test]
fn a_refused_certificate_is_told_at_once_and_had_no_effect() {
    let folder = tempfile::tempdir().unwrap();
    let (nodes, clients, strangers) = (authority("nodes"), authority("clients"), authority("strangers"));
    let path = |file: &str| folder.path().join(file);
    std::fs::write(path("nodes-ca.pem"), nodes.pem()).unwrap();
    std::fs::write(path("clients-ca.pem"), clients.pem()).unwrap();
    std::fs::write(path("policy.toml"), POLICY).unwrap();
    certify(folder.path(), "node-1", &nodes, "spiffe://holdfast/node/1");
    certify(folder.path(), "sre", &clients, "spiffe://shop/sre");
    certify(folder.path(), "stranger", &strangers, "spiffe://shop/stranger");
    let node = Node::start(folder);
    let receive = "stock receive SHIRT-1 --warehouse LONDON --quantity 100";
    node.eventually("sre", receive);

    for _ in 0..10 {
        let before = node.log().matches("handshake_refused").count();
        let refused = node.holdfast("stranger", receive);
        let told = stderr(&refused);
        assert_eq!(refused.status.code(), Some(1), "{told}");
        assert!(
            told.contains("refused because of its certificates, so the request had no effect"),
            "{told}"
        );
        assert!(told.contains("--tls-cert") && !told.contains("unknown"), "{told}");
        // One handshake is for the topology and one for the call. The line is logged before the client gets
        // the refusal.
        let handshakes = node.log().matches("handshake_refused").count() - before;
        assert_eq!(handshakes, 2, "{}", node.log());
    }
    // The other way round: this client does not trust the node.
    std::fs::write(node.folder.path().join("nodes-ca.pem"), strangers.pem()).unwrap();
    let told = stderr(&node.holdfast("sre", receive));
    assert!(told.contains("does not accept the node's certificate"), "{told}");
}
