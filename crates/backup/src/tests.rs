use std::sync::Arc;

use holdfast_ledger::{
    Action, Command, Decision, Details, Entry, Ledger, LedgerOptions, OperationId, OrderLine, OrderPart,
    OrderStep, OrderTerms, Principal, ReserveLine, ReserveMode, Sku, Source, Sourcing, StorefrontId,
    WarehouseId,
};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use uuid::Uuid;

use crate::manifest::FORMAT_VERSION;
use crate::{BackupError, Backups, Digest, Listed, Manifest, SavedOptions, ShardManifest, verify};

const TIME_MS: u64 = 1_700_000_000_000;

fn id(number: u8) -> OperationId {
    let bytes = Uuid::from_fields(
        (TIME_MS >> 16) as u32,
        TIME_MS as u16,
        0x7000,
        &[0x80, 0, 0, 0, 0, 0, 0, number],
    );
    OperationId::from_slice(bytes.as_bytes()).unwrap()
}

fn command(number: u8, action: Action) -> Command {
    Command {
        operation_id: id(number),
        principal: Principal::new("test").unwrap(),
        reference: Default::default(),
        reason: Default::default(),
        details: Details::default(),
        action,
    }
}

fn sku() -> Sku {
    Sku::new("tea").unwrap()
}

/// A shard with stock, whose log has reached `log_index`.
struct Shard {
    ledger: Ledger,
    log_index: u64,
}

impl Shard {
    fn new(first: u8) -> Self {
        let mut shard = Self {
            ledger: Ledger::new(LedgerOptions::default()),
            log_index: 10,
        };
        let action = Action::Receive {
            sku: sku(),
            warehouse: WarehouseId::new("north").unwrap(),
            quantity: 9,
            supply_id: None,
        };
        shard.apply(command(first, action));
        shard
    }

    fn apply(&mut self, command: Command) {
        self.log_index += 1;
        let entry = Entry {
            log_time_ms: TIME_MS,
            commands: vec![command],
        };
        let applied = self.ledger.apply(self.log_index, &entry).unwrap();
        assert!(applied.outcomes[0].is_ok(), "{:?}", applied.outcomes);
    }
}

fn terms() -> OrderTerms {
    OrderTerms {
        storefront: StorefrontId::new("web").unwrap(),
        ttl_ms: 60_000,
        mode: ReserveMode::AllOrNothing,
        sourcing: Sourcing::AsGiven,
        fingerprint: 5,
    }
}

fn part(number: u32) -> OrderPart {
    let line = ReserveLine {
        sku: sku(),
        quantity: 1,
        source: Source::Any,
    };
    OrderPart {
        lines: vec![OrderLine { number, line }],
    }
}

const ORDER: u8 = 99;

fn step(step: OrderStep) -> Command {
    command(ORDER, Action::Order(step))
}

/// Makes a home that has decided to hold an order, and its participant before and after preparing its part.
fn an_order() -> (Shard, Shard, Shard) {
    let (mut home, before) = (Shard::new(1), Shard::new(2));
    home.apply(step(OrderStep::Begin {
        attempt: 1,
        home: 0,
        participants: vec![0, 1],
        part: Some(part(0)),
        terms: terms(),
    }));
    let home_incarnation = home.log_index;
    let mut after = Shard {
        ledger: before.ledger.clone(),
        log_index: before.log_index,
    };
    after.apply(step(OrderStep::Prepare {
        attempt: 1,
        home: 0,
        part: part(1),
        terms: terms(),
    }));
    home.apply(step(OrderStep::Decide {
        attempt: 1,
        decision: Decision::Hold {
            incarnations: [(0, home_incarnation), (1, after.log_index)].into(),
        },
    }));
    (home, before, after)
}

