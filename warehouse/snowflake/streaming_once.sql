-- Snowflake: the table that `holdfast sinks` streams changes into. Run it once, as the owner of the schema.
-- docs/snowflake.md has roles and grants.
--
-- One row is one change, in the columns of crates/changes/src/parquet/schema.rs. `ingested_at` is the time at
-- which the sink sent the row. All times are UTC. A shard's rows come in the order of `seq`.
create schema if not exists holdfast.raw;

create table if not exists holdfast.raw.changes_streamed (
    shard integer not null,
    seq bigint not null,
    entry_changes integer not null,
    entry_offset integer not null,
    log_index bigint not null,
    log_time timestamp_ntz not null,
    kind varchar not null,
    sku varchar,
    warehouse varchar,
    storefront varchar,
    on_hand_delta bigint not null,
    on_hand_after bigint,
    free_delta bigint not null,
    free_after bigint,
    pool_delta bigint not null,
    pool_after bigint,
    safety_delta bigint not null,
    safety_after bigint,
    held_delta bigint not null,
    held_after bigint,
    committed_delta bigint not null,
    committed_after bigint,
    damaged_delta bigint not null,
    damaged_after bigint,
    quality_hold_delta bigint not null,
    quality_hold_after bigint,
    deficit_delta bigint not null,
    deficit_after bigint,
    reservation_id varchar,
    line integer,
    reservation_state varchar,
    expires_at timestamp_ntz,
    requested bigint,
    quantity bigint,
    policy_may_borrow boolean,
    policy_max_per_reservation bigint,
    operation_id varchar,
    principal varchar,
    reason varchar,
    reference varchar,
    home integer,
    backordered_delta bigint not null,
    backordered_after bigint,
    in_transit_delta bigint not null,
    in_transit_after bigint,
    sourcing varchar,
    policy_backorder_limit bigint,
    policy_preorder_limit bigint,
    policy_preorder_until timestamp_ntz,
    transfer_id varchar,
    transfer_from varchar,
    transfer_to varchar,
    transfer_expected_at timestamp_ntz,
    transfer_quantity bigint,
    transfer_in_transit bigint,
    supply_id varchar,
    supply_quantity bigint,
    supply_expected_at timestamp_ntz,
    occurred_at timestamp_ntz,
    ingested_at timestamp_ntz not null
)
cluster by (to_date(log_time), shard);

-- A row that does not fit lands in the error table, with what was sent and where. The sink stops the shard.
alter table holdfast.raw.changes_streamed set error_logging = true;
