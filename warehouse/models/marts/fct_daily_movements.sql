{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key='daily_movement_id',
    cluster_by=['shard', 'business_date'],
    meta={'touched_date': 'business_date'}
) }}

-- How many units moved on each business day, by cell, storefront and kind. New movements are added to the row
-- of their day, however long ago it was.
with new_rows as (

    select
        -- A SKU may contain an @, and nothing else here does, so two rows never have the same id.
        cast(business_date as varchar) || '@' || kind || '@' || cell_id || '@' || coalesce(storefront, '') as daily_movement_id,
        business_date,
        cell_id,
        shard,
        sku,
        warehouse,
        storefront,
        kind,
        seq,
        on_hand_delta,
        sellable_delta,
        coalesce(quantity, 0) as quantity
    from {{ new_changes(ref('fct_stock_movements'), last_seq='last_seq') }} as new_movements

),

pieces as (

    select
        daily_movement_id,
        business_date,
        cell_id,
        shard,
        sku,
        warehouse,
        storefront,
        kind,
        max(seq) as last_seq,
        count(*) as changes,
        sum(on_hand_delta) as on_hand_delta,
        sum(sellable_delta) as sellable_delta,
        sum(quantity) as reservation_units
    from new_rows
    group by daily_movement_id, business_date, cell_id, shard, sku, warehouse, storefront, kind
    {%- if is_incremental() %}
    union all
    select
        daily_movement_id,
        business_date,
        cell_id,
        shard,
        sku,
        warehouse,
        storefront,
        kind,
        last_seq,
        changes,
        on_hand_delta,
        sellable_delta,
        reservation_units
    from {{ this }}
    where
        daily_movement_id in (select daily_movement_id from new_rows)
        and {{ is_touched_date('business_date', new_changes(ref('fct_stock_movements'), last_seq='last_seq')) }}
    {%- endif %}

),

days as (

    select
        daily_movement_id,
        business_date,
        cell_id,
        shard,
        sku,
        warehouse,
        storefront,
        kind,
        cast(max(last_seq) as bigint) as last_seq,
        cast(sum(changes) as bigint) as changes,
        cast(sum(on_hand_delta) as bigint) as on_hand_delta,
        cast(sum(sellable_delta) as bigint) as sellable_delta,
        cast(sum(reservation_units) as bigint) as reservation_units
    from pieces
    group by daily_movement_id, business_date, cell_id, shard, sku, warehouse, storefront, kind

)

select
    *,
    case when kind = 'received' then on_hand_delta else 0 end as units_received,
    {%- for flow, kinds in {
        'units_reserved': ['reserved', 'prepared'],
        'units_sold': ['committed'],
        'units_given_back': ['released', 'expired', 'aborted'],
        'units_cancelled': ['cancelled'],
    }.items() %}
    case
        when kind in ('{{ kinds | join("', '") }}') and coalesce(storefront, '') <> {{ transfer_storefront() }} then reservation_units
        else 0
    end as {{ flow }},
    {%- endfor %}
    case when kind = 'shipped' then -on_hand_delta else 0 end as units_shipped,
    case when kind = 'returned' then on_hand_delta else 0 end as units_returned,
    case when kind = 'adjusted' then on_hand_delta else 0 end as units_adjusted,
    case when kind = 'counted' then on_hand_delta else 0 end as units_counted,
    case when kind in ('transferred_out', 'transferred_in') then on_hand_delta else 0 end as units_transferred
from days
