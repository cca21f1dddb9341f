{{ config(materialized='table') }}

-- Transfers between warehouses, by SKU. A departure is two changes; its units are counted at their
-- destination.
select
    transfer_id || '/' || sku as transfer_line_id,
    transfer_id,
    sku,
    max(shard) as shard,
    max(transfer_from) as from_warehouse,
    max(transfer_to) as to_warehouse,
    max(case when kind = 'transferred_out' then reference end) as reference,
    min(log_time) as sent_at,
    min(case when kind = 'transferred_out' then happened_at end) as sent_happened_at,
    {{ business_date("min(case when kind = 'transferred_out' then happened_at end)") }} as sent_on,
    max(case when kind = 'transferred_in' then happened_at end) as last_received_happened_at,
    {{ business_date("max(case when kind = 'transferred_in' then happened_at end)") }} as last_received_on,
    max(transfer_expected_at) as expected_at,
    max(log_time) as last_changed_at,
    max(seq) as last_seq,
    cast(sum(case when in_transit_delta > 0 then in_transit_delta else 0 end) as bigint) as sent,
    cast(sum(case when kind = 'transferred_in' then transfer_quantity else 0 end) as bigint) as received,
    cast(sum(case when kind = 'transfer_closed' then transfer_quantity else 0 end) as bigint) as written_off,
    cast(sum(in_transit_delta) as bigint) as in_transit
from {{ ref('stg_changes') }}
where transfer_id is not null
group by transfer_id, sku
