{{ config(materialized='incremental', incremental_strategy='touched', unique_key='transfer_line_id') }}

-- Transfers between warehouses, by SKU. A departure is two changes; its units are counted at their
-- destination. What is new of a transfer is added to its old row.
with new_rows as (

    select *
    from {{ new_changes(ref('stg_changes'), last_seq='last_seq') }} as new_changes
    where transfer_id is not null

),

pieces as (

    select
        transfer_id,
        sku,
        shard,
        transfer_from as from_warehouse,
        transfer_to as to_warehouse,
        case when kind = 'transferred_out' then reference end as reference,
        log_time as sent_at,
        case when kind = 'transferred_out' then happened_at end as sent_happened_at,
        case when kind = 'transferred_in' then happened_at end as last_received_happened_at,
        transfer_expected_at as expected_at,
        log_time as last_changed_at,
        seq as last_seq,
        case when in_transit_delta > 0 then in_transit_delta else 0 end as sent,
        case when kind = 'transferred_in' then transfer_quantity else 0 end as received,
        case when kind = 'transfer_closed' then transfer_quantity else 0 end as written_off,
        in_transit_delta as in_transit
    from new_rows
    {%- if is_incremental() %}
    union all
    select
        transfer_id,
        sku,
        shard,
        from_warehouse,
        to_warehouse,
        reference,
        sent_at,
        sent_happened_at,
        last_received_happened_at,
        expected_at,
        last_changed_at,
        last_seq,
        sent,
        received,
        written_off,
        in_transit
    from {{ this }}
    where transfer_line_id in (select transfer_id || '/' || sku from new_rows)
    {%- endif %}

)

select
    transfer_id || '/' || sku as transfer_line_id,
    transfer_id,
    sku,
    max(shard) as shard,
    max(from_warehouse) as from_warehouse,
    max(to_warehouse) as to_warehouse,
    max(reference) as reference,
    min(sent_at) as sent_at,
    min(sent_happened_at) as sent_happened_at,
    {{ business_date("min(sent_happened_at)") }} as sent_on,
    max(last_received_happened_at) as last_received_happened_at,
    {{ business_date("max(last_received_happened_at)") }} as last_received_on,
    max(expected_at) as expected_at,
    max(last_changed_at) as last_changed_at,
    cast(max(last_seq) as bigint) as last_seq,
    cast(sum(sent) as bigint) as sent,
    cast(sum(received) as bigint) as received,
    cast(sum(written_off) as bigint) as written_off,
    cast(sum(in_transit) as bigint) as in_transit
from pieces
group by transfer_id, sku
