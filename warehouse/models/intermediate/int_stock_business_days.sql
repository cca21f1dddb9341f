{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key='stock_business_day_id',
    cluster_by=['shard', 'business_date'],
    meta={'touched_date': 'business_date'}
) }}

-- One row per cell and business day on which the cell moved, with the balances at the end of that day. They
-- hold until next_date. A movement may be booked for a day long past. Then all later days of its cell are
-- made again.
{{ stock_days(
    movement_date='business_date',
    moved_at='happened_at',
    id='stock_business_day_id',
    date='business_date',
    first_moved_at='first_happened_at',
    last_moved_at='last_happened_at'
) }}
