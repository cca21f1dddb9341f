-- Snowflake: everything that is made once. An administrator runs this file, with the names of the bucket, of
-- its role in AWS and of the people filled in. It can run again at any time: it changes nothing that is
-- there, and adds the columns that came later. each_run.sql has what is done before each build.
--
-- There are four roles, each with the least that it needs:
--
--   holdfast_owner    owns the landing tables, the pipe and the task
--   holdfast_loader   writes the landing tables, for each_run.sql and for Snowpipe Streaming
--   holdfast_builder  is dbt's role: reads the landing tables, owns staging, intermediate and marts
--   holdfast_reader   reads marts and nothing else
use role useradmin;

create role if not exists holdfast_owner;
create role if not exists holdfast_loader;
create role if not exists holdfast_builder;
create role if not exists holdfast_reader;

grant role holdfast_owner to role sysadmin;
grant role holdfast_loader to role holdfast_owner;
grant role holdfast_builder to role sysadmin;
grant role holdfast_reader to role holdfast_builder;

use role accountadmin;

create storage integration if not exists holdfast_archive
    type = external_stage
    storage_provider = 'S3'
    enabled = true
    storage_aws_role_arn = 'arn:aws:iam::123456789012:role/holdfast-snowflake'
    storage_allowed_locations = ('s3://my-bucket/holdfast/');

grant usage on integration holdfast_archive to role holdfast_owner;
grant execute task on account to role holdfast_owner;

use role sysadmin;

create warehouse if not exists holdfast_build
    warehouse_size = xsmall
    auto_suspend = 60
    auto_resume = true
    initially_suspended = true;

create database if not exists holdfast;
create schema if not exists holdfast.raw;

grant usage on warehouse holdfast_build to role holdfast_owner;
grant usage on warehouse holdfast_build to role holdfast_loader;
grant usage on warehouse holdfast_build to role holdfast_builder;
grant usage on warehouse holdfast_build to role holdfast_reader;
grant usage on database holdfast to role holdfast_owner;
grant usage on database holdfast to role holdfast_loader;
grant usage on database holdfast to role holdfast_builder;
grant usage on database holdfast to role holdfast_reader;
-- dbt makes its schemas itself, and so it owns them and everything in them.
grant create schema on database holdfast to role holdfast_builder;
grant ownership on schema holdfast.raw to role holdfast_owner copy current grants;
grant usage on schema holdfast.raw to role holdfast_loader;
grant usage on schema holdfast.raw to role holdfast_builder;

use role holdfast_owner;

-- The landing table of the change stream, on every road. crates/changes/src/parquet/schema.rs describes the
-- columns up to occurred_at. Times are UTC. The last three say which file brought a row, as which row, and
-- when (UTC). They are null in rows that came by Snowpipe Streaming, except loaded_at.
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
    backordered_delta bigint,
    backordered_after bigint,
    in_transit_delta bigint,
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
    file_name varchar,
    file_row bigint,
    loaded_at timestamp_ntz
)
cluster by (shard, cast(log_time as date));

-- For a table that is older than a column. A file without the column lands as null: the bucket did not move,
-- or log time counts as business time.
alter table holdfast.raw.ledger_changes add column if not exists home integer;
alter table holdfast.raw.ledger_changes add column if not exists backordered_delta bigint;
alter table holdfast.raw.ledger_changes add column if not exists backordered_after bigint;
alter table holdfast.raw.ledger_changes add column if not exists in_transit_delta bigint;
alter table holdfast.raw.ledger_changes add column if not exists in_transit_after bigint;
alter table holdfast.raw.ledger_changes add column if not exists sourcing varchar;
alter table holdfast.raw.ledger_changes add column if not exists policy_backorder_limit bigint;
alter table holdfast.raw.ledger_changes add column if not exists policy_preorder_limit bigint;
alter table holdfast.raw.ledger_changes add column if not exists policy_preorder_until timestamp_ntz;
alter table holdfast.raw.ledger_changes add column if not exists transfer_id varchar;
alter table holdfast.raw.ledger_changes add column if not exists transfer_from varchar;
alter table holdfast.raw.ledger_changes add column if not exists transfer_to varchar;
alter table holdfast.raw.ledger_changes add column if not exists transfer_expected_at timestamp_ntz;
alter table holdfast.raw.ledger_changes add column if not exists transfer_quantity bigint;
alter table holdfast.raw.ledger_changes add column if not exists transfer_in_transit bigint;
alter table holdfast.raw.ledger_changes add column if not exists supply_id varchar;
alter table holdfast.raw.ledger_changes add column if not exists supply_quantity bigint;
alter table holdfast.raw.ledger_changes add column if not exists supply_expected_at timestamp_ntz;
alter table holdfast.raw.ledger_changes add column if not exists occurred_at timestamp_ntz;
alter table holdfast.raw.ledger_changes add column if not exists file_name varchar;
alter table holdfast.raw.ledger_changes add column if not exists file_row bigint;
alter table holdfast.raw.ledger_changes add column if not exists loaded_at timestamp_ntz;

