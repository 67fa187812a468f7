"""YAML whose text is read back as text."""

import re
from enum import Enum
from typing import Any

import yaml


class Dumper(yaml.SafeDumper):
    """Writes plain values; quotes text that a reader of YAML 1.1 or 1.2 would take for a number, such as 1e3."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",  # wider than PyYAML's own, as command lines read it: exponents without sign or point
    re.compile(
        r"^[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+|[0-9][0-9_]*\.[0-9_]*|\.[0-9_]+(?:[eE][-+]?[0-9]+)?)$"
    ),
    list("-+0123456789."),
)


Dumper.add_multi_representer(Enum, lambda dumper, member: dumper.represent_str(member.name))  # jsonargparse reads names


def dump_yaml(data: Any) -> str:
    """Plain values as block-style YAML, keys in their order."""
    return yaml.dump(data, Dumper=Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False)
