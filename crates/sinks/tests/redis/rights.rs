//! Rights of users in Redis: the commands of `docs/redis.md` are run as they stand there.

use holdfast_sinks::sink::Sink as _;
use holdfast_test_redis::{Cluster, Server};

use crate::equal::long_story;
use crate::model;
use crate::view::*;

/// Returns the words of the page's command that makes a user.
fn rights(user: &str) -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/redis.md");
    let page = std::fs::read_to_string(page).unwrap();
    let begin = format!("ACL SETUSER {user} ");
    let line = page.lines().find(|line| line.starts_with(&begin));
    let line = line.unwrap_or_else(|| panic!("docs/redis.md has no line {begin}"));
    line.split_whitespace()
        .map(|word| word.replace("PASSWORD", "hush-hush"))
        .collect()
}

fn make_user(server: &Server, user: &str) {
    let words = rights(user);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let _: () = server.ask(&words).unwrap();
}

#[tokio::test]
async fn the_rights_of_a_sink_are_enough() {
    let server = Server::start().unwrap();
    make_user(&server, "holdfast-sink");
    let mut config = config(&server.url(), "holdfast");
    config.username = Some("holdfast-sink".to_owned());
    config.password = Some(secret("hush-hush"));
    let sink = sink_of(config, 1);
    let changes = long_story(200);
    deliver(&sink, 0, &changes).await.unwrap();
    assert_eq!(sink.position(0).await.unwrap().through_seq, changes.len() as u64);
    let mut writer = sink.open(0).await.unwrap();
    make_live(&server, "holdfast", &mut *writer).await;
    let wanted = model::hashes(&CLUSTER.to_string(), &changes);
    assert_eq!(hashes(&server, "holdfast", 1, 0), wanted);
    // It has a way back from a batch that fails in the middle.
    let mut more = long_story(201);
    more[400].moves[0].after = i64::MAX;
    more[400].moves[1].delta = i64::MAX;
    let error = deliver(&sink, 0, &more).await.unwrap_err().to_string();
    assert!(error.contains("64 bits"), "{error}");
    assert_eq!(
        hashes(&server, "holdfast", 1, 0)["sku:SHIRT-1"],
        wanted["sku:SHIRT-1"]
    );
}

#[tokio::test]
async fn the_rights_of_a_sink_are_enough_on_a_cluster() {
    let cluster = Cluster::start().unwrap();
    cluster
        .servers
        .iter()
        .for_each(|server| make_user(server, "holdfast-sink"));
    let mut config = config(&cluster.url(), "holdfast");
    config.cluster = true;
    config.username = Some("holdfast-sink".to_owned());
    config.password = Some(secret("hush-hush"));
    let sink = sink_of(config, 4);
    for shard in 0..4 {
        deliver(&sink, shard, &long_story(20)).await.unwrap();
        let mut writer = sink.open(shard).await.unwrap();
        writer.current(5).await.unwrap();
    }
    let live = cluster
        .servers
        .iter()
        .filter_map(|server| server.ask::<u32>(&["EXISTS", "{holdfast}:live"]).ok());
    assert_eq!(live.sum::<u32>(), 1);
}

#[tokio::test]
async fn the_rights_of_a_reader_are_enough_and_no_more() {
    let server = Server::start().unwrap();
    make_user(&server, "holdfast-reader");
    let sink = sink(&server.url(), "holdfast");
    let changes = long_story(20);
    deliver(&sink, 0, &changes).await.unwrap();
    let mut writer = sink.open(0).await.unwrap();
    make_live(&server, "holdfast", &mut *writer).await;

    let url = server
        .url()
        .replace("redis://", "redis://holdfast-reader:hush-hush@");
    let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
    let mut ask = |words: &[&str]| {
        redis::cmd(words[0])
            .arg(&words[1..])
            .query::<redis::Value>(&mut connection)
    };
    for words in [
        &["HGETALL", "{holdfast}:live"][..],
        &["HMGET", "holdfast:1:{0000}:sku:SHIRT-1", "web", "*"],
        &["HGETALL", "holdfast:1:{0000}:cell:LDN-1|SHIRT-1"],
        &["HMGET", "holdfast:1:{0000}:shard", "current_at_ms"],
        &["MULTI"],
        &["EXEC"],
    ] {
        assert!(ask(words).is_ok(), "{words:?}");
    }
    for words in [
        &["HSET", "holdfast:1:{0000}:sku:SHIRT-1", "*", "9"][..],
        &["DEL", "{holdfast}:live"],
        &["GET", "other"],
        &["KEYS", "*"],
        &["FLUSHALL"],
    ] {
        let error = ask(words).unwrap_err().to_string();
        assert!(
            error.contains("NOPERM") || error.contains("NoPerm") || error.contains("permission"),
            "{error}"
        );
    }
}
