{{ config(
    materialized='incremental',
    incremental_strategy='touched',
    unique_key='stock_day_id',
    cluster_by=['shard', 'stock_date'],
    meta={'touched_date': 'stock_date'}
) }}

-- One row per cell and UTC day on which the cell moved, with the balances at the end of that day. They hold
-- until next_date. New movements extend a cell's newest row or come after it, because log time never goes
-- back. So only that row is read again.
{{ stock_days(
    movement_date='log_date',
    moved_at='log_time',
    id='stock_day_id',
    date='stock_date',
    first_moved_at='first_moved_at',
    last_moved_at='last_moved_at'
) }}
