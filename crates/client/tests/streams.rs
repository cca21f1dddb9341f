//! Tests streams: batches that survive a broken stream, and change streams that go on elsewhere.

mod fake;

use std::collections::BTreeSet;
use std::time::Duration;

use fake::{FakeNode, PATIENT, Reply, client, id_of, lead, receive, reserve};
use futures::future::join_all;
use futures::{FutureExt as _, StreamExt as _};
use holdfast_client::v1::batch_item::Request;
use holdfast_client::v1::{Reason, TailChangesResponse};
use holdfast_client::{BatchAnswer, BatchOptions, ClientError};

fn answer(through_seq: u64) -> TailChangesResponse {
    TailChangesResponse {
        changes: Vec::new(),
        through_seq,
        ..Default::default()
    }
}

#[tokio::test]
async fn every_item_of_a_batch_is_answered_once_and_few_messages_carry_them() {
    let node = FakeNode::start().await;
    lead(&[&node], 1);
    let batch = client([node.endpoint()], PATIENT).batch(BatchOptions {
        max_items: 64,
        ..BatchOptions::default()
    });
    let answers = join_all((0..1000).map(|_| batch.submit(Request::Reserve(reserve())))).await;
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Ok(BatchAnswer::Reserved(_))))
    );
    let distinct: BTreeSet<_> = node.seen().into_iter().collect();
    assert_eq!((node.seen().len(), distinct.len()), (1000, 1000));
    let batches = node.script.lock().batches.clone();
    assert!(
        batches.len() < 200 && batches.iter().all(|items| *items <= 64),
        "{batches:?}"
    );
}

#[tokio::test]
async fn after_a_broken_stream_what_has_no_answer_goes_again_with_its_own_id() {
    let (one, two) = (FakeNode::start().await, FakeNode::start().await);
    lead(&[&one, &two], 1);
    one.reply([Reply::Grant, Reply::Grant, Reply::Break]);
    let batch = client([one.endpoint(), two.endpoint()], PATIENT).batch(BatchOptions::default());
    let requests: Vec<_> = (0..10).map(|_| reserve()).collect();
    let ids: BTreeSet<_> = requests.iter().map(id_of).collect();
    let answers = join_all(
        requests
            .into_iter()
            .map(|request| batch.submit(Request::Reserve(request))),
    )
    .await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    // The stream broke before the message with the two grants was answered, so all ten went again.
    let again: Vec<_> = one.seen().into_iter().skip(3).chain(two.seen()).collect();
    assert_eq!(again.len(), 10);
    assert_eq!(again.into_iter().collect::<BTreeSet<_>>(), ids);
}

#[tokio::test]
async fn an_item_refused_after_a_broken_stream_is_told_as_unknown_unless_it_is_settled() {
    let node = FakeNode::start().await;
    lead(&[&node], 1);
    for (reply, unknown) in [
        (Reply::Refuse(Reason::InsufficientStock), true),
        (Reply::Settle(Reason::InsufficientStock), false),
    ] {
        node.reply([Reply::Break, reply]);
        let batch = client([node.endpoint()], PATIENT).batch(BatchOptions::default());
        let error = batch.submit(Request::Reserve(reserve())).await.unwrap_err();
        assert_eq!(error.is_unknown(), unknown, "{error}");
    }
    assert_eq!(node.script.lock().repeats, [false, true, false, true]);
}

#[tokio::test]
async fn an_item_that_is_refused_for_the_moment_goes_again_and_the_others_do_not() {
    let node = FakeNode::start().await;
    lead(&[&node], 1);
    node.reply([
        Reply::Refuse(Reason::Overloaded),
        Reply::Refuse(Reason::InsufficientStock),
        Reply::Grant,
    ]);
    let batch = client([node.endpoint()], PATIENT).batch(BatchOptions::default());
    let requests: Vec<_> = (0..3).map(|_| reserve()).collect();
    let first = id_of(&requests[0]);
    let answers = join_all(
        requests
            .into_iter()
            .map(|request| batch.submit(Request::Reserve(request))),
    )
    .await;
    assert!(answers[0].is_ok() && answers[2].is_ok());
    assert_eq!(
        answers[1].as_ref().unwrap_err().reason(),
        Some(Reason::InsufficientStock)
    );
    assert_eq!(node.seen().len(), 4);
    assert_eq!(node.seen().iter().filter(|id| **id == first).count(), 2);
}

