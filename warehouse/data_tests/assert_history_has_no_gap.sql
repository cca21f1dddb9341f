-- Every change that arrived is loaded: in each shard the numbers run 1, 2, 3, ... to the last one that
-- arrived. A row names a shard whose changes wait behind a gap or in an unfinished entry, and the first
-- missing number.
with arrived as (

    select
        cast(shard as integer) as shard,
        max(seq) as last_seq
    from {{ source('holdfast', 'changes') }}
    group by shard

),

loaded as (

    select
        shard,
        min(seq) as first_seq,
        max(seq) as last_seq,
        count(distinct seq) as changes
    from {{ ref('stg_changes') }}
    group by shard

)

select
    arrived.shard,
    coalesce(loaded.last_seq, 0) + 1 as first_missing_seq,
    arrived.last_seq as last_arrived_seq
from arrived
left join loaded on arrived.shard = loaded.shard
where
    loaded.shard is null
    or loaded.first_seq <> 1
    or loaded.changes <> loaded.last_seq
    or loaded.last_seq < arrived.last_seq