fn manifest(name: &str, shards: &[&Shard]) -> Manifest {
    let shard = |(number, shard): (u32, &&Shard)| ShardManifest {
        shard: number,
        file: Manifest::file_of(number),
        bytes: shard.ledger.encode().len() as u64,
        state_digest: Digest(shard.ledger.digest()),
        term: 2,
        log_index: shard.log_index,
        log_time_ms: TIME_MS,
        last_seq: shard.ledger.last_seq(),
    };
    Manifest {
        format_version: FORMAT_VERSION,
        backup_id: Uuid::from_u128(7),
        name: name.to_owned(),
        created_at: "2026-11-21T09:30:00Z".to_owned(),
        cluster_id: Uuid::from_u128(1),
        node_versions: vec!["0.1.0".to_owned()],
        shard_count: shards.len() as u32,
        ledger: SavedOptions::of(&LedgerOptions::default()),
        frozen_us: 900,
        shards: (0..).zip(shards).map(shard).collect(),
    }
}

struct Written {
    store: Arc<InMemory>,
    place: Backups,
}

async fn write(name: &str, shards: &[&Shard]) -> Written {
    let store = Arc::new(InMemory::new());
    let place = Backups::new(
        Arc::clone(&store) as Arc<dyn ObjectStore>,
        Path::from("some/prefix"),
    );
    for (number, shard) in (0..).zip(shards) {
        let path = place.path(name, &Manifest::file_of(number));
        store.put(&path, shard.ledger.encode().into()).await.unwrap();
    }
    place.finish(&manifest(name, shards)).await.unwrap();
    Written { store, place }
}

#[tokio::test]
async fn a_backup_is_found_by_its_name_and_verified() {
    let (home, _, participant) = an_order();
    let Written { place, .. } = write("nightly", &[&home, &participant]).await;
    let backup = place.backup("nightly").await.unwrap();
    assert_eq!(*backup.manifest(), manifest("nightly", &[&home, &participant]));
    let verified = verify(&backup).await.unwrap();
    let seen: Vec<_> = verified
        .iter()
        .map(|shard| {
            (
                shard.cells,
                shard.live_reservations,
                shard.prepared_reservations,
                shard.unsettled_orders,
            )
        })
        .collect();
    // Each has one cell. The home holds its unit and still has to tell the participant, whose unit is
    // prepared.
    assert_eq!(seen[0].0, 1);
    assert_eq!(seen[0].3, 1);
    assert_eq!((seen[1].0, seen[1].2), (1, 1));
    let (_, ledger) = backup.ledger(&backup.manifest().shards[1]).await.unwrap();
    assert_eq!(ledger.digest(), participant.ledger.digest());
    assert!(matches!(
        place.backup("weekly").await,
        Err(BackupError::NotFound { .. })
    ));
}

#[tokio::test]
async fn of_backups_that_begin_under_one_name_one_goes_on() {
    let place = Backups::new(Arc::new(InMemory::new()), Path::from("lake"));
    let claims = (0..3).map(|number| place.claim("nightly", Uuid::from_u128(number)));
    let claimed = futures::future::join_all(claims).await;
    assert_eq!(claimed.iter().filter(|claim| claim.is_ok()).count(), 1);
    for claim in claimed.iter().filter_map(|claim| claim.as_ref().err()) {
        assert!(
            matches!(claim, BackupError::Exists { name } if name == "nightly"),
            "{claim}"
        );
    }
    assert!(matches!(&place.list().await.unwrap()[..], [Listed::Unfinished { name }] if name == "nightly"));
    place.claim("weekly", Uuid::from_u128(1)).await.unwrap();
}

#[tokio::test]
async fn ledgers_of_different_moments_are_refused_where_an_order_shows_it() {
    let (home, before, _) = an_order();
    let Written { place, .. } = write("torn", &[&home, &before]).await;
    let error = verify(&place.backup("torn").await.unwrap()).await.unwrap_err();
    assert!(matches!(error, BackupError::Torn { .. }), "{error}");
    assert!(error.to_string().contains("shard 1 does not have"), "{error}");
}

