{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key='reservation_key',
    cluster_by=['shard', 'reserved_on']
) }}

-- One row per line of a reservation, granted or not, with the place of each of its units and its last state
-- in its shard. A reservation changes for days. When its part in a shard has new changes, all lines of the
-- part are made again from the old rows and the new changes alone, never from the whole history. In an order
-- over several shards, each shard has the lines of its SKUs. Units of an aborted attempt went back, as if
-- they had never been granted. Old rows are found by reservation_key, and rows that only share the key stay
-- as they are.
with new_changes as (

    select *
    from {{ new_changes(ref('stg_changes'), last_seq='last_seq') }} as new_rows
    where reservation_id is not null

),

-- The times when a line's units were taken: once, and again for each further attempt of an order.
new_takings as (

    select
        reservation_id,
        line,
        shard,
        storefront,
        reference,
        log_time as reserved_at,
        min(happened_at) as reserved_happened_at,
        count(distinct warehouse) as warehouses
    from new_changes
    where kind in ('reserved', 'prepared')
    group by reservation_id, line, shard, storefront, reference, log_time, log_index
    qualify row_number() over (partition by reservation_id, line, shard order by log_index desc) = 1

),

new_lines as (

    select
        reservation_id,
        line,
        shard,
        max(sku) as sku,
        max(requested) as requested,
        sum(
            case
                when kind in ('reserved', 'prepared') then quantity
                when kind = 'aborted' then -quantity
                else 0
            end
        ) as granted,
        {%- for kind in ['committed', 'released', 'expired', 'cancelled', 'returned'] %}
        sum(case when kind = '{{ kind }}' then quantity else 0 end) as {{ kind }},
        {%- endfor %}
        -- Units that a transfer over several shards had reserved leave with it.
        sum(case when kind in ('shipped', 'transferred_out') then quantity else 0 end) as shipped,
        min(case when kind = 'committed' then log_time end) as committed_at,
        min(case when kind = 'committed' then happened_at end) as committed_happened_at
    from new_changes
    where sku is not null
    group by reservation_id, line, shard

),

-- The newest change states the whole part, whichever of its lines it was about.
new_states as (

    select
        reservation_id,
        shard,
        home,
        case when kind = 'aborted' then 'aborted' else reservation_state end as state,
        case when kind not in ('prepared', 'aborted') then expires_at end as expires_at,
        log_time as last_changed_at,
        seq as last_seq
    from new_changes
    qualify row_number() over (partition by reservation_id, shard order by seq desc) = 1

),

{% if is_incremental() -%}
old_lines as (

    select
        old.*,
        new_states.reservation_id is not null as is_touched
    from (
        select * from {{ this }}
        where reservation_key in (select {{ reservation_key('reservation_id') }} from new_states)
    ) as old
    left join new_states on old.reservation_id = new_states.reservation_id and old.shard = new_states.shard

),

{% endif -%}
pieces as (

    select
        new_lines.reservation_id,
        new_lines.line,
        new_lines.shard,
        new_lines.sku,
        new_takings.storefront,
        new_takings.reference,
        new_takings.reserved_at,
        new_takings.reserved_happened_at,
        new_lines.committed_at,
        new_lines.committed_happened_at,
        new_takings.warehouses,
        new_lines.requested,
        new_lines.granted,
        new_lines.committed as committed_ever,
        new_lines.shipped,
        new_lines.released,
        new_lines.expired,
        new_lines.cancelled,
        new_lines.returned,
        1 as age
    from new_lines
    left join new_takings
        on
            new_lines.reservation_id = new_takings.reservation_id
            and new_lines.line = new_takings.line
            and new_lines.shard = new_takings.shard
    {%- if is_incremental() %}
    union all
    select
        old.reservation_id,
        old.line,
        old.shard,
        old.sku,
        old.storefront,
        old.reference,
        old.reserved_at,
        old.reserved_happened_at,
        old.committed_at,
        old.committed_happened_at,
        old.warehouses,
        old.requested,
        old.granted,
        old.committed + old.shipped + old.cancelled as committed_ever,
        old.shipped,
        old.released,
        old.expired,
        old.cancelled,
        old.returned,
        2 as age
    from old_lines as old
    where old.is_touched
    {%- endif %}

),

lines as (

    select
        reservation_id,
        line,
        shard,
        max(sku) as sku,
        max(storefront) as storefront,
        max(reference) as reference,
        max(reserved_at) as reserved_at,
        -- The time is that of the newest attempt, which may have happened before an older one.
        coalesce(max(case when age = 1 then reserved_happened_at end), max(reserved_happened_at)) as reserved_happened_at,
        min(committed_at) as committed_at,
        min(committed_happened_at) as committed_happened_at,
        coalesce(max(case when age = 1 then warehouses end), max(warehouses)) as warehouses,
        max(requested) as requested,
        {%- for units in ['granted', 'committed_ever', 'shipped', 'released', 'expired', 'cancelled', 'returned'] %}
        cast(sum({{ units }}) as bigint) as {{ units }}{{ ',' if not loop.last }}
        {%- endfor %}
    from pieces
    group by reservation_id, line, shard

)

select
    lines.reservation_id || '/' || cast(lines.line as varchar) as reservation_line_id,
    lines.reservation_id,
    {{ reservation_key('lines.reservation_id') }} as reservation_key,
    lines.line,
    lines.shard,
    new_states.home,
    lines.sku,
    lines.storefront,
    lines.reference,
    new_states.state,
    lines.reserved_at,
    lines.reserved_happened_at,
    {{ business_date('lines.reserved_happened_at') }} as reserved_on,
    new_states.expires_at,
    lines.committed_at,
    lines.committed_happened_at,
    {{ business_date('lines.committed_happened_at') }} as committed_on,
    new_states.last_changed_at,
    new_states.last_seq,
    lines.warehouses,
    lines.requested,
    lines.granted,
    lines.granted - lines.committed_ever - lines.released - lines.expired as held,
    lines.committed_ever - lines.shipped - lines.cancelled as committed,
    lines.shipped,
    lines.released,
    lines.expired,
    lines.cancelled,
    lines.returned
from lines
inner join new_states on lines.reservation_id = new_states.reservation_id and lines.shard = new_states.shard
{%- if is_incremental() %}
union all
select
    reservation_line_id,
    reservation_id,
    reservation_key,
    line,
    shard,
    home,
    sku,
    storefront,
    reference,
    state,
    reserved_at,
    reserved_happened_at,
    reserved_on,
    expires_at,
    committed_at,
    committed_happened_at,
    committed_on,
    last_changed_at,
    last_seq,
    warehouses,
    requested,
    granted,
    held,
    committed,
    shipped,
    released,
    expired,
    cancelled,
    returned
from old_lines
where not is_touched
{%- endif %}