#[tokio::test]
async fn arrivals_go_to_the_leader_of_their_sku_and_again_with_their_own_ids() {
    let (follower, leader) = (FakeNode::start().await, FakeNode::start().await);
    lead(&[&follower, &leader], 2);
    leader.reply([
        Reply::Refuse(Reason::OutcomeUnknown),
        Reply::Refuse(Reason::OperationIdReused),
        Reply::Wait(1),
    ]);
    let batch = client([follower.endpoint(), leader.endpoint()], PATIENT).batch(BatchOptions::default());
    let arrivals: Vec<_> = (0..4).map(|_| receive()).collect();
    let ids: Vec<_> = arrivals
        .iter()
        .map(|arrival| arrival.operation.clone().unwrap().operation_id)
        .collect();
    let answers = join_all(
        arrivals
            .into_iter()
            .map(|arrival| batch.submit(Request::Receive(arrival))),
    )
    .await;
    for (number, answer) in answers.iter().enumerate() {
        match answer {
            Ok(BatchAnswer::Stocked(_)) => assert_ne!(number, 1),
            answer => assert_eq!(
                (number, answer.as_ref().unwrap_err().reason()),
                (1, Some(Reason::OperationIdReused))
            ),
        }
    }
    let mut seen = leader.seen();
    seen.sort();
    let mut expected: Vec<_> = ids.iter().chain([&ids[0], &ids[2]]).cloned().collect();
    expected.sort();
    assert_eq!(seen, expected);
    assert!(follower.seen().is_empty());
}

#[tokio::test]
async fn an_arrival_without_an_answer_at_its_deadline_is_unknown() {
    let node = FakeNode::start().await;
    lead(&[&node], 1);
    node.reply([Reply::Break]);
    node.reply(vec![Reply::Hang; 100]);
    let batch = client([node.endpoint()], Duration::from_millis(800)).batch(BatchOptions::default());
    let arrival = receive();
    let id = arrival.operation.clone().unwrap().operation_id;
    let error = batch.submit(Request::Receive(arrival)).await.unwrap_err();
    assert!(error.is_unknown(), "{error}");
    let seen = node.seen();
    assert!(seen.len() > 1 && seen.iter().all(|sent| *sent == id), "{seen:?}");
}

#[tokio::test]
async fn an_item_without_an_answer_at_its_deadline_is_unknown() {
    let node = FakeNode::start().await;
    lead(&[&node], 1);
    node.reply(vec![Reply::Hang; 100]);
    let batch = client([node.endpoint()], Duration::from_millis(800)).batch(BatchOptions::default());
    let error = batch.submit(Request::Reserve(reserve())).await.unwrap_err();
    assert!(error.is_unknown(), "{error}");
    // The silent stream is left, and the item is tried again with its id.
    let seen = node.seen();
    assert!(seen.len() > 1 && seen.iter().all(|id| *id == seen[0]), "{seen:?}");
}

