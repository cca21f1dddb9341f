//! Servers that say no, and what a person is told. No message has a secret.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use holdfast_sinks::redis::{RedisConfig, RedisSink};
use holdfast_sinks::sink::{Sink as _, SinkError};
use holdfast_test_redis::{Cluster, Options, Server};
use uuid::Uuid;

use crate::equal::long_story;
use crate::model;
use crate::view::*;

const PASSWORD: &str = "hush-hush-4711";

/// Checks that an error asks a person to act, in these words, and tells no secret.
fn asks_a_person(error: &SinkError, advice: &str) {
    let text = error.to_string();
    assert!(error.needs_a_person(), "{text}");
    assert!(text.contains(advice), "{text:?} does not say {advice:?}");
    assert!(!format!("{text} {error:?}").contains("hush"), "{text}");
}

async fn open(config: RedisConfig) -> Result<(), SinkError> {
    sink_of(config, 1).open(0).await.map(drop)
}

fn with(settings: &[(&str, &str)]) -> Server {
    let settings = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Server::start_with(Options {
        settings: settings.collect(),
        ..Options::default()
    })
    .unwrap()
}

#[tokio::test]
async fn a_server_without_memory_stops_the_position_and_nothing_is_lost() {
    let server = with(&[("maxmemory-policy", "noeviction")]);
    let changes = long_story(500);
    let sink = sink(&server.url(), "view");
    let mut writer = sink.open(0).await.unwrap();
    writer.write(&changes[..400]).await.unwrap();
    // It has less than it uses already.
    let _: () = server.ask(&["CONFIG", "SET", "maxmemory", "100kb"]).unwrap();
    let error = writer.write(&changes[400..]).await.unwrap_err();
    asks_a_person(&error, "it has no memory left");
    let view = hashes(&server, "view", 1, 0);
    assert_eq!(view, model::hashes(&CLUSTER.to_string(), &changes[..400]));

    let _: () = server.ask(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    deliver(&sink, 0, &changes).await.unwrap();
    let wanted = model::hashes(&CLUSTER.to_string(), &changes);
    assert_eq!(hashes(&server, "view", 1, 0), wanted);
}

#[tokio::test]
async fn a_server_that_forgets_keys_is_refused() {
    let server = with(&[("maxmemory", "100mb"), ("maxmemory-policy", "allkeys-lru")]);
    let error = open(config(&server.url(), "view")).await.unwrap_err();
    asks_a_person(&error, "set maxmemory-policy noeviction");
    // Without a limit it forgets nothing, whatever its policy is.
    let server = with(&[("maxmemory-policy", "allkeys-lru")]);
    open(config(&server.url(), "view")).await.unwrap();
}

#[tokio::test]
async fn a_read_only_replica_is_refused() {
    let primary = Server::start().unwrap();
    let replica = Server::start_with(Options {
        replica_of: Some(primary.port()),
        ..Options::default()
    })
    .unwrap();
    let error = open(config(&replica.url(), "view")).await.unwrap_err();
    asks_a_person(&error, "give the address of the primary");
    // A server that becomes a replica while a writer is open.
    let server = Server::start().unwrap();
    let changes = long_story(2);
    let sink = sink(&server.url(), "view");
    let mut writer = sink.open(0).await.unwrap();
    let _: () = server
        .ask(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()])
        .unwrap();
    let error = writer.write(&changes).await.unwrap_err();
    asks_a_person(&error, "give the address of the primary");
}

#[tokio::test]
async fn a_password_is_asked_for_and_never_told() {
    let server = Server::start_with(Options {
        password: Some(PASSWORD.to_owned()),
        ..Options::default()
    })
    .unwrap();
    let error = open(config(&server.url(), "view")).await.unwrap_err();
    asks_a_person(&error, "give a user and a password that Redis accepts");

    let mut config = config(&server.url(), "view");
    config.password = Some(secret("hush-and-wrong"));
    let error = open(config.clone()).await.unwrap_err();
    asks_a_person(&error, "give a user and a password that Redis accepts");

    config.password = Some(secret(PASSWORD));
    open(config.clone()).await.unwrap();
    config.username = Some("nobody".to_owned());
    let error = open(config.clone()).await.unwrap_err();
    asks_a_person(&error, "give a user and a password that Redis accepts");
    assert!(!format!("{:?}", sink_of(config, 1)).contains("hush"));
}

#[tokio::test]
async fn an_address_with_a_password_is_refused_without_repeating_it() {
    for (url, part) in [
        (
            "redis://:hush-hush@127.0.0.1:1",
            "name a file or an environment variable",
        ),
        (
            "redis://user:hush-hush@127.0.0.1:1/0",
            "name a file or an environment variable",
        ),
        (
            "redis://user:hush-hush@127.0.0.1:port",
            "write redis://host:port/database",
        ),
        (
            "redi://user:hush-hush@127.0.0.1",
            "write redis://host:port/database",
        ),
        ("user:hush-hush@127.0.0.1", "write redis://host:port/database"),
        ("redis://user:hush-hush@ho st", "write redis://host:port/database"),
        ("http://127.0.0.1", "write redis://host:port/database"),
        ("", "write redis://host:port/database"),
    ] {
        let error = RedisSink::new("pages", config(url, "view"), CLUSTER, 1).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("sink pages") && text.contains(part),
            "{url}: {text}"
        );
        assert!(!text.contains("hush"), "{text}");
    }
}

#[tokio::test]
async fn a_prefix_that_would_mean_something_else_is_refused() {
    let long = "x".repeat(65);
    for prefix in ["", "a{b}", "a*", "a b", "ä", long.as_str()] {
        let error = RedisSink::new("pages", config("redis://127.0.0.1", prefix), CLUSTER, 1).unwrap_err();
        assert!(error.to_string().contains("1 to 64 of the characters"), "{error}");
    }
}