-- The ledger's own stock. each_run.sql fills the second table and then replaces the first in one transaction,
-- so that no reader ever sees half a list.
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

create table if not exists holdfast.raw.ledger_stock_next like holdfast.raw.ledger_stock;

create file format if not exists holdfast.raw.parquet_files type = parquet;

create file format if not exists holdfast.raw.csv_files type = csv skip_header = 1;

create stage if not exists holdfast.raw.archive
    url = 's3://my-bucket/holdfast/'
    storage_integration = holdfast_archive
    file_format = holdfast.raw.parquet_files;

grant select on table holdfast.raw.ledger_changes to role holdfast_builder;
grant select on table holdfast.raw.ledger_stock to role holdfast_builder;
grant select, insert on table holdfast.raw.ledger_changes to role holdfast_loader;
grant select, insert, delete on table holdfast.raw.ledger_stock to role holdfast_loader;
grant select, insert, truncate on table holdfast.raw.ledger_stock_next to role holdfast_loader;
grant usage on file format holdfast.raw.parquet_files to role holdfast_loader;
grant usage on file format holdfast.raw.csv_files to role holdfast_loader;
grant usage on stage holdfast.raw.archive to role holdfast_loader;

-- Snowpipe loads each new file. A file with an error is left out as a whole, and each_run.sql names it.
-- Loading a file twice does no harm, because stg_changes takes each change once. Snowpipe knows a file by its
-- name for 14 days; files of the archive are never changed.
create pipe if not exists holdfast.raw.changes_pipe auto_ingest = true as
copy into holdfast.raw.ledger_changes
from @holdfast.raw.archive/changes/
pattern = '.*[.]parquet'
match_by_column_name = case_insensitive
include_metadata = (
    file_name = metadata$filename, file_row = metadata$file_row_number, loaded_at = metadata$start_scan_time
)
on_error = skip_file;

-- The rows that landed since somebody took them. dbt needs no stream, because it has a watermark of its own
-- (macros/positions.sql). The stream wakes the task that says when a build is due.
create stream if not exists holdfast.raw.changes_landed on table holdfast.raw.ledger_changes append_only = true;

create table if not exists holdfast.raw.landings (
    landed_at timestamp_ntz not null,
    shard integer not null,
    first_seq bigint not null,
    last_seq bigint not null,
    changes bigint not null
);

grant select on table holdfast.raw.landings to role holdfast_builder;

create task if not exists holdfast.raw.note_landings
    warehouse = holdfast_build
    schedule = '1 minute'
    when system$stream_has_data('holdfast.raw.changes_landed')
as
insert into holdfast.raw.landings
select
    cast(convert_timezone('UTC', current_timestamp()) as timestamp_ntz) as landed_at,
    shard,
    min(seq) as first_seq,
    max(seq) as last_seq,
    count(*) as changes
from holdfast.raw.changes_landed
group by shard;

alter task holdfast.raw.note_landings resume;

-- Readers see the marts, also those that dbt makes later.
use role holdfast_builder;

create schema if not exists holdfast.analytics_marts;

grant usage on schema holdfast.analytics_marts to role holdfast_reader;
grant select on all tables in schema holdfast.analytics_marts to role holdfast_reader;
grant select on all views in schema holdfast.analytics_marts to role holdfast_reader;

use role accountadmin;

grant select on future tables in schema holdfast.analytics_marts to role holdfast_reader;
grant select on future views in schema holdfast.analytics_marts to role holdfast_reader;