#[tokio::test]
async fn an_item_that_nobody_took_had_no_effect() {
    let endpoint = fake::nobody().await;
    let batch = client([endpoint], Duration::from_millis(300)).batch(BatchOptions::default());
    let error = batch.submit(Request::Reserve(reserve())).await.unwrap_err();
    assert!(matches!(error, ClientError::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn submitting_waits_while_too_much_is_unanswered() {
    let node = FakeNode::start().await;
    lead(&[&node], 1);
    node.reply([Reply::Hang, Reply::Hang]);
    let batch = client([node.endpoint()], PATIENT).batch(BatchOptions {
        max_in_flight: 2,
        ..BatchOptions::default()
    });
    let mut hanging = Box::pin(join_all(
        (0..2).map(|_| batch.submit(Request::Reserve(reserve()))),
    ));
    assert!(hanging.as_mut().now_or_never().is_none());
    let mut third = Box::pin(batch.submit(Request::Reserve(reserve())));
    while node.seen().len() < 2 {
        assert!(hanging.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    // The silent stream is left. The two items go again and are granted, and the third one has room.
    let (two, one) = tokio::join!(hanging, third);
    assert!(one.is_ok() && two.iter().all(Result::is_ok));
    assert_eq!(node.seen().len(), 5);
}

#[tokio::test]
async fn a_change_stream_goes_on_after_the_last_change_delivered() {
    let (one, two) = (FakeNode::start().await, FakeNode::start().await);
    for node in [&one, &two] {
        let mut script = node.script.lock();
        script.tails.push_back((vec![answer(3), answer(5)], true));
        script.tails.push_back((vec![answer(6)], true));
    }
    let client = client([one.endpoint(), two.endpoint()], PATIENT);
    let changes = client.tail_changes(0, 1, true).take(3);
    let through: Vec<u64> = changes.map(|answer| answer.unwrap().through_seq).collect().await;
    assert_eq!(through, [3, 5, 3]);
    let from: Vec<u64> = [&one, &two]
        .iter()
        .flat_map(|node| node.script.lock().tailed_from.clone())
        .collect();
    assert_eq!(
        from.iter().copied().collect::<BTreeSet<_>>(),
        BTreeSet::from([1, 6])
    );
}

#[tokio::test]
async fn a_change_stream_that_does_not_follow_ends_at_the_end() {
    let node = FakeNode::start().await;
    node.script.lock().tails.push_back((vec![answer(2)], false));
    let client = client([node.endpoint()], PATIENT);
    let answers: Vec<_> = client.tail_changes(0, 0, false).collect().await;
    assert_eq!(answers.len(), 1);
}

#[tokio::test]
async fn a_change_stream_gives_up_when_nobody_serves_it_until_the_deadline() {
    let node = FakeNode::start().await;
    let client = client([node.endpoint()], Duration::from_millis(200));
    let answers: Vec<_> = client.tail_changes(0, 0, true).collect().await;
    assert!(
        matches!(answers.as_slice(), [Err(ClientError::Unavailable { .. })]),
        "{answers:?}"
    );
}

fn part(offsets: std::ops::Range<u32>, of: u32, through_seq: u64) -> TailChangesResponse {
    let continues = offsets.end < of;
    let change = |entry_offset| holdfast_client::v1::Change {
        seq: 4 + u64::from(entry_offset),
        entry_offset,
        entry_changes: of,
        ..Default::default()
    };
    TailChangesResponse {
        changes: offsets.map(change).collect(),
        through_seq,
        continues,
        ..Default::default()
    }
}

#[tokio::test]
async fn an_entry_in_several_messages_is_delivered_whole_and_never_in_part() {
    let node = FakeNode::start().await;
    {
        let mut script = node.script.lock();
        // The first stream breaks inside the entry.
        let broken = vec![answer(3), part(0..2, 5, 3), part(2..4, 5, 3)];
        script.tails.push_back((broken, true));
        let whole = vec![part(0..2, 5, 3), part(2..4, 5, 3), part(4..5, 5, 8), answer(9)];
        script.tails.push_back((whole, false));
    }
    let client = client([node.endpoint()], PATIENT);
    let answers: Vec<_> = client.tail_changes(0, 1, false).collect().await;
    let answers: Vec<TailChangesResponse> = answers.into_iter().map(Result::unwrap).collect();
    let through: Vec<u64> = answers.iter().map(|answer| answer.through_seq).collect();
    assert_eq!(through, [3, 8, 9]);
    let seqs: Vec<u64> = answers[1].changes.iter().map(|change| change.seq).collect();
    assert_eq!(seqs, [4, 5, 6, 7, 8]);
    assert!(answers.iter().all(|answer| !answer.continues));
    assert_eq!(node.script.lock().tailed_from, [1, 4]);
}
