{{ config(materialized='incremental', incremental_strategy='append') }}

-- One row per cell and log entry that changed its sellable units (and one for its first entry), with the
-- level before and after. There is no row for each change, because nobody ever sees the ledger between two
-- changes of one entry.
with entries as (

    select
        cell_id,
        shard,
        sku,
        warehouse,
        log_index,
        max(log_time) as log_time,
        max(seq) as seq,
        sum(sellable_delta) as sellable_delta
    from {{ new_changes(ref('fct_stock_movements')) }} as new_rows
    group by cell_id, shard, sku, warehouse, log_index

),

openings as (
    {% if is_incremental() %}
    select
        cell_id,
        sellable_after as sellable
    from {{ this }}
    where cell_id in (select cell_id from entries)
    qualify row_number() over (partition by cell_id order by seq desc) = 1
    {% else %}
    select
        cell_id,
        cast(null as bigint) as sellable
    from entries
    where false
    {% endif %}
),

levels as (

    select
        entries.*,
        openings.sellable as opening,
        coalesce(openings.sellable, 0) + sum(entries.sellable_delta) over (
            partition by entries.cell_id order by entries.seq rows between unbounded preceding and current row
        ) as sellable_after,
        row_number() over (partition by entries.cell_id order by entries.seq) as entry_number
    from entries
    left join openings on entries.cell_id = openings.cell_id

)

select
    cell_id || '@' || cast(seq as varchar) as sellable_level_id,
    cell_id,
    shard,
    sku,
    warehouse,
    log_index,
    log_time,
    seq,
    case
        when entry_number = 1 and opening is null then null
        else cast(sellable_after - sellable_delta as bigint)
    end as sellable_before,
    cast(sellable_after as bigint) as sellable_after
from levels
where sellable_delta <> 0 or (entry_number = 1 and opening is null)
