-- Snowflake: the landing tables of the archive and of the ledger's stock, and how files get into them. An
-- administrator runs this once, with the names of the storage integration and of the bucket filled in. dbt
-- reads these tables as its sources. crates/changes/src/parquet/schema.rs describes their columns. Times are
-- UTC.
create database if not exists holdfast;
create schema if not exists holdfast.raw;

create table if not exists holdfast.raw.ledger_changes (
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
    occurred_at timestamp_ntz
);

-- For a table that is older than orders over several shards.
alter table holdfast.raw.ledger_changes add column if not exists home integer;

-- For a table that is older than business time. A file without the column lands as null, which means that log
-- time counts.
alter table holdfast.raw.ledger_changes add column if not exists occurred_at timestamp_ntz;

create table if not exists holdfast.raw.ledger_stock (
    shard integer not null,
    change_seq bigint not null,
    sku varchar not null,
    warehouse varchar not null,
    on_hand bigint not null,
    free bigint not null,
    pool bigint not null,
    safety bigint not null,
    held bigint not null,
    committed bigint not null,
    damaged bigint not null,
    quality_hold bigint not null,
    deficit bigint not null,
    backordered bigint not null,
    in_transit bigint not null
);

create file format if not exists holdfast.raw.parquet_files type = parquet;

create file format if not exists holdfast.raw.csv_files type = csv skip_header = 1;

create stage if not exists holdfast.raw.archive
    url = 's3://my-bucket/holdfast/'
    storage_integration = my_integration
    file_format = holdfast.raw.parquet_files;

-- Snowpipe loads each new file. Loading a file twice does no harm, because stg_changes takes each change
-- once.
create pipe if not exists holdfast.raw.changes_pipe auto_ingest = true as
copy into holdfast.raw.ledger_changes
from @holdfast.raw.archive/changes/
match_by_column_name = case_insensitive;

-- Before each build, replace the previous report of the ledger's stock.
truncate table holdfast.raw.ledger_stock;

copy into holdfast.raw.ledger_stock
from @holdfast.raw.archive/ledger_stock.csv
file_format = (format_name = 'holdfast.raw.csv_files')
force = true;
