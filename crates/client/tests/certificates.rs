//! Tests a client that lives longer than its certificate.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::path::Path;
use std::time::Duration;

use holdfast_api::v1::cluster_server::{Cluster, ClusterServer};
use holdfast_client::{Client, ClientError, ClientOptions, ClientTls, v1};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

const PATIENCE: Duration = Duration::from_secs(60);

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Makes a certificate and its key.
fn certify(authority: &Authority) -> (String, String) {
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn write(folder: &Path, (certificate, key): &(String, String)) {
    std::fs::write(folder.join("client.key"), key).unwrap();
    std::fs::write(folder.join("client.pem"), certificate).unwrap();
}

struct Alone;

#[tonic::async_trait]
impl Cluster for Alone {
    async fn get_topology(
        &self,
        _: Request<v1::GetTopologyRequest>,
    ) -> Result<Response<v1::GetTopologyResponse>, Status> {
        Ok(Response::new(v1::GetTopologyResponse {
            node_id: 7,
            ..Default::default()
        }))
    }
    async fn get_node_status(
        &self,
        _: Request<v1::GetNodeStatusRequest>,
    ) -> Result<Response<v1::GetNodeStatusResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// Starts a node that lets in clients of one CA only. Returns its endpoint.
async fn serve(nodes: &Authority, clients: &Authority) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (certificate, key) = certify(nodes);
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(certificate, key))
        .client_ca_root(Certificate::from_pem(clients.pem()));
    let server = Server::builder()
        .tls_config(tls)
        .unwrap()
        .add_service(ClusterServer::new(Alone))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    format!("https://localhost:{port}")
}

#[tokio::test]
async fn a_client_takes_its_new_certificate_from_its_files() {
    let (nodes, old, new) = (authority("nodes"), authority("old"), authority("new"));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("ca.pem"), nodes.pem()).unwrap();
    write(folder.path(), &certify(&old));
    let tls = ClientTls::read(&path("ca.pem"), &path("client.pem"), &path("client.key")).unwrap();
    let client = |endpoint: String| {
        let options = ClientOptions {
            tls: Some(tls.clone()),
            deadline: Duration::from_millis(500),
            ..ClientOptions::new([endpoint])
        };
        Client::new(options).unwrap()
    };
    let before = client(serve(&nodes, &old).await);
    let after = client(serve(&nodes, &new).await);
    assert_eq!(before.refresh_topology().await.unwrap().node_id, 7);
    let refused = after.refresh_topology().await.unwrap_err();
    // This server closes at once, so the alert with the reason can be lost.
    let is_told = matches!(
        refused,
        ClientError::Untrusted { .. } | ClientError::Unavailable { .. }
    );
    assert!(is_told, "{refused:?}");

    write(folder.path(), &certify(&new));
    let topology = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Ok(topology) = after.refresh_topology().await {
                return topology;
            }
        }
    })
    .await
    .expect("the new certificate is used in time");
    assert_eq!(topology.node_id, 7);
}
