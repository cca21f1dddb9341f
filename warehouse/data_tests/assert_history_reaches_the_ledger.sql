{{ config(tags=['ledger'], meta={'advice': 'list the stock first and export afterwards: export again, then build again with the same list'}) }}

-- The history holds every change that the ledger's stock includes. If this fails, archive further and build
-- again. Ledger stock without any cell would reconcile nothing, so it also fails if there are movements.
with listed as (

    select
        shard,
        max(change_seq) as change_seq,
        min(change_seq) as lowest_change_seq
    from {{ ref('stg_ledger_stock') }}
    group by shard

),

moved as (

    select distinct shard
    from {{ ref('stock_current') }}

)

select
    listed.shard,
    listed.change_seq,
    loaded.load_through as last_seq
from listed
left join {{ positions_relation() }} as loaded on listed.shard = loaded.shard
where coalesce(loaded.load_through, 0) < listed.change_seq or listed.lowest_change_seq <> listed.change_seq
union all
select
    moved.shard,
    null as change_seq,
    null as last_seq
from moved
left join listed on moved.shard = listed.shard
where listed.shard is null
