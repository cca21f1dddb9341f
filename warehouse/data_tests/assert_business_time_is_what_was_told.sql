-- Business time is the command's own time, or else log time, and its day is that of the business time zone.
-- A run with another zone than before stops before it builds anything (macros/positions.sql).
select
    change_id,
    log_time,
    occurred_at,
    happened_at,
    business_date
from {{ after(ref('stg_changes'), 'tested_through') }} as new_rows
where
    happened_at is null
    or business_date is null
    or happened_at <> coalesce(occurred_at, log_time)
    or business_date <> {{ business_date('happened_at') }}
