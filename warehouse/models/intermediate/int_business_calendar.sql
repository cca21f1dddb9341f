{{ config(materialized='table') }}

-- Every day of the business time zone from the earliest one on which stock moved to the latest.
{{ days_between(ref('int_stock_business_days'), 'business_date') }}
