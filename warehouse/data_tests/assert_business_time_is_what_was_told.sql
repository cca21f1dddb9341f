-- Business time is the command's own time, or else log time, and its day is that of the business time zone.
-- After a change of the zone, and in a warehouse that is older than business time, this fails until
-- everything is rebuilt with --full-refresh.
select
    change_id,
    log_time,
    occurred_at,
    happened_at,
    business_date
from {{ ref('stg_changes') }}
where
    happened_at is null
    or business_date is null
    or happened_at <> coalesce(occurred_at, log_time)
    or business_date <> {{ business_date('happened_at') }}
