-- Neither log time nor log index falls along the sequence numbers of a shard. The last change that was tested
-- before is read again, as the one before the first new change.
with steps as (

    select
        shard,
        seq,
        log_time,
        log_index,
        lag(log_time) over (partition by shard order by seq) as previous_time,
        lag(log_index) over (partition by shard order by seq) as previous_index
    from {{ after(ref('stg_changes'), 'tested_through', inclusive=true) }} as new_rows

)

select *
from steps
where log_time < previous_time or log_index < previous_index