#[tokio::test]
async fn a_user_without_rights_is_told_where_the_rights_are_listed() {
    let server = Server::start().unwrap();
    let words = [
        "ACL",
        "SETUSER",
        "reader",
        "on",
        ">hush-hush",
        "~view:*",
        "~{view}:*",
        "+@read",
        "+info",
    ];
    let _: () = server.ask(&words).unwrap();
    let mut config = config(&server.url(), "view");
    config.username = Some("reader".to_owned());
    config.password = Some(secret("hush-hush"));
    let error = open(config).await.unwrap_err();
    asks_a_person(&error, "the rights that docs/redis.md lists");
}

#[tokio::test]
async fn a_key_of_another_program_is_named_and_nothing_is_counted_twice() {
    let prefix = prefix();
    let sink = sink(&shared().url(), &prefix);
    let changes = long_story(300);
    deliver(&sink, 0, &changes[..100]).await.unwrap();
    let key = format!("{prefix}:1:{{0000}}:front:尺寸 42");
    let mine: Vec<(String, String)> = shared().ask(&["HGETALL", &key]).unwrap();
    assert!(!mine.is_empty());
    let _: () = shared().ask(&["SET", &key, "mine"]).unwrap();
    for _ in 0..3 {
        let error = deliver(&sink, 0, &changes).await.unwrap_err();
        asks_a_person(&error, "choose another prefix");
    }
    let _: () = shared().ask(&["DEL", &key]).unwrap();
    for (storefront, may_borrow) in &mine {
        let _: u8 = shared().ask(&["HSET", &key, storefront, may_borrow]).unwrap();
    }
    deliver(&sink, 0, &changes).await.unwrap();
    let wanted = model::hashes(&CLUSTER.to_string(), &changes);
    assert_eq!(hashes(shared(), &prefix, 1, 0), wanted);
}

#[tokio::test]
async fn a_view_of_another_cluster_is_refused() {
    let prefix = prefix();
    let changes = long_story(10);
    deliver(&sink(&shared().url(), &prefix), 0, &changes)
        .await
        .unwrap();
    let before = hashes(shared(), &prefix, 1, 0);
    let other = Uuid::from_u128(7);
    let other = RedisSink::new("pages", config(&shared().url(), &prefix), other, 1).unwrap();
    for error in [
        other.open(0).await.map(drop).unwrap_err(),
        other.position(0).await.unwrap_err(),
    ] {
        assert!(
            matches!(error, SinkError::OtherCluster { target, .. } if target == CLUSTER),
            "{error}"
        );
        assert!(error.needs_a_person());
    }
    // A writer of this cluster, when the view becomes another's in between.
    let sink = sink(&shared().url(), &prefix);
    let mut writer = sink.open(0).await.unwrap();
    let key = format!("{prefix}:1:{{0000}}:shard");
    let _: u8 = shared()
        .ask(&["HSET", &key, "cluster", &Uuid::from_u128(7).to_string()])
        .unwrap();
    asks_a_person(&writer.current(1).await.unwrap_err(), "another cluster");
    let more = long_story(20);
    asks_a_person(&writer.write(&more[20..]).await.unwrap_err(), "another cluster");
    let _: u8 = shared()
        .ask(&["HSET", &key, "cluster", &CLUSTER.to_string()])
        .unwrap();
    assert_eq!(hashes(shared(), &prefix, 1, 0), before);
}

#[tokio::test]
async fn a_cluster_and_a_single_server_are_told_apart() {
    let cluster = Cluster::start().unwrap();
    let changes = long_story(4);
    let mut told = Vec::new();
    // Some of the keys are on the node that is asked, so some shards see no difference.
    for shard in 0..8 {
        let sink = sink_of(config(&cluster.url(), "view"), 8);
        told.extend(deliver(&sink, shard, &changes).await.err());
    }
    assert!(!told.is_empty());
    told.iter()
        .for_each(|error| asks_a_person(error, "set cluster = true"));

    let mut config = config(&shared().url(), "view");
    config.cluster = true;
    asks_a_person(&open(config).await.unwrap_err(), "set cluster = false");
}

#[tokio::test]
async fn a_node_of_a_cluster_that_forgets_keys_is_refused() {
    let cluster = Cluster::start().unwrap();
    for (name, value) in [("maxmemory-policy", "volatile-lru"), ("maxmemory", "100mb")] {
        let _: () = cluster.servers[2].ask(&["CONFIG", "SET", name, value]).unwrap();
    }
    let mut config = config(&cluster.url(), "view");
    config.cluster = true;
    asks_a_person(
        &open(config).await.unwrap_err(),
        "set maxmemory-policy noeviction",
    );
}

#[tokio::test]
async fn what_is_no_redis_is_told_within_a_bound() {
    // Nobody listens.
    let port = holdfast_test_redis::free_port();
    let mut config = config(&format!("redis://127.0.0.1:{port}"), "view");
    config.timeout = Duration::from_millis(500);
    let error = open(config.clone()).await.unwrap_err();
    assert!(matches!(error, SinkError::Unavailable { .. }), "{error}");
    assert!(
        error.to_string().contains(&format!("127.0.0.1:{port}")),
        "{error}"
    );

    // Somebody listens and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    config.url = format!("redis://{}", silent.local_addr().unwrap());
    let error = open(config.clone()).await.unwrap_err();
    assert!(matches!(error, SinkError::Unavailable { .. }), "{error}");

    // A web server listens.
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    config.url = format!("redis://{}", web.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in web.incoming() {
            let mut connection = connection.unwrap();
            let _ = connection.read(&mut [0; 1_024]);
            let _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    asks_a_person(&open(config).await.unwrap_err(), "what listens there is no Redis");
}
