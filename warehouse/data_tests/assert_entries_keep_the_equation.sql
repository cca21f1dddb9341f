-- Each log entry keeps the ledger's equation in each cell that it touches. A single change need not, because
-- an entry happens at once.
with entries as (

    select
        shard,
        log_index,
        cell_id,
        {%- for bucket in buckets() %}
        sum({{ bucket }}_delta) as {{ bucket }}_delta{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ after(ref('fct_stock_movements'), 'tested_through') }} as new_rows
    group by shard, log_index, cell_id

)

select *
from entries
where on_hand_delta <> {{ on_hand_by_equation('_delta') }}
