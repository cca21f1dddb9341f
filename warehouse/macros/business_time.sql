{# The time zone whose midnight ends a business day. It is checked while dbt reads the project, so a misspelt
   zone stops the build before anything is built. #}
{% macro business_time_zone() %}
    {%- set zone = var('business_time_zone') -%}
    {%- if zone not in modules.pytz.all_timezones_set -%}
        {{ exceptions.raise_compiler_error("business_time_zone is '" ~ zone ~ "', which is no time zone: name one of the IANA database, such as 'Europe/Berlin' or 'UTC'") }}
    {%- endif -%}
    {{ return(zone) }}
{% endmacro %}

{# The day, in the business time zone, of a UTC time without time zone. #}
{% macro business_date(time) -%}
    {{ adapter.dispatch('business_date')(time, business_time_zone()) }}
{%- endmacro %}

{% macro default__business_date(time, zone) -%}
    {%- if zone == 'UTC' -%}
    cast({{ time }} as date)
    {%- else -%}
    cast(timezone('{{ zone }}', timezone('UTC', {{ time }})) as date)
    {%- endif -%}
{%- endmacro %}

{% macro snowflake__business_date(time, zone) -%}
    {%- if zone == 'UTC' -%}
    cast({{ time }} as date)
    {%- else -%}
    cast(convert_timezone('UTC', '{{ zone }}', {{ time }}) as date)
    {%- endif -%}
{%- endmacro %}
