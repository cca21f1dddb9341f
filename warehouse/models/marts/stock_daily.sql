{{ config(materialized='view') }}

-- The closing balances of every cell on every UTC day from its first movement to the last day of the history.
-- Only the days on which a cell moved are stored (int_stock_days). The days between are filled in here.
{{ every_stock_day(ref('int_stock_days'), ref('int_calendar'), id='stock_day_id', date='stock_date') }}
