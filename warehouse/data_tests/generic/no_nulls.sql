{# None of these columns is ever null. One query checks a whole model, because a test for each column would
   take most of a build. #}
{% test no_nulls(model, columns) %}

select *
from {{ model }}
where
    {%- for column in columns %}
    {{ 'or ' if not loop.first }}{{ column }} is null
    {%- endfor %}

{% endtest %}
