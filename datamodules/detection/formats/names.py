"""Class indices for annotation formats that have only names."""

from datamodules.detection.formats.raw import Raw
from datamodules.file_names import composed
from modules.contracts import DataError, suggest


class Names:
    """Class indices by name, in the order in which names come; `sort` renumbers them at the end.

    Args:
        classes: the only valid names, in their order; null accepts all.
    """

    def __init__(self, classes: list[str] | None):
        self.fixed = classes is not None
        self.found = {composed(name): i for i, name in enumerate(classes or [])}

    def label(self, name: str, where: str) -> int:
        """The class index of a name.

        Raises:
            DataError: the names are fixed, and it is none of them.
        """
        name = composed(name)
        if self.fixed and name not in self.found:
            hint = suggest(name, [*self.found])
            raise DataError(f"{where} is of class {name!r}, which data.classes lacks{hint}: add it there, or mend it")
        return self.found.setdefault(name, len(self.found))

    def sort(self, raws: dict[str, Raw]) -> tuple[list[str], list[int]]:
        """Names and their numbers for results, from 1; names that were not fixed become sorted, in `raws` too."""
        names = [*self.found] if self.fixed else sorted(self.found)
        new = {self.found[name]: i for i, name in enumerate(names)}
        for raw in raws.values():
            raw.relabel(new)
        return names, [*range(1, len(names) + 1)]
