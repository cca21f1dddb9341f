{{ config(materialized='table') }}

-- How far each shard is loaded: through which change, when, and from which file.
with newest as (

    select
        shard,
        seq,
        log_time
    from {{ after(ref('stg_changes'), 'loaded_from', inclusive=true) }} as loaded

),

listed as (

    select
        shard,
        max(change_seq) as change_seq
    from {{ ref('stg_ledger_stock') }}
    group by shard

),

shards as (

    select
        positions.shard,
        positions.load_through as loaded_through,
        newest.log_time as loaded_until,
        files.file_name,
        coalesce(files.loaded_at, positions.taken_at) as loaded_at,
        case
            when listed.change_seq > positions.arrived_through then listed.change_seq
            else positions.arrived_through
        end - positions.load_through as behind_changes,
        positions.taken_at
    from {{ positions_relation() }} as positions
    left join newest on positions.shard = newest.shard and positions.load_through = newest.seq
    left join listed on positions.shard = listed.shard
    left join {{ newest_files() }} as files on positions.shard = files.shard

)

select
    shard,
    loaded_through,
    loaded_until,
    file_name,
    loaded_at,
    behind_changes,
    {{ dbt.datediff('loaded_until', 'taken_at', 'millisecond') }} as behind_ms
from shards
