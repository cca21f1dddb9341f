{{ config(meta={'advice': 'bring the missing file of the archive back, or archive further if an entry is not whole; changes behind the gap wait'}) }}

-- Every change that arrived is loaded: in each shard the numbers run on without a gap, from what was tested
-- before to the last one in the input of this run. A row names a shard whose changes wait behind a gap or in
-- an unfinished entry, and the first missing number.
with arrived as (

    select
        shard,
        loaded_from,
        arrived_through,
        tested_through
    from {{ positions_relation() }}

),

loaded as (

    select
        shard,
        min(seq) as first_seq,
        max(seq) as last_seq,
        count(distinct seq) as changes
    from {{ after(ref('stg_changes'), 'tested_through') }} as new_rows
    group by shard

)

select
    arrived.shard,
    coalesce(loaded.last_seq, arrived.loaded_from) + 1 as first_missing_seq,
    arrived.arrived_through as last_arrived_seq
from arrived
left join loaded on arrived.shard = loaded.shard
where
    {%- set before = '0' if is_whole_history() else 'arrived.tested_through' %}
    (loaded.shard is null and arrived.arrived_through > {{ before }})
    or loaded.first_seq <> {{ before }} + 1
    or loaded.changes <> loaded.last_seq - {{ before }}
    or loaded.last_seq < arrived.arrived_through
