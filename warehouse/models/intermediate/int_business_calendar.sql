{{ config(materialized='table') }}

-- Every day of the business time zone from the first to the last day on which stock moved.
{{ days_between(ref('int_stock_business_days'), 'business_date') }}
