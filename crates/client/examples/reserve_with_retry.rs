//! Reserves a unit for a buyer and commits it. It shows what a retry, an unknown outcome and a refusal are.
//!
//! Start a cluster with `holdfast dev`, then: `cargo run -p holdfast-client --example reserve_with_retry`
#![expect(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::error::Error;

use holdfast_client::{Client, ClientError, ClientOptions, new_operation_id, v1};
use uuid::Uuid;

const DEV: &str = "http://127.0.0.1:7411,http://127.0.0.1:7421,http://127.0.0.1:7431";
const SKU: &str = "EXAMPLE-MUG";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let endpoints = std::env::var("HOLDFAST_ENDPOINTS").unwrap_or_else(|_| DEV.to_owned());
    let client = Client::connect(ClientOptions::new(endpoints.split(','))).await?;

    let delivery = operation("delivery-1");
    let goods = |operation| v1::ReceiveRequest {
        operation,
        sku: SKU.to_owned(),
        warehouse: "LDN-1".to_owned(),
        quantity: 1,
        ..Default::default()
    };
    until_known(&delivery, |operation| client.receive(goods(operation))).await?;
    println!("1 unit of {SKU} arrived in LDN-1");

    // A shop writes both ids into its order before the first call. After a crash it then repeats the calls
    // with these ids, and nothing happens twice.
    let (hold, payment) = (operation("order-1"), operation("order-1"));
    let granted = until_known(&hold, |operation| client.reserve(reserve_request(operation, 1))).await?;
    let reservation_id = Uuid::from_slice(&hold.operation_id)?;
    println!("{reservation_id} is held");

    // The buyer pays here. The answer named the shard, so the next call finds the hold at once.
    let position = granted.receipt.and_then(|receipt| receipt.position);
    let reservation = Some(v1::ReservationKey {
        reservation_id: hold.operation_id.clone(),
        shard: position.map(|position| position.shard),
    });
    let commit = |operation| v1::CommitRequest {
        operation,
        reservation: reservation.clone(),
    };
    let committed = until_known(&payment, |operation| client.commit(commit(operation))).await?;
    println!("{reservation_id} is {}", committed.state().as_str_name());

    // The same request again takes nothing. The answer is that of the first time, and says so.
    let again = until_known(&hold, |operation| client.reserve(reserve_request(operation, 1))).await?;
    let replayed = again.receipt.is_some_and(|receipt| receipt.replayed);
    println!("the same reserve again: replayed={replayed}, nothing was taken");

    let order = operation("order-2");
    let million = until_known(&order, |operation| {
        client.reserve(reserve_request(operation, 1_000_000))
    });
    match million.await {
        // The client has retried every refusal that may pass. This one is final, and had no effect.
        Err(ClientError::Refused(refusal)) => {
            println!("refused: {}", refusal.reason().as_str_name());
            for line in &refusal.shortages {
                let (wanted, there) = (line.requested, line.available);
                println!("  {wanted} of {} wanted, {there} there", line.sku);
            }
        }
        other => println!("a million mugs were there, or the call failed: {other:?}"),
    }
    Ok(())
}

/// Makes an operation with a new id, for one document of the shop.
fn operation(reference: &str) -> v1::Operation {
    v1::Operation {
        operation_id: new_operation_id(),
        reference: reference.to_owned(),
        ..Default::default()
    }
}

fn reserve_request(operation: Option<v1::Operation>, quantity: i64) -> v1::ReserveRequest {
    v1::ReserveRequest {
        operation,
        storefront: "web".to_owned(),
        lines: vec![v1::ReserveLine {
            sku: SKU.to_owned(),
            quantity,
            source: None,
        }],
        ttl_ms: 15 * 60 * 1000,
        ..Default::default()
    }
}

/// Calls until the outcome is known. Every call sends the same operation id.
///
/// The client itself retries within a call, at other nodes too, until the call's deadline. It then says
/// `Unavailable` when the request certainly had no effect, and `Unknown` when it may have had one. A new id
/// would be wrong after `Unknown`: if the first attempt took effect, the units would be taken twice. A shop
/// with no more time tells its buyer to wait, keeps the id, and calls again later.
async fn until_known<T, Call: Future<Output = Result<T, ClientError>>>(
    operation: &v1::Operation,
    call: impl Fn(Option<v1::Operation>) -> Call,
) -> Result<T, ClientError> {
    let mut operation = operation.clone();
    loop {
        match call(Some(operation.clone())).await {
            Err(error) if error.is_unknown() => println!("{error}; asking again with the same id"),
            outcome => return outcome,
        }
        // After an attempt without an answer the request says that it repeats one. A refusal then closes the
        // id, so that no copy of the first attempt takes effect later.
        operation.repeats = true;
    }
}
