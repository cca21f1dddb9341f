//! Certificates that nodes and clients show, that are refused, and that are replaced.

use std::sync::Arc;

use holdfast_node::doctor::{Area, Severity};
use holdfast_node::{Node, NodeConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::Code;

use super::authority::{Authority, client_tls};
use super::secured::*;
use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_with_mutual_tls_serve_reservations() {
    let secured = Secured::start(3).await;
    let cluster = &secured.cluster;
    cluster.receive(0, "A", 3).await;
    for index in 0..3 {
        let granted = retried(|| {
            let mut client = cluster.reservations(index);
            async move { client.reserve(reserve(&id(), "A", 1)).await }
        })
        .await;
        assert_eq!(granted.unwrap().lines.len(), 1);
    }
    assert_eq!(cluster.cell(1, "A").await.held, 3);
    let metrics = secured.metrics().await;
    let expires = metrics
        .lines()
        .find_map(|line| line.strip_prefix("holdfast_tls_certificate_expires_timestamp_seconds "))
        .unwrap();
    assert!(expires.parse::<i64>().unwrap() > 1_700_000_000);
    // The doctor looks from outside, with the node's own certificate.
    let findings = holdfast_node::doctor::examine(&cluster.config(0)).await;
    let about = |area| findings.iter().filter(move |finding| finding.area == area);
    assert!(
        about(Area::Certificate).all(|finding| finding.severity == Severity::Good),
        "{findings:?}"
    );
    assert_eq!(about(Area::Peers).count(), 4, "{findings:?}");
    assert!(
        about(Area::Peers).all(|finding| finding.severity == Severity::Good),
        "{findings:?}"
    );
    secured.cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_told_over_tls_to_whoever_asks() {
    let secured = Secured::start_with(1, |config, _| config.tls.http = true).await;
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(secured.nodes_ca.pem().as_bytes()).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(secured.cluster.node(0).http_address())
        .await
        .unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap();
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    // The server may close without a farewell.
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    secured.cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_certificate_or_with_a_wrong_or_expired_one_nobody_comes_in_and_it_is_counted_and_audited()
{
    let secured = Secured::start(1).await;
    let strangers = Authority::new("strangers");
    let tester = secured.clients_ca.certify("spiffe://shop/good");
    assert_eq!(secured.ask(secured.showing(&tester)).await.unwrap(), 1);

    let stranger = strangers.certify("spiffe://shop/stranger");
    let expired = secured.clients_ca.certify_expired("spiffe://shop/expired");
    let nameless = secured.clients_ca.certify("mailto:jane@shop.example");
    for (shown, reason, claimed) in [
        (None, "no_certificate", None),
        (Some(&stranger), "unknown_ca", Some("spiffe://shop/stranger")),
        (Some(&expired), "expired", Some("spiffe://shop/expired")),
        (Some(&nameless), "bad_name", None),
    ] {
        shut_out(secured.ask(client_tls(&secured.nodes_ca, shown)).await);
        secured
            .counted(&format!(
                "holdfast_handshakes_refused_total{{port=\"client\",reason=\"{reason}\"}}"
            ))
            .await;
        let mut fields = vec![
            ("event", "handshake_refused"),
            ("reason", reason),
            ("port", "client"),
        ];
        fields.extend(claimed.map(|claimed| ("claimed_principal", claimed)));
        let line = audited(&fields).await;
        assert!(line["peer_address"].as_str().unwrap().starts_with("127.0.0.1:"));
    }
    secured.cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plaintext_gets_no_answer_from_a_port_with_tls() {
    let secured = Secured::start(1).await;
    let node = secured.cluster.node(0);
    for (address, port) in [
        (node.client_address(), "client"),
        (node.peer_address(), "peer"),
        (node.admin_address(), "admin"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        // The other end may reset the connection; what counts is that nothing was served.
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.len() < 32, "{answer:?}");
        secured
            .counted(&format!(
                "holdfast_handshakes_refused_total{{port=\"{port}\",reason=\"not_tls\"}}"
            ))
            .await;
    }
    secured.cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_peer_port_is_for_nodes_whom_the_ca_of_the_nodes_certified() {
    let secured = Secured::start(1).await;
    let peer_port = secured.cluster.node(0).peer_address();
    let client = secured.clients_ca.certify("spiffe://shop/nosy");
    let signed_by_nodes_ca = secured.nodes_ca.certify("spiffe://shop/nosy-too");
    let self_made_node = secured.clients_ca.certify("spiffe://holdfast/node/2");
    for (shown, reason) in [
        (&client, "not_a_node"),
        (&signed_by_nodes_ca, "not_a_node"),
        (&self_made_node, "unknown_ca"),
    ] {
        shut_out(ask_at(peer_port, secured.showing(shown)).await);
        secured
            .counted(&format!(
                "holdfast_handshakes_refused_total{{port=\"peer\",reason=\"{reason}\"}}"
            ))
            .await;
    }
    audited(&[("port", "peer"), ("claimed_principal", "spiffe://shop/nosy")]).await;
    // It is not accepted on the client port either.
    shut_out(secured.ask(secured.showing(&self_made_node)).await);
    let node = secured.nodes_ca.certify_node(2);
    let unimplemented = ask_at(peer_port, secured.showing(&node)).await.unwrap_err();
    assert_eq!(
        unimplemented.code(),
        Code::Unimplemented,
        "no client's method is there"
    );
    secured.cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_replaced_without_a_restart_and_bad_ones_are_not_taken() {
    let secured = Secured::start(1).await;
    let folder = secured.folder.path();
    let (new_nodes, new_clients) = (Authority::new("new nodes"), Authority::new("new clients"));
    let old = secured.showing(&secured.clients_ca.certify("spiffe://shop/old"));
    let new = client_tls(&new_nodes, Some(&new_clients.certify("spiffe://shop/new")));
    shut_out(secured.ask(new.clone()).await);

    // The file has half of a certificate, so the earlier one stays in use.
    let half = &secured.nodes_ca.certify_node(1).certificate[..300];
    std::fs::write(folder.join("node-1.pem"), half).unwrap();
    secured
        .counted("holdfast_security_reloads_total{what=\"certificates\",result=\"bad\"}")
        .await;
    assert_eq!(secured.ask(old.clone()).await.unwrap(), 1);

    std::fs::write(folder.join("nodes.pem"), new_nodes.pem()).unwrap();
    std::fs::write(folder.join("clients.pem"), new_clients.pem()).unwrap();
    write(folder, 1, &new_nodes.certify_node(1));
    secured.cluster.node(0).reload();
    eventually("the new CA's client comes in", || async {
        secured.ask(new.clone()).await.ok()
    })
    .await;
    shut_out(secured.ask(old).await);
    secured
        .counted("holdfast_security_reloads_total{what=\"certificates\",result=\"taken\"}")
        .await;
    secured.cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_the_other_nodes_would_refuse_is_told_at_the_start() {
    let ca = Authority::new("nodes");
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("ca.pem"), ca.pem()).unwrap();
    let mut config = NodeConfig::default();
    config.node.data_dir = path("data");
    for listen in [
        &mut config.listen.client,
        &mut config.listen.peer,
        &mut config.listen.http,
        &mut config.listen.admin,
    ] {
        *listen = "127.0.0.1:0".to_owned();
    }
    config.tls.certificate = Some(path("node-1.pem"));
    config.tls.key = Some(path("node-1.key"));
    config.tls.client_ca = Some(path("ca.pem"));
    let expired = ca.certify_expired("spiffe://holdfast/node/1");
    let another_node = ca.certify_node(2);
    let another_ca = Authority::new("nodes").certify_node(1);
    let mut another_key = ca.certify_node(1);
    another_key.key = ca.certify_node(1).key;
    for (credentials, says) in [
        (expired, "must be in date"),
        (another_node, "spiffe://holdfast/node/1"),
        (another_ca, "signed by the CA in tls.peer_ca"),
        (another_key, "does not fit the key"),
    ] {
        write(folder.path(), 1, &credentials);
        let error = Node::start(config.clone())
            .await
            .err()
            .expect("must be refused")
            .to_string();
        assert!(error.contains(says) && error.contains("node-1.pem"), "{error}");
    }
}
