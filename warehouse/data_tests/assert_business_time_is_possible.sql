-- A command gives one business time for all its changes in an entry. It is at most 40 years before log time,
-- and less than a day after it. Effects without a command, above all expiry, have none. So a row here is a
-- time in a wrong unit, not a clock that is a little fast.
with commands as (

    select
        shard,
        log_index,
        operation_id,
        min(log_time) as log_time,
        min(occurred_at) as earliest,
        max(occurred_at) as latest,
        count(occurred_at) as told,
        count(*) as changes
    from {{ after(ref('stg_changes'), 'tested_through') }} as new_rows
    group by shard, log_index, operation_id

)

select *
from commands
where
    (operation_id is null and told > 0)
    or (told > 0 and told < changes)
    or earliest <> latest
    or latest > {{ dbt.dateadd('day', 1, 'log_time') }}
    or earliest < {{ dbt.dateadd('day', -40 * 366 - 1, 'log_time') }}
