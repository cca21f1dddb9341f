{{ config(materialized='view') }}

-- The movements of every cell on every business day, and its balances at the end of that day, from its first
-- business day with a movement to the last one of the history. Only the days on which a cell moved are stored
-- (int_stock_business_days). The days between are filled in here.
{{ every_stock_day(
    ref('int_stock_business_days'),
    ref('int_business_calendar'),
    id='stock_business_day_id',
    date='business_date',
    deltas=true
) }}
