{# Only the changes of `relation` that the current model has not seen: those after the last sequence number
   that it holds of their shard. This is safe because stg_changes grows only at its end, one whole entry at a
   time. `seq` is the sequence number's column in `relation`, and `last_seq` is its column in the model. Both
   tables are read only after built_through, which every model has. #}
{% macro new_changes(relation, last_seq='seq', seq='seq') -%}
    {%- if is_incremental() %}
    (
        select arrived.*
        from {{ after(relation, 'built_through', seq) }} as arrived
        left join (
            select shard, max({{ last_seq }}) as last_seq
            from {{ after(this, 'built_through', last_seq) }} as newest
            group by shard
        ) as seen
            on arrived.shard = seen.shard
        where arrived.{{ seq }} > coalesce(seen.last_seq, 0)
    )
    {%- else %}
    {{ relation }}
    {%- endif %}
{%- endmacro %}
