{# Converts a Parquet timestamp to a UTC timestamp without time zone, whatever the session's time zone. #}
{% macro utc_timestamp(column) -%}
    {{ adapter.dispatch('utc_timestamp')(column) }}
{%- endmacro %}

{% macro default__utc_timestamp(column) -%}
    make_timestamp(epoch_us({{ column }}))
{%- endmacro %}

{# load.sql lands both times as TIMESTAMP_NTZ in UTC, which is how Snowflake reads Parquet. #}
{% macro snowflake__utc_timestamp(column) -%}
    cast({{ column }} as timestamp_ntz)
{%- endmacro %}
