//! One call at a time: retries with the same operation id, deadlines, and following the leader.

mod fake;

use std::time::Duration;

use fake::{FakeNode, PATIENT, Reply, client, id_of, lead, nobody, reserve, some_id};
use holdfast_client::v1::Reason;
use holdfast_client::{AdminClient, ClientError, ClientOptions, v1};
use tonic::Code;

const HASTY: Duration = Duration::from_millis(500);

#[tokio::test]
async fn a_retry_carries_the_same_operation_id() {
    let node = FakeNode::start().await;
    node.reply([
        Reply::Refuse(Reason::NoLeader),
        Reply::Refuse(Reason::OutcomeUnknown),
        Reply::Refuse(Reason::Overloaded),
        Reply::Refuse(Reason::Deadline),
        Reply::Fail(Code::Unavailable),
    ]);
    let request = reserve();
    client([node.endpoint()], PATIENT)
        .reserve(request.clone())
        .await
        .unwrap();
    assert_eq!(node.seen(), vec![id_of(&request); 6]);
}

#[tokio::test]
async fn a_refusal_that_a_retry_cannot_change_comes_back_at_once() {
    let node = FakeNode::start().await;
    for reason in [
        Reason::InsufficientStock,
        Reason::InvalidRequest,
        Reason::OperationIdReused,
        Reason::Internal,
    ] {
        node.reply([Reply::Refuse(reason)]);
        let error = client([node.endpoint()], PATIENT)
            .reserve(reserve())
            .await
            .unwrap_err();
        assert_eq!(error.reason(), Some(reason));
    }
    node.reply([Reply::Fail(Code::InvalidArgument)]);
    let error = client([node.endpoint()], PATIENT)
        .reserve(reserve())
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ClientError::Unexpected {
                code: Code::InvalidArgument,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(node.seen().len(), 5);
}

#[tokio::test]
async fn a_node_that_hangs_is_left_for_another_with_the_same_id() {
    let (hanging, well) = (FakeNode::start().await, FakeNode::start().await);
    lead(&[&hanging, &well], 1);
    hanging.reply([Reply::Hang]);
    let request = reserve();
    client([hanging.endpoint(), well.endpoint()], PATIENT)
        .reserve(request.clone())
        .await
        .unwrap();
    assert_eq!(hanging.seen(), [id_of(&request)]);
    assert_eq!(well.seen(), [id_of(&request)]);
}

#[tokio::test]
async fn an_answer_that_never_comes_leaves_the_outcome_unknown() {
    let node = FakeNode::start().await;
    node.reply(vec![Reply::Hang; 100]);
    let error = client([node.endpoint()], HASTY)
        .reserve(reserve())
        .await
        .unwrap_err();
    assert!(error.is_unknown(), "{error}");
}

#[tokio::test]
async fn one_unknown_attempt_is_enough_to_make_the_outcome_unknown() {
    let node = FakeNode::start().await;
    node.reply([Reply::Refuse(Reason::OutcomeUnknown)]);
    node.reply(vec![Reply::Refuse(Reason::NoLeader); 10_000]);
    let error = client([node.endpoint()], HASTY)
        .reserve(reserve())
        .await
        .unwrap_err();
    assert!(error.is_unknown(), "{error}");
}

#[tokio::test]
async fn a_refusal_after_an_attempt_without_an_answer_is_no_promise_that_nothing_happens() {
    let node = FakeNode::start().await;
    for without_answer in [
        Reply::Hang,
        Reply::Fail(Code::Unavailable),
        Reply::Refuse(Reason::OutcomeUnknown),
        Reply::Refuse(Reason::Deadline),
    ] {
        node.reply([without_answer.clone(), Reply::Refuse(Reason::InsufficientStock)]);
        let error = client([node.endpoint()], PATIENT)
            .reserve(reserve())
            .await
            .unwrap_err();
        assert!(error.is_unknown(), "{without_answer:?}: {error}");
        node.reply([without_answer.clone(), Reply::Fail(Code::PermissionDenied)]);
        let error = client([node.endpoint()], PATIENT)
            .reserve(reserve())
            .await
            .unwrap_err();
        assert!(error.is_unknown(), "{without_answer:?}: {error}");
    }
}

#[tokio::test]
async fn a_settled_refusal_is_certain_and_only_what_repeats_asks_for_one() {
    let node = FakeNode::start().await;
    node.reply([
        Reply::Refuse(Reason::NoLeader),
        Reply::Hang,
        Reply::Refuse(Reason::NoLeader),
        Reply::Settle(Reason::InsufficientStock),
    ]);
    let error = client([node.endpoint()], PATIENT)
        .reserve(reserve())
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Some(Reason::InsufficientStock), "{error}");
    assert_eq!(node.script.lock().repeats, [false, false, true, true]);
    // The caller itself may have had an attempt without an answer.
    let mut again = reserve();
    again.operation.as_mut().unwrap().repeats = true;
    node.reply([Reply::Refuse(Reason::InsufficientStock)]);
    let error = client([node.endpoint()], PATIENT)
        .reserve(again)
        .await
        .unwrap_err();
    assert!(error.is_unknown(), "{error}");
}

