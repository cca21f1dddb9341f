"""Which metrics and labels an expression names. promtool says whether it is an expression at all."""

import re

WORDS = {"and", "or", "unless", "by", "on", "without", "ignoring", "group_left", "group_right", "offset", "bool"}


def named(expression):
    """The metrics, the labels, and what each label is compared with."""
    compared = set()

    def take_matchers(found):
        for label, value in re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"', found.group(0)):
            compared.add((label, value))
        return " "

    text = re.sub(r"\{[^}]*\}", take_matchers, expression)
    labels = {label for label, _ in compared}

    def take_labels(found):
        labels.update(re.findall(r"\w+", found.group(1)))
        return " "

    text = re.sub(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)", take_labels, text)
    text = re.sub(r'"[^"]*"', " ", text)
    text = re.sub(r"\[[^\]]*\]", " ", text)
    text = re.sub(r"\boffset\s+\w+", " ", text)
    found = re.findall(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()", text)
    return {name for name in found if name not in WORDS}, labels, compared
