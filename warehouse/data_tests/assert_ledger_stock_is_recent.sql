-- depends_on: {{ ref('stg_ledger_stock') }}
{{ config(
    tags=['ledger'],
    meta={'advice': 'list the stock again with `holdfast stock list --format csv`, export, and build again; an old list proves nothing about what came later'}
) }}

-- The ledger's stock is not much older than the history. A list that is months old can agree to the unit, and
-- says nothing about the months after it. The age is the log time between the list's last change and the last
-- loaded one.
with listed_changes as (

    select
        shard,
        seq,
        log_time
    from {{ beside_listed(ref('stg_changes'), '=') }} as listed

),

loaded as (

    select
        shard,
        max(log_time) as loaded_until
    from {{ after(ref('stg_changes'), 'loaded_from', inclusive=true) }} as newest
    group by shard

)

select
    listed_changes.shard,
    listed_changes.seq as change_seq,
    listed_changes.log_time as listed_until,
    loaded.loaded_until
from listed_changes
inner join loaded on listed_changes.shard = loaded.shard
where {{ dbt.dateadd('day', var('ledger_stock_max_age_days'), 'listed_changes.log_time') }} < loaded.loaded_until
