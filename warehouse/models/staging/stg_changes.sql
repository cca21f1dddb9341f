{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='append_new_columns',
    cluster_by=['shard', 'log_date']
) }}

-- The changes of each shard from the first up to the first gap, in whole entries only, each once. Changes
-- after a gap or in an unfinished entry wait until the rest has arrived; assert_history_has_no_gap fails
-- meanwhile. So this table only ever grows at the end of each shard, and all downstream models may rely on
-- it. How far each shard goes is fixed at the start of the run (macros/positions.sql). `distinct` drops a
-- repeated row. A repeated number with other content stays, and fails the test on change_id.
with arrived as (

    select{{ ' distinct' if may_repeat() }}
        {{ typed_change() }}
    from {{ archived_changes() }} as archived
    where {{ is_between('loaded_from', 'load_through') }}

)

select
    cast(shard as varchar) || '-' || cast(seq as varchar) as change_id,
    shard,
    seq,
    entry_changes,
    entry_offset,
    log_index,
    log_time,
    cast(log_time as date) as log_date,
    occurred_at,
    coalesce(occurred_at, log_time) as happened_at,
    {{ business_date('coalesce(occurred_at, log_time)') }} as business_date,
    kind,
    (
        {%- for bucket in buckets() %}
        {{ 'or ' if not loop.first }}{{ bucket }}_delta <> 0
        {%- endfor %}
    ) as moves_stock,
    sku,
    warehouse,
    storefront,
    {%- for bucket in buckets() %}
    {{ bucket }}_delta,
    {{ bucket }}_after,
    {%- endfor %}
    reservation_id,
    line,
    reservation_state,
    expires_at,
    requested,
    quantity,
    policy_may_borrow,
    policy_max_per_reservation,
    operation_id,
    principal,
    reason,
    reference,
    home,
    sourcing,
    policy_backorder_limit,
    policy_preorder_limit,
    policy_preorder_until,
    transfer_id,
    transfer_from,
    transfer_to,
    transfer_expected_at,
    transfer_quantity,
    transfer_in_transit,
    supply_id,
    supply_quantity,
    supply_expected_at
from arrived