#[tokio::test]
async fn what_nobody_took_had_no_effect_and_says_so() {
    let error = client([nobody().await], HASTY)
        .reserve(reserve())
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn a_wish_to_wait_is_kept_and_one_beyond_the_deadline_ends_the_call() {
    let node = FakeNode::start().await;
    node.reply([Reply::Wait(40), Reply::Wait(3_600_000)]);
    let started = std::time::Instant::now();
    let error = client([node.endpoint()], PATIENT)
        .reserve(reserve())
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Unavailable { .. }), "{error}");
    assert!(started.elapsed() >= Duration::from_millis(40) && started.elapsed() < PATIENT);
    assert_eq!(node.seen().len(), 2);
}

#[tokio::test]
async fn a_read_without_an_answer_is_never_an_unknown_outcome() {
    let node = FakeNode::start().await;
    node.reply(vec![Reply::Hang; 100]);
    let request = v1::GetReservationRequest {
        reservation: Some(v1::ReservationKey {
            reservation_id: some_id(),
            shard: None,
        }),
        consistency: 0,
    };
    let error = client([node.endpoint()], HASTY)
        .get_reservation(request)
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_passed_over() {
    let node = FakeNode::start().await;
    let endpoints = [nobody().await, node.endpoint(), nobody().await];
    let client = client(endpoints, PATIENT);
    for _ in 0..5 {
        client.reserve(reserve()).await.unwrap();
    }
    assert_eq!(node.seen().len(), 5);
}

#[tokio::test]
async fn calls_go_straight_to_the_leader_and_follow_it() {
    let (one, two) = (FakeNode::start().await, FakeNode::start().await);
    lead(&[&one, &two], 2);
    let client = client([one.endpoint()], PATIENT);
    for _ in 0..10 {
        client.reserve(reserve()).await.unwrap();
    }
    assert_eq!((one.seen().len(), two.seen().len()), (0, 10));

    // The leader goes away: from then on node 1 leads, and node 2 says that it does not.
    lead(&[&one, &two], 1);
    two.reply([Reply::Refuse(Reason::NoLeader)]);
    client.reserve(reserve()).await.unwrap();
    client.refresh_topology().await.unwrap();
    let before = two.seen().len();
    for _ in 0..10 {
        client.reserve(reserve()).await.unwrap();
    }
    assert_eq!(two.seen().len(), before);
}

#[tokio::test]
async fn a_leader_that_died_is_passed_over() {
    let (one, two) = (FakeNode::start().await, FakeNode::start().await);
    lead(&[&one, &two], 2);
    let client = client([one.endpoint(), two.endpoint()], PATIENT);
    client.reserve(reserve()).await.unwrap();
    drop(two);
    client.reserve(reserve()).await.unwrap();
    assert_eq!(one.seen().len(), 1);
}

#[tokio::test]
async fn the_client_of_operators_goes_round_its_addresses_and_takes_a_final_refusal() {
    let node = FakeNode::start().await;
    let options = ClientOptions {
        deadline: PATIENT,
        backoff_min: Duration::from_millis(1),
        ..ClientOptions::new([nobody().await, node.endpoint()])
    };
    let admin = AdminClient::new(options).unwrap();
    let request = v1::TransferLeaderRequest {
        shard: 0,
        to_node_id: 2,
    };
    node.reply([Reply::Refuse(Reason::NoLeader), Reply::Fail(Code::Unavailable)]);
    assert_eq!(admin.transfer_leader(request).await.unwrap().leader_node_id, 2);
    node.reply([Reply::Refuse(Reason::PermissionDenied)]);
    let refused = admin.transfer_leader(request).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::PermissionDenied));
}
