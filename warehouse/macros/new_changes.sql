{# Only the changes of `relation` that the model being built has not seen: those past the last sequence number
   that it holds of their shard. Safe because stg_changes grows at its end only, a whole entry at a time. `seq` is the
   column of `relation` and `last_seq` that of the model which have the sequence number. #}
{% macro new_changes(relation, last_seq='seq', seq='seq') -%}
    {%- if is_incremental() %}
    (
        select arrived.*
        from {{ relation }} as arrived
        left join (select shard, max({{ last_seq }}) as last_seq from {{ this }} group by shard) as seen
            on arrived.shard = seen.shard
        where arrived.{{ seq }} > coalesce(seen.last_seq, 0)
    )
    {%- else %}
    {{ relation }}
    {%- endif %}
{%- endmacro %}
