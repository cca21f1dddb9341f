-- The ledger's invariants over the balances at the end of every day on which a cell moved.
select *
from {{ ref('int_stock_days') }}
where
    on_hand <> {{ on_hand_by_equation() }}
    {%- for bucket in buckets() %}
    or {{ bucket }} < 0
    {%- endfor %}
    -- Nothing promised that is not there, unless a recount found it missing or a policy allowed it.
    or held + committed > on_hand + deficit + backordered
    -- What is missing was promised, so nothing of it is sellable or kept back.
    or (deficit > 0 and free + pool + safety > 0)
    -- Who waits for goods gets them before anyone can buy them.
    or (backordered > 0 and free > 0)
