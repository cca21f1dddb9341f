{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='stockout_id') }}

-- The intervals in which a cell had nothing sellable (free + pools = 0). An interval opens with the entry
-- that took the last unit, or with the cell's first entry if that brought nothing sellable. It closes with
-- the entry that brought sellable units again.
with new_turns as (

    select
        cell_id,
        shard,
        sku,
        warehouse,
        log_time,
        seq,
        sellable_after = 0 as opens
    from {{ new_changes(ref('int_sellable_levels'), last_seq='coalesce(ended_seq, started_seq)') }} as new_rows
    where
        (sellable_after = 0 and coalesce(sellable_before, 1) > 0)
        or (sellable_after > 0 and sellable_before = 0)

),

turns as (

    select * from new_turns
    {%- if is_incremental() %}
    union all
    select
        cell_id,
        shard,
        sku,
        warehouse,
        started_at as log_time,
        started_seq as seq,
        true as opens
    from {{ this }}
    where ended_at is null and cell_id in (select cell_id from new_turns)
    {%- endif %}

),

paired as (

    select
        *,
        lead(log_time) over (partition by cell_id order by seq) as ended_at,
        lead(seq) over (partition by cell_id order by seq) as ended_seq
    from turns

)

select
    cell_id || '@' || cast(seq as varchar) as stockout_id,
    cell_id,
    shard,
    sku,
    warehouse,
    log_time as started_at,
    ended_at,
    {{ dbt.datediff('log_time', 'ended_at', 'millisecond') }} as duration_ms,
    seq as started_seq,
    ended_seq
from paired
where opens
