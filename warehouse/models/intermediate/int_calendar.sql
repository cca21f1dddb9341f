{{ config(materialized='table') }}

-- Every UTC day from the first stock movement to the last.
{{ days_between(ref('int_stock_days'), 'stock_date') }}
