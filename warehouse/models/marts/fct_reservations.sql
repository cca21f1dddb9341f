{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key='reservation_key',
    cluster_by=['shard', 'reserved_on'],
    meta={'keep': 'state is not null and granted > 0'}
) }}

-- One row per line of a granted reservation. An order over several shards is one reservation: its lines come
-- from all of them, and the values of the whole order are combined from its parts. An undecided order is not
-- granted, and neither is one that was aborted. A reservation with a new change in any shard gets all its
-- lines again. A line that is not granted any more is selected too, so that its old row is deleted.
with lines as (

    select all_lines.*
    from {{ ref('int_reservation_lines') }} as all_lines
    {%- if is_incremental() %}
    where all_lines.reservation_key in (
        select reservation_key
        from {{ new_changes(ref('int_reservation_lines'), last_seq='last_seq', seq='last_seq') }} as changed
    )
    {%- endif %}

),

-- How far the parts are. A part that does not know the decision of its order's home yet is behind the others,
-- never ahead.
reservations as (

    select
        reservation_id,
        min(reserved_at) as reserved_at,
        min(reserved_happened_at) as reserved_happened_at,
        max(expires_at) as expires_at,
        min(committed_at) as committed_at,
        min(committed_happened_at) as committed_happened_at,
        max(last_changed_at) as last_changed_at,
        {%- for state in ['prepared', 'held', 'committed', 'shipped', 'returned', 'cancelled', 'released', 'expired'] %}
        max(case when state = '{{ state }}' then 1 else 0 end) = 1 as any_{{ state }}{{ ',' if not loop.last }}
        {%- endfor %}
    from lines
    group by reservation_id

),

states as (

    select
        *,
        case
            when any_committed or any_shipped or any_returned or any_cancelled
                then case
                    when any_prepared or any_held or any_committed then 'committed'
                    when any_shipped then 'shipped'
                    when any_returned then 'returned'
                    else 'cancelled'
                end
            when any_expired then 'expired'
            when any_released then 'released'
            when any_held then 'held'
        end as state
    from reservations

)

select
    lines.reservation_line_id,
    lines.reservation_id,
    lines.reservation_key,
    lines.line,
    lines.shard,
    lines.home,
    lines.sku,
    lines.storefront,
    lines.reference,
    states.state,
    states.reserved_at,
    states.reserved_happened_at,
    {{ business_date('states.reserved_happened_at') }} as reserved_on,
    states.expires_at,
    states.committed_at,
    states.committed_happened_at,
    {{ business_date('states.committed_happened_at') }} as committed_on,
    states.last_changed_at,
    lines.last_seq,
    lines.warehouses,
    lines.requested,
    lines.granted,
    lines.held,
    lines.committed,
    lines.shipped,
    lines.released,
    lines.expired,
    lines.cancelled,
    lines.returned
from lines
inner join states on lines.reservation_id = states.reservation_id
{%- if not is_incremental() %}
where states.state is not null and lines.granted > 0
{%- endif %}
