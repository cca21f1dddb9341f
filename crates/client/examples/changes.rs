//! Copies what is on hand into a file, change by change, and never takes a change twice.
//!
//! Start a cluster with `holdfast dev`, then:
//! `cargo run -p holdfast-client --example changes -- FILE [--follow]`
//!
//! The cursor lies in the same file as the data. The file is written anew and put in the place of the old one
//! in one step, so a crash at any moment loses nothing and counts nothing twice.
#![expect(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use futures::stream::{StreamExt as _, select_all};
use holdfast_client::{Client, ClientOptions, id_bytes, v1};
use uuid::Uuid;

const DEV: &str = "http://127.0.0.1:7411,http://127.0.0.1:7421,http://127.0.0.1:7431";

/// The content of the file: the cluster whose changes were taken, the last one of each shard as
/// `cursor SHARD`, and the units of each cell as `on_hand SKU WAREHOUSE`. Tabs separate the words.
#[derive(Default)]
struct Stock {
    cluster: Option<Uuid>,
    numbers: BTreeMap<String, i64>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (flags, files): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|word| word == "--follow");
    let follow = !flags.is_empty();
    let path = Path::new(files.first().ok_or("name the file, such as data/on_hand.tsv")?);
    let mut stock = Stock::read(path)?;

    let endpoints = std::env::var("HOLDFAST_ENDPOINTS").unwrap_or_else(|_| DEV.to_owned());
    let client = Client::connect(ClientOptions::new(endpoints.split(','))).await?;
    let positions = client.get_positions(v1::GetPositionsRequest {}).await?;
    // Each stream goes on at another node by itself, without a gap. Without `follow` it ends after the last
    // change. With the cluster's id, another cluster refuses the call: its numbers mean other changes.
    let mut streams = select_all(positions.shards.iter().map(|&v1::ShardPosition { shard, .. }| {
        let taken = stock.numbers.get(&format!("cursor\t{shard}")).copied();
        let request = v1::TailChangesRequest {
            shard,
            from_seq: taken.unwrap_or(0) as u64 + 1,
            follow,
            cluster_id: stock.cluster.map(id_bytes).unwrap_or_default(),
            ..Default::default()
        };
        client
            .tail_changes_matching(request)
            .map(move |answer| (shard, answer))
            .boxed()
    }));

    while let Some((shard, answer)) = streams.next().await {
        let answer = answer?;
        let (count, through) = (answer.changes.len(), answer.through_seq);
        println!("shard {shard}: {count} changes, through {through}");
        stock.take(shard, answer)?;
        // A real consumer gathers more than one message before it writes.
        stock.write(path)?;
    }
    let on_hand = stock.numbers.iter().filter(|(key, _)| key.starts_with("on_hand"));
    let units: i64 = on_hand.map(|(_, units)| units).sum();
    println!("on hand, all cells together: {units}");
    Ok(())
}

impl Stock {
    /// Takes one message, which has whole entries of one shard.
    fn take(&mut self, shard: u32, answer: v1::TailChangesResponse) -> Result<(), Box<dyn Error>> {
        self.cluster = Some(Uuid::from_slice(&answer.cluster_id)?);
        self.numbers
            .insert(format!("cursor\t{shard}"), answer.through_seq as i64);
        for change in &answer.changes {
            let of_on_hand = |moved: &&v1::BucketMove| moved.bucket() == v1::Bucket::OnHand;
            for moved in change.moves.iter().filter(of_on_hand) {
                let key = format!("on_hand\t{}\t{}", change.sku, change.warehouse);
                let units = self.numbers.entry(key).or_default();
                *units += moved.delta;
                // A change says what the bucket holds afterwards, so a consumer can check its own sum.
                if *units != moved.after {
                    return Err(format!("change {}: {units} units, not {}", change.seq, moved.after).into());
                }
            }
        }
        Ok(())
    }

    fn write(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        let mut text = format!("{}\n", self.cluster.unwrap_or_default());
        for (key, number) in &self.numbers {
            text += &format!("{key}\t{number}\n");
        }
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        Ok(std::fs::rename(new, path)?)
    }

    fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let mut stock = Self::default();
        if !path.exists() {
            return Ok(stock);
        }
        let text = std::fs::read_to_string(path)?;
        let (cluster, lines) = text.split_once('\n').ok_or("the file is empty")?;
        stock.cluster = Some(cluster.parse()?);
        for line in lines.lines() {
            let (key, number) = line.rsplit_once('\t').ok_or("a line without a number")?;
            stock.numbers.insert(key.to_owned(), number.parse()?);
        }
        Ok(stock)
    }
}
