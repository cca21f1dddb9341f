{{ config(materialized='view') }}

-- The closing balances of every cell on every UTC day from its first movement to the last day of the history.
-- The days between those of stock_daily are filled in here, when somebody asks.
{{ every_stock_day(ref('int_stock_days'), ref('int_calendar'), id='stock_day_id', date='stock_date') }}
