{{ config(materialized='incremental', incremental_strategy='touched', unique_key='stockout_id') }}

-- The intervals in which a cell had nothing sellable (free + pools = 0). An interval opens with the entry
-- that took the last unit, or with the cell's first entry if that brought nothing sellable. It closes with
-- the entry that brought sellable units again. Levels are those after whole entries, because nobody ever sees
-- the ledger between two changes of one entry.
with new_entries as (

    select
        cell_id,
        shard,
        sku,
        warehouse,
        log_index,
        max(log_time) as log_time,
        max(seq) as seq,
        count(*) as movements,
        sum(sellable_delta) as sellable_delta
    from {{ new_changes(ref('fct_stock_movements'), last_seq='last_seq') }} as new_rows
    group by cell_id, shard, sku, warehouse, log_index

),

-- Adding up backwards from the present level needs no older rows.
levels as (

    select
        entries.*,
        stock.sellable - coalesce(sum(entries.sellable_delta) over (
            partition by entries.cell_id order by entries.seq rows between 1 following and unbounded following
        ), 0) as sellable_after,
        stock.movements = sum(entries.movements) over (
            partition by entries.cell_id order by entries.seq rows between current row and unbounded following
        ) as is_first
    from new_entries as entries
    inner join {{ ref('stock_current') }} as stock on entries.cell_id = stock.cell_id

),

new_turns as (

    select
        cell_id,
        shard,
        sku,
        warehouse,
        log_time,
        seq,
        sellable_after = 0 as opens
    from levels
    where
        (sellable_after = 0 and (is_first or sellable_delta <> 0))
        or (sellable_after > 0 and sellable_after = sellable_delta and not is_first)

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
    ended_seq,
    coalesce(ended_seq, seq) as last_seq
from paired
where opens