#[tokio::test]
async fn any_changed_byte_of_any_file_is_found() {
    let (home, _, participant) = an_order();
    let Written { store, place } = write("nightly", &[&home, &participant]).await;
    for file in ["0000.ledger", "0001.ledger", "manifest.json"] {
        let path = place.path("nightly", file);
        let good = store.get(&path).await.unwrap().bytes().await.unwrap();
        let is_text = file == "manifest.json";
        for at in 0..good.len() {
            let mut bad = good.to_vec();
            // White space between the parts of JSON means nothing.
            if is_text && bad[at].is_ascii_whitespace() {
                continue;
            }
            bad[at] ^= 0x01;
            store.put(&path, bad.into()).await.unwrap();
            let verified = match place.backup("nightly").await {
                Ok(backup) => verify(&backup).await.map(|_| ()),
                Err(error) => Err(error),
            };
            assert!(
                matches!(
                    verified,
                    Err(BackupError::Damaged { .. } | BackupError::UnknownVersion { .. })
                ),
                "{file}, byte {at}: {verified:?}"
            );
        }
        store
            .put(&path, good.slice(..good.len() / 2).into())
            .await
            .unwrap();
        let verified = match place.backup("nightly").await {
            Ok(backup) => verify(&backup).await.map(|_| ()),
            Err(error) => Err(error),
        };
        assert!(
            matches!(verified, Err(BackupError::Damaged { .. })),
            "{verified:?}"
        );
        store.put(&path, good.into()).await.unwrap();
    }
    verify(&place.backup("nightly").await.unwrap()).await.unwrap();
    store.delete(&place.path("nightly", "0001.ledger")).await.unwrap();
    let error = verify(&place.backup("nightly").await.unwrap()).await.unwrap_err();
    assert!(matches!(error, BackupError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn what_the_manifest_says_is_compared_with_the_ledgers() {
    let (home, _, participant) = an_order();
    let changes: [fn(&mut Manifest); 5] = [
        |manifest| manifest.shards[1].last_seq += 1,
        |manifest| manifest.shards[0].log_time_ms -= 1,
        |manifest| manifest.shards[0].log_index = 3,
        |manifest| manifest.ledger.order_decision_ms += 1,
        |manifest| manifest.shards.swap(0, 1),
    ];
    for (number, change) in changes.iter().enumerate() {
        let Written { store, place } = write("nightly", &[&home, &participant]).await;
        let mut manifest = manifest("nightly", &[&home, &participant]);
        change(&mut manifest);
        let path = place.path("nightly", "manifest.json");
        store.put(&path, manifest.encode().unwrap().into()).await.unwrap();
        let verified = match place.backup("nightly").await {
            Ok(backup) => verify(&backup).await.map(|_| ()),
            Err(error) => Err(error),
        };
        assert!(
            matches!(verified, Err(BackupError::Damaged { .. })),
            "change {number}: {verified:?}"
        );
    }
}

#[tokio::test]
async fn an_unfinished_backup_is_listed_as_such_and_never_opened() {
    let (home, _, participant) = an_order();
    let Written { store, place } = write("nightly", &[&home, &participant]).await;
    let path = place.path("broken-off", "0000.ledger");
    store.put(&path, home.ledger.encode().into()).await.unwrap();
    store
        .put(&place.path("spoilt", "manifest.json"), "{}".into())
        .await
        .unwrap();
    let error = place.backup("broken-off").await.unwrap_err();
    assert!(matches!(error, BackupError::Unfinished { .. }), "{error}");
    let listed = place.list().await.unwrap();
    assert!(
        matches!(&listed[0], Listed::Unfinished { name } if name == "broken-off"),
        "{listed:?}"
    );
    assert!(
        matches!(&listed[1], Listed::Whole(manifest) if manifest.name == "nightly"),
        "{listed:?}"
    );
    assert!(
        matches!(&listed[2], Listed::Unusable { name, .. } if name == "spoilt"),
        "{listed:?}"
    );
    assert_eq!(listed.len(), 3);
    let mut other = manifest("nightly", &[&home, &participant]);
    other.frozen_us += 1;
    let error = place.finish(&other).await.unwrap_err();
    assert!(matches!(error, BackupError::Exists { .. }), "{error}");
}

#[tokio::test]
async fn a_name_that_is_no_folder_is_refused() {
    let Written { place, .. } = write("nightly", &[]).await;
    for bad in ["", "..", ".hidden", "a/b", "a b", &"x".repeat(65)] {
        let error = place.backup(bad).await.unwrap_err();
        assert!(matches!(error, BackupError::Name { .. }), "{bad}: {error}");
    }
}
