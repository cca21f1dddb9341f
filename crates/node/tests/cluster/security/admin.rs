//! The callers that may administer, and the port where they may.

use holdfast_api::v1;
use holdfast_api::v1::Reason;
use holdfast_api::v1::admin_client::AdminClient;
use holdfast_node::NodeConfig;
use tonic::transport::ClientTlsConfig;
use tonic::{Code, Status};

use super::authority::client_tls;
use super::secured::*;
use crate::support::*;

const SRE: &str = "spiffe://shop/sre";

fn request() -> v1::TransferLeaderRequest {
    v1::TransferLeaderRequest {
        shard: 0,
        to_node_id: 0,
    }
}

/// Asks the admin port of the first node for a handover.
async fn administer(secured: &Secured, tls: ClientTlsConfig) -> Result<u64, Status> {
    let address = secured.cluster.node(0).admin_address();
    let channel = endpoint(&format!("https://{address}")).tls_config(tls).unwrap();
    let mut admin = AdminClient::new(channel.connect_lazy());
    let asked = admin.transfer_leader(request()).await;
    asked.map(|answer| answer.into_inner().leader_node_id)
}

async fn administer_as(secured: &Secured, name: &str) -> Result<u64, Status> {
    administer(secured, secured.showing(&secured.clients_ca.certify(name))).await
}

/// Checks that the call reached the shard: a single node has no other node to hand over to.
fn let_in(answer: Result<u64, Status>) {
    assert_eq!(reason(&answer.unwrap_err()), Reason::NoLeader);
}

async fn denied(secured: &Secured, name: &str, answer: Result<u64, Status>) -> Status {
    let status = answer.expect_err("must be denied");
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    secured
        .counted("holdfast_denials_total{verb=\"admin\",reason=\"principal\"}")
        .await;
    audited(&[("event", "denied"), ("principal", name), ("verb", "admin")]).await;
    status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_port_for_clients_does_not_know_admin_nor_the_admin_port_the_ledger() {
    let cluster = TestCluster::start_with(1, |config: &mut NodeConfig| {
        assert!(config.security.admins.is_empty(), "on loopback no list is needed");
    })
    .await;
    let admin_at_clients = AdminClient::new(cluster.channel(0))
        .transfer_leader(request())
        .await;
    assert_eq!(admin_at_clients.unwrap_err().code(), Code::Unimplemented);
    let_in(cluster.admin(0).transfer_leader(request()).await.map(|_| 0));

    let channel = cluster.channel_to(cluster.node(0).admin_address());
    let mut stock = v1::stock_client::StockClient::new(channel.clone());
    let ledger_at_admin = stock.list_stock(v1::ListStockRequest::default()).await;
    assert_eq!(ledger_at_admin.unwrap_err().code(), Code::Unimplemented);
    let mut topology = v1::cluster_client::ClusterClient::new(channel);
    let topology_at_admin = topology.get_topology(v1::GetTopologyRequest {}).await;
    assert_eq!(topology_at_admin.unwrap_err().code(), Code::Unimplemented);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_policy_only_those_whom_the_configuration_lists_may_administer() {
    let secured = Secured::start_with(1, |config, _| config.security.admins = vec![SRE.to_owned()]).await;
    let_in(administer_as(&secured, SRE).await);
    audited(&[
        ("event", "administered"),
        ("principal", SRE),
        ("what", "transfer_leader"),
    ])
    .await;
    // The certificate is good for everything else.
    let name = "spiffe://shop/not-listed";
    let certificate = secured.clients_ca.certify(name);
    secured.ask(secured.showing(&certificate)).await.unwrap();
    let status = denied(&secured, name, administer_as(&secured, name).await).await;
    assert!(status.message().contains("security.admins"), "{status:?}");

    // A node's certificate opens the port, but does not make an operator.
    let node = secured.nodes_ca.certify_node(2);
    let answer = administer(&secured, secured.showing(&node)).await;
    denied(&secured, "spiffe://holdfast/node/2", answer).await;
    secured.cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_neither_policy_nor_list_nobody_may_administer() {
    let secured = Secured::start(1).await;
    let name = "spiffe://shop/hopeful";
    denied(&secured, name, administer_as(&secured, name).await).await;
    secured.cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_policy_its_verb_admin_decides() {
    let secured = Secured::start_with(1, |config, folder| {
        let policy = format!(
            "[[rules]]\nprincipals = [\"{SRE}\"]\nverbs = [\"admin\"]\nstorefronts = [\"*\"]\nwarehouses = [\"*\"]\n\n\
             [[rules]]\nprincipals = [\"*\"]\nverbs = [\"reserve\", \"read\"]\nstorefronts = [\"*\"]\nwarehouses = [\"*\"]\n"
        );
        let path = folder.join("policy.toml");
        std::fs::write(&path, policy).unwrap();
        config.security.policy = Some(path);
    })
    .await;
    let_in(administer_as(&secured, SRE).await);
    let denied = administer_as(&secured, "spiffe://shop/reserver")
        .await
        .unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied, "{denied:?}");
    secured
        .counted("holdfast_denials_total{verb=\"admin\",reason=\"verb\"} 1")
        .await;
    audited(&[("principal", "spiffe://shop/reserver"), ("verb", "admin")]).await;
    secured.cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_comes_in_at_the_admin_port_without_a_certificate_of_the_clients_ca() {
    let secured = Secured::start_with(1, |config, _| config.security.admins = vec![SRE.to_owned()]).await;
    let self_made = super::authority::Authority::new("strangers").certify(SRE);
    let by_nodes_ca = secured.nodes_ca.certify(SRE);
    for (shown, why) in [
        (None, "no_certificate"),
        (Some(&self_made), "unknown_ca"),
        (Some(&by_nodes_ca), "unknown_ca"),
    ] {
        shut_out(administer(&secured, client_tls(&secured.nodes_ca, shown)).await);
        secured
            .counted(&format!(
                "holdfast_handshakes_refused_total{{port=\"admin\",reason=\"{why}\"}}"
            ))
            .await;
        audited(&[("event", "handshake_refused"), ("port", "admin"), ("reason", why)]).await;
    }
    secured.cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_certificates_a_handover_is_passed_on_to_the_leaders_node() {
    let secured = Secured::start_with(3, |config, _| config.security.admins = vec![SRE.to_owned()]).await;
    let cluster = &secured.cluster;
    let sre = secured.showing(&secured.clients_ca.certify(SRE));
    for index in 0..3 {
        let leader = eventually("shard 0 has a leader", || async {
            Some(cluster.topology(index).await.shards[0].leader_node_id).filter(|leader| *leader != 0)
        })
        .await;
        let to_node_id = leader % 3 + 1;
        let address = cluster.node(index).admin_address();
        let channel = endpoint(&format!("https://{address}"))
            .tls_config(sre.clone())
            .unwrap();
        let admin = AdminClient::new(channel.connect_lazy());
        let led = retried(|| {
            let mut admin = admin.clone();
            let request = v1::TransferLeaderRequest { shard: 0, to_node_id };
            async move { admin.transfer_leader(request).await }
        })
        .await;
        assert_eq!(led.unwrap().leader_node_id, to_node_id);
    }
    secured.cluster.stop_all().await;
}
