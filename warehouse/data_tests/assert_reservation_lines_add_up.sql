-- Each granted unit of a line is in exactly one place, and no place holds fewer than none.
select *
from {{ ref('fct_reservations') }}
where
    granted <> held + committed + shipped + released + expired + cancelled
    or granted < 1
    or granted > requested
    or returned > shipped
    {%- for units in ['held', 'committed', 'shipped', 'released', 'expired', 'cancelled', 'returned'] %}
    or {{ units }} < 0
    {%- endfor %}
    -- A state that says nothing is left has nothing left.
    or (state not in ('prepared', 'held') and held > 0)
    or (state in ('shipped', 'returned', 'released', 'expired', 'cancelled') and committed > 0)
