//! Certificates that their CA revoked, and floods of refusals.

use holdfast_api::v1;
use holdfast_api::v1::Reason;
use holdfast_api::v1::cluster_client::ClusterClient;

use super::authority::Authority;
use super::secured::*;
use crate::support::*;

/// The time when the lists of the tests expire: 2099-01-02.
const NEXT_UPDATE_S: u64 = 4_070_995_200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_revoked_does_not_come_in_and_who_is_in_gets_no_more_answers() {
    let secured = Secured::start_with(1, |config, folder| {
        let path = folder.join("revoked.pem");
        // The list of a CA that nobody here uses.
        std::fs::write(&path, Authority::new("somebody").revoke(&[])).unwrap();
        config.tls.revocation_lists = vec![path];
    })
    .await;
    let lists = secured.folder.path().join("revoked.pem");
    let leaver = secured.clients_ca.certify("spiffe://shop/leaver");
    let stays = secured.clients_ca.certify("spiffe://shop/stays");
    let connected = |shown| {
        let address = secured.cluster.node(0).client_address();
        let channel = endpoint(&format!("https://{address}"));
        let channel = channel.tls_config(secured.showing(shown)).unwrap();
        ClusterClient::new(channel.connect_lazy())
    };
    let (of_leaver, of_stays) = (connected(&leaver), connected(&stays));
    let ask = |client: &ClusterClient<_>| {
        let mut client = client.clone();
        async move { client.get_topology(v1::GetTopologyRequest {}).await }
    };
    ask(&of_leaver).await.unwrap();
    ask(&of_stays).await.unwrap();

    // A list that the CA did not sign is not taken: it would shut everybody out.
    std::fs::write(&lists, Authority::new("clients").revoke(&[&leaver])).unwrap();
    secured
        .counted("holdfast_security_reloads_total{what=\"certificates\",result=\"bad\"} 1")
        .await;
    ask(&of_leaver).await.unwrap();

    let both = secured.clients_ca.revoke(&[&leaver]) + &secured.nodes_ca.revoke(&[]);
    std::fs::write(&lists, both).unwrap();
    secured
        .counted("holdfast_security_reloads_total{what=\"certificates\",result=\"taken\"} 1")
        .await;
    let status = ask(&of_leaver).await.unwrap_err();
    assert_eq!(reason(&status), Reason::Unauthenticated, "{status:?}");
    audited(&[("principal", "spiffe://shop/leaver"), ("reason", "revoked")]).await;
    shut_out(secured.ask(secured.showing(&leaver)).await);
    secured
        .counted("holdfast_handshakes_refused_total{port=\"client\",reason=\"revoked\"} 1")
        .await;
    ask(&of_stays).await.unwrap();
    secured.ask(secured.showing(&stays)).await.unwrap();
    secured
        .counted(&format!(
            "holdfast_tls_revocation_lists_expire_timestamp_seconds {NEXT_UPDATE_S}\n"
        ))
        .await;
    secured.cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_node_is_no_node_any_more_for_itself_and_for_others() {
    let secured = Secured::start_with(1, |config, folder| {
        let path = folder.join("revoked.pem");
        std::fs::write(&path, Authority::new("somebody").revoke(&[])).unwrap();
        config.tls.revocation_lists = vec![path];
    })
    .await;
    let peer_port = secured.cluster.node(0).peer_address();
    let two = secured.nodes_ca.certify_node(2);
    // The caller is let in; the port only does not serve this method.
    let status = ask_at(peer_port, secured.showing(&two)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unimplemented, "{status:?}");
    let lists = secured.folder.path().join("revoked.pem");
    std::fs::write(&lists, secured.nodes_ca.revoke(&[&two])).unwrap();
    secured
        .counted("holdfast_security_reloads_total{what=\"certificates\",result=\"taken\"} 1")
        .await;
    shut_out(ask_at(peer_port, secured.showing(&two)).await);
    secured
        .counted("holdfast_handshakes_refused_total{port=\"peer\",reason=\"revoked\"} 1")
        .await;

    // The node does not take a certificate of its own that other nodes would refuse. It makes the same check
    // of the nodes that it connects to.
    let next = secured.nodes_ca.certify_node(1);
    std::fs::write(&lists, secured.nodes_ca.revoke(&[&two, &next])).unwrap();
    secured
        .counted("holdfast_security_reloads_total{what=\"certificates\",result=\"taken\"} 2")
        .await;
    write(secured.folder.path(), 1, &next);
    secured
        .counted("holdfast_security_reloads_total{what=\"certificates\",result=\"bad\"}")
        .await;
    secured.cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_denials_is_counted_in_full_and_written_in_part() {
    let secured = Secured::start_with(1, |config, folder| {
        let path = folder.join("policy.toml");
        let rule = "[[rules]]\nprincipals = [\"spiffe://shop/tester\"]\nverbs = [\"*\"]\nstorefronts = [\"*\"]\nwarehouses = [\"*\"]\n";
        std::fs::write(&path, rule).unwrap();
        config.security.policy = Some(path);
    })
    .await;
    let name = "spiffe://shop/flood";
    let flood = secured.clients_ca.certify(name);
    let address = secured.cluster.node(0).client_address();
    let channel = endpoint(&format!("https://{address}"));
    let channel = channel
        .tls_config(secured.showing(&flood))
        .unwrap()
        .connect_lazy();
    let mut asked = 0;
    let metrics = loop {
        for _ in 0..100 {
            let mut client = ClusterClient::new(channel.clone());
            client.get_topology(v1::GetTopologyRequest {}).await.unwrap_err();
            asked += 1;
        }
        let metrics = secured.metrics().await;
        if !metrics.contains("holdfast_audit_lines_left_out_total 0") {
            break metrics;
        }
        assert!(asked < 100_000, "no line is ever left out");
    };
    let counted = format!("holdfast_denials_total{{verb=\"read\",reason=\"principal\"}} {asked}\n");
    assert!(metrics.contains(&counted), "{asked}: {metrics}");
    let told = audited_where("lines were left out", |line| {
        line["principal"] == name && line["left_out"].as_u64().is_some_and(|count| count > 0)
    })
    .await;
    assert!(
        ["left_out", "denied"].contains(&told["event"].as_str().unwrap()),
        "{told}"
    );
    secured.cluster.stop_all().await;
}
