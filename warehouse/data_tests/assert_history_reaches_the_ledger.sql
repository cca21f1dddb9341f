-- The history holds every change that the ledger's stock includes. If this fails, archive further and build
-- again. Ledger stock without any cell would reconcile nothing, so it also fails if there are movements.
with positions as (

    select
        shard,
        max(change_seq) as change_seq,
        min(change_seq) as lowest_change_seq
    from {{ ref('stg_ledger_stock') }}
    group by shard

),

loaded as (

    select
        shard,
        max(seq) as last_seq
    from {{ ref('stg_changes') }}
    group by shard

),

moved as (

    select distinct shard
    from {{ ref('fct_stock_movements') }}

)

select
    positions.shard,
    positions.change_seq,
    loaded.last_seq
from positions
left join loaded on positions.shard = loaded.shard
where coalesce(loaded.last_seq, 0) < positions.change_seq or positions.lowest_change_seq <> positions.change_seq
union all
select
    moved.shard,
    null as change_seq,
    null as last_seq
from moved
left join positions on moved.shard = positions.shard
where positions.shard is null
