//! Sends a thousand orders over the batch stream: goods arrive, are held, committed and shipped.
//!
//! Start a cluster with `holdfast dev`, then: `cargo run -p holdfast-client --example batch`
#![expect(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::error::Error;

use futures::future::join_all;
use holdfast_client::v1::batch_item::Request;
use holdfast_client::{
    BatchAnswer, BatchOptions, BatchStream, Client, ClientError, ClientOptions, new_operation_id, v1,
};

const DEV: &str = "http://127.0.0.1:7411,http://127.0.0.1:7421,http://127.0.0.1:7431";
const ORDERS: usize = 1000;
const SKUS: usize = 50;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let endpoints = std::env::var("HOLDFAST_ENDPOINTS").unwrap_or_else(|_| DEV.to_owned());
    let client = Client::connect(ClientOptions::new(endpoints.split(','))).await?;
    // The stream packs items into messages, and sends each message to the node that leads its shard. After
    // a failure it sends the unanswered items again, with their own ids, to another node.
    let batch = client.batch(BatchOptions::default());

    let goods = (1..=SKUS).map(|number| {
        Request::Receive(v1::ReceiveRequest {
            operation: operation(),
            sku: format!("EXAMPLE-BATCH-{number}"),
            warehouse: "LDN-1".to_owned(),
            quantity: (ORDERS / SKUS) as i64,
            ..Default::default()
        })
    });
    tell("receive", &run(&batch, goods).await);

    // Items in flight are decided in no certain order, so the holds wait until the goods are there. One order
    // more asks for goods that never arrived. Its refusal does not touch the others.
    let skus = (0..ORDERS).map(|number| format!("EXAMPLE-BATCH-{}", number % SKUS + 1));
    let holds: Vec<v1::ReserveRequest> = skus
        .chain(["EXAMPLE-BATCH-NEVER".to_owned()])
        .map(reserve_request)
        .collect();
    let answers = run(&batch, holds.iter().cloned().map(Request::Reserve)).await;
    tell("reserve", &answers);

    let mut keys = Vec::new();
    for (hold, answer) in holds.iter().zip(&answers) {
        match answer {
            Ok(BatchAnswer::Reserved(granted)) => keys.push(key(hold, granted)),
            Ok(_) => {}
            // The outcome of this one item. The same item again, with `repeats`, tells what became of an
            // `Unknown`.
            Err(error) => println!("  {}: {error}", hold.lines[0].sku),
        }
    }

    let commits = keys.iter().cloned().map(|reservation| {
        Request::Commit(v1::CommitRequest {
            operation: operation(),
            reservation: Some(reservation),
        })
    });
    tell("commit", &run(&batch, commits).await);
    let ships = keys.iter().cloned().map(|reservation| {
        Request::Ship(v1::ShipRequest {
            operation: operation(),
            reservation: Some(reservation),
            lines: Vec::new(),
        })
    });
    tell("ship", &run(&batch, ships).await);
    Ok(())
}

/// Submits all items at once, and returns their answers in the same order.
async fn run(
    batch: &BatchStream,
    items: impl Iterator<Item = Request>,
) -> Vec<Result<BatchAnswer, ClientError>> {
    join_all(items.map(|item| batch.submit(item))).await
}

fn tell(step: &str, answers: &[Result<BatchAnswer, ClientError>]) {
    let done = answers.iter().filter(|answer| answer.is_ok()).count();
    println!("{step}: {done} done, {} not", answers.len() - done);
}

/// Makes an operation with a new id. A shop keeps the id with its order until the answer is there.
fn operation() -> Option<v1::Operation> {
    Some(v1::Operation {
        operation_id: new_operation_id(),
        ..Default::default()
    })
}

fn reserve_request(sku: String) -> v1::ReserveRequest {
    v1::ReserveRequest {
        operation: operation(),
        storefront: "web".to_owned(),
        lines: vec![v1::ReserveLine {
            sku,
            quantity: 1,
            source: None,
        }],
        ttl_ms: 15 * 60 * 1000,
        ..Default::default()
    }
}

/// Makes the key of a granted hold. Its id is the operation id of the Reserve; the answer names the shard.
fn key(hold: &v1::ReserveRequest, granted: &v1::ReserveResponse) -> v1::ReservationKey {
    let receipt = granted.receipt.unwrap_or_default();
    v1::ReservationKey {
        reservation_id: hold.operation.clone().unwrap_or_default().operation_id,
        shard: receipt.position.map(|position| position.shard),
    }
}
