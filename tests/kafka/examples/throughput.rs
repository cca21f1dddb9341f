//! Measures how much processor the Kafka sink needs for 20,000 changes a second, and how long they take. Run
//! it with `cargo run -p holdfast-test-kafka --release --example throughput`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot go on stops"
)]

#[allow(dead_code, unreachable_pub, reason = "the tests need more of it")]
#[path = "../tests/brokers/place.rs"]
mod place;

use std::time::{Duration, Instant};

use holdfast_test_kafka::Shop;
use krafka::testing::FakeBroker;

use place::{CELLS, PARTITIONS, POSITIONS, RESERVATIONS, open, runner};

/// The changes of a second, and the seconds.
const RATE: usize = 20_000;
const SECONDS: usize = 10;
/// The pause after which a batch is taken, as a runner does that waits for its stream.
const TICK: Duration = Duration::from_millis(20);

/// The variable that makes this program a broker: a runner alone is measured.
const BROKER: &str = "HOLDFAST_TEST_KAFKA_BROKER";

fn main() {
    match std::env::var_os(BROKER) {
        Some(_) => serve(),
        None => measure(),
    }
}

/// Serves three brokers with the topics, until the process is killed.
fn serve() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let broker = FakeBroker::start_cluster(3).await.unwrap();
        for topic in [CELLS, RESERVATIONS] {
            broker.create_topic(topic, PARTITIONS);
        }
        broker.create_topic(POSITIONS, 1);
        println!("servers {}", broker.bootstrap_servers());
        std::future::pending::<()>().await;
    });
}

fn processor() -> Duration {
    let stat = procfs::process::Process::myself().unwrap().stat().unwrap();
    let ticks = stat.utime + stat.stime;
    Duration::from_millis(ticks * 1_000 / procfs::ticks_per_second())
}

fn measure() {
    use std::io::BufRead as _;

    let mut broker = std::process::Command::new(std::env::current_exe().unwrap())
        .env(BROKER, "1")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufReader::new(broker.stdout.take().unwrap()).lines();
    let servers = lines
        .map_while(Result::ok)
        .find_map(|line| line.split_once("servers ").map(|(_, servers)| servers.to_owned()))
        .unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut shop = Shop::new(0);
        let changes = shop.changes(RATE * SECONDS);
        let mut writer = open(&runner(&servers), 0).await;
        let mut latencies = Vec::new();
        let began = Instant::now();
        let used = processor();
        let mut written = 0;
        while written < changes.len() {
            let due = (began.elapsed().as_secs_f64() * RATE as f64) as usize;
            let mut end = due.min(changes.len());
            // Whole entries alone.
            while end > written && changes[end - 1].entry_offset + 1 != changes[end - 1].entry_changes {
                end -= 1;
            }
            if end <= written {
                tokio::time::sleep(TICK / 4).await;
                continue;
            }
            // The oldest change of the batch was due at this moment.
            let oldest = Duration::from_secs_f64(written as f64 / RATE as f64);
            writer.write(&changes[written..end]).await.unwrap();
            latencies.push(began.elapsed().saturating_sub(oldest));
            written = end;
        }
        let took = began.elapsed();
        let used = processor() - used;
        latencies.sort();
        let at = |part: f64| latencies[((latencies.len() - 1) as f64 * part) as usize];
        println!(
            "{} changes in {took:.2?} ({:.0}/s), {} transactions; processor {used:.2?} = {:.0} % of a core; from due to \
             committed p50 {:.1?}, p99 {:.1?}",
            changes.len(),
            changes.len() as f64 / took.as_secs_f64(),
            latencies.len(),
            100.0 * used.as_secs_f64() / took.as_secs_f64(),
            at(0.5),
            at(0.99),
        );
    });
    broker.kill().unwrap();
    broker.wait().unwrap();
}
