{# Converts a Parquet timestamp to a UTC timestamp without time zone, whatever the session's time zone. #}
{% macro utc_timestamp(column) -%}
    {{ adapter.dispatch('utc_timestamp')(column) }}
{%- endmacro %}

{% macro default__utc_timestamp(column) -%}
    make_timestamp(epoch_us({{ column }}))
{%- endmacro %}

{# snowflake/once.sql lands all times as TIMESTAMP_NTZ in UTC, which is how Snowflake reads Parquet. #}
{% macro snowflake__utc_timestamp(column) -%}
    cast({{ column }} as timestamp_ntz)
{%- endmacro %}

{# The type of a UTC time without time zone. #}
{% macro timestamp_type() -%}
    {{ return('timestamp_ntz' if target.type == 'snowflake' else 'timestamp') }}
{%- endmacro %}

{# A number made of a reservation's id, by which a database finds the rows of a reservation much faster than by
   the id itself. Ids begin with their time, so the numbers of reservations of one day lie together. Two
   reservations may have the same number. #}
{% macro reservation_key(column) -%}
    {{ adapter.dispatch('reservation_key')(column) }}
{%- endmacro %}

{% macro default__reservation_key(column) -%}
    coalesce(try_cast('0x' || substr({{ column }}, 1, 8) || substr({{ column }}, 10, 2) || right({{ column }}, 5) as bigint), 0)
{%- endmacro %}

{% macro snowflake__reservation_key(column) -%}
    hash({{ column }})
{%- endmacro %}
