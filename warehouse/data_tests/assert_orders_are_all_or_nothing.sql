-- An order over several shards ends in the same way in all of them. It is never paid in one shard and given
-- back, or never held, in another. A part that is behind the others does not count, because it may still
-- follow. Best effort takes what is there, so an order with a short line may have left out a whole part. It
-- may also be tried again after it failed, and then leave out a part of the first attempt. So an aborted part
-- counts only if it went back after the others had taken their units. Read are the orders with new changes.
-- One that cannot be judged yet, because a shard is behind, is judged by the next proof.
with loaded as (

    select
        shard,
        max(log_time) as loaded_until
    from {{ after(ref('stg_changes'), 'loaded_from', inclusive=true) }} as newest
    group by shard

),

changed as (

    select reservation_key
    from {{ after(ref('int_reservation_lines'), 'tested_through', 'last_seq') }} as new_lines
    where home is not null

),

parts as (

    select
        reservation_id,
        shard,
        home,
        max(state) as state,
        max(last_changed_at) as last_changed_at,
        max(reserved_at) as reserved_at,
        max(case when state <> 'aborted' and granted < requested then 1 else 0 end) as is_short
    from {{ ref('int_reservation_lines') }}
    where home is not null and reservation_key in (select reservation_key from changed)
    group by reservation_id, shard, home

),

orders as (

    select
        parts.reservation_id,
        count(distinct parts.home) as homes,
        max(parts.is_short) as is_short,
        max(case when parts.state in ('committed', 'shipped', 'returned', 'cancelled') then 1 else 0 end) as is_paid,
        max(case when parts.state = 'released' then 1 else 0 end) as is_released,
        max(case when parts.state = 'expired' then 1 else 0 end) as is_expired,
        max(case when parts.state = 'held' then 1 else 0 end) as is_held,
        max(case when parts.state = 'aborted' then 1 else 0 end) as is_aborted,
        max(parts.last_changed_at) as last_changed_at,
        max(case when parts.state = 'aborted' then parts.last_changed_at end) as aborted_at,
        max(case when parts.state <> 'aborted' then parts.reserved_at end) as taken_at,
        min(case when parts.state = 'aborted' then loaded.loaded_until end) as aborted_loaded_until
    from parts
    inner join loaded on parts.shard = loaded.shard
    group by parts.reservation_id

)

select *
from orders
where
    homes > 1
    or is_paid + is_released + is_expired > 1
    -- A later attempt of an aborted part may lie after the end of its shard's loaded changes.
    or (
        is_aborted = 1
        and is_short = 0
        and aborted_at > taken_at
        and is_held + is_paid + is_released + is_expired > 0
        and aborted_loaded_until >= last_changed_at
    )
