"""Language and sizes of the repository: openings of docstrings, words out of use, long files and functions."""

import ast
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration  # git lists the files

ROOT = Path(__file__).parents[1]
OPENINGS = {"What", "Which", "How", "Where", "Whether", "Of", "Who", "When"}
UNUSED = "picture"  # an input is an image, a drawing that a run leaves is a figure
LONGEST_FILE, LONGEST_FUNCTION = 260, 60  # lines that are too many
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def tracked(*patterns: str) -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for name in names.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def questions(source: str) -> list[str]:
    """Docstrings of modules, classes and functions that open with one of `OPENINGS`."""
    documented = (node for node in ast.walk(ast.parse(source)) if isinstance(node, DOCUMENTED))
    docstrings = filter(None, map(ast.get_docstring, documented))
    return [text.splitlines()[0] for text in docstrings if text.split()[0].rstrip(",.:;?") in OPENINGS]


def test_docstrings_open_with_a_noun_phrase_or_an_imperative():
    files = tracked("*.py")
    found = [f"{path.relative_to(ROOT)}: {line}" for path in files for line in questions(path.read_text())]
    assert len(files) > 100 and not found


def test_an_opening_is_found_in_modules_classes_and_functions():
    source = '"""What it is."""\nclass A:\n    """Whether."""\n\n    def f(self):\n        """Of, or: a mean."""\n'
    assert questions(source) == ["What it is.", "Whether.", "Of, or: a mean."]
    assert questions('"""Howitzer."""\ndef f():\n    """Compute what is asked."""\n\ndef g(): ...\n') == []


def test_images_and_figures_have_no_other_name():
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # no text file
            continue
        lines = enumerate(text.lower().splitlines(), 1) if path != Path(__file__) else ()
        found += [f"{path.relative_to(ROOT)}:{number}" for number, line in lines if UNUSED in line]
    assert not found


def too_long(source: str) -> list[str]:
    """Names of functions of `LONGEST_FUNCTION` lines and more."""
    functions = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    return [node.name for node in functions if node.end_lineno - node.lineno + 1 >= LONGEST_FUNCTION]


def test_files_and_functions_are_read_at_a_glance():
    files = [path for path in tracked("*.py") if "tests" not in path.relative_to(ROOT).parts]
    sources = {str(path.relative_to(ROOT)): path.read_text() for path in files}
    found = [name for name, source in sources.items() if source.count("\n") >= LONGEST_FILE]
    found += [f"{name}: {function}" for name, source in sources.items() for function in too_long(source)]
    assert len(files) > 100 and not found


# Attributes are set by the object that has them ----------------------------------------------------------------------

FOLDERS = ("tasks", "modules", "datamodules", "callbacks", "commands")
ALLOWED = {
    "callbacks/stochastic_weight_averaging.py: pl_module": "Lightning's own `log`, silenced for a while",
    "commands/linking.py: args": "settings, to be filled in",
    "commands/resume.py: trainer": "settings, to be filled in",
    "commands/fit.py: settings.model.init_args": "settings, to be filled in",
    "commands/evaluate/trainer.py: datamodule": "attached to the trainer, as Lightning's own does",
    "commands/evaluate/trainer.py: model": "attached to the trainer, as Lightning's own does",
    "datamodules/augment.py: self.numpy.bit_generator": "NumPy's interface of random states",
    "modules/backbones/": "layers of networks of timm and torchvision, which are rebuilt",
    "modules/heads/dense/semantic_fpn.py: self.classifier": "initial weights",
    "modules/temporal/early.py: conv": "a layer of a library's network, which is widened",
    "modules/text/decoder.py: encoder.embedding": "shared weights",
}
"""File and object, or folder -> reason for setting an attribute from outside."""


def set_attributes(node: ast.AST) -> list[ast.Attribute]:
    """Attributes that are assigned anywhere below a node."""
    found = (part for part in ast.walk(node) if isinstance(part, ast.Attribute))
    return [part for part in found if isinstance(part.ctx, ast.Store)]


def own_attributes(tree: ast.AST) -> set[str]:
    """Names of the attributes that the classes of a file declare, or set on `self`."""
    names = set()
    for kind in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        names |= {part.attr for part in set_attributes(kind) if ast.unparse(part.value) == "self"}
        names |= {node.target.id for node in kind.body if isinstance(node, ast.AnnAssign)}
        names |= {part.id for node in kind.body if isinstance(node, ast.Assign) for part in node.targets}
    return names


def made_here(function: ast.AST) -> set[str]:
    """Local names of objects that a function has just made: by a class, `__new__` or a copy."""
    names = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            maker = ast.unparse(node.value.func).rpartition(".")[2]
            if maker[:1].isupper() or maker in ("__new__", "deepcopy", "copy"):
                parts = (part for target in node.targets for part in ast.walk(target))
                names |= {part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
    return names


def set_from_outside(sources: dict[str, str]) -> list[str]:
    """Assignments to attributes that classes of `sources` have, by anything but `self` or what made the object."""
    trees = {name: ast.parse(source) for name, source in sources.items()}
    own = set().union(*map(own_attributes, trees.values()))
    found = {}
    for name, tree in trees.items():
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            inside = {"self", "cls", *made_here(function)}
            for part in set_attributes(function):
                if part.attr in own and ast.unparse(part.value) not in inside:
                    found[f"{name}: {ast.unparse(part.value)}", part.lineno] = f"{ast.unparse(part)}"
    return [f"{place} ({line}): {target}" for (place, line), target in found.items()]


def test_no_attribute_is_set_from_outside():
    files = tracked(*(f"{folder}/*.py" for folder in FOLDERS))
    found = set_from_outside({str(path.relative_to(ROOT)): path.read_text() for path in files})
    used = {allowed for allowed in ALLOWED for place in found if place.startswith(allowed)}
    assert not [place for place in found if not place.startswith(tuple(ALLOWED))]
    assert used == ALLOWED.keys()


def test_attributes_that_are_set_from_outside_are_found():
    source = (
        "class A:\n    size: int\n\n    def f(self, other, library):\n        self.x = A()\n        self.x.size = 1\n"
        "        other.x += 1\n        made = A()\n        made.size = 2\n        library.option = 3\n"
    )
    assert set_from_outside({"a.py": source}) == ["a.py: self.x (6): self.x.size", "a.py: other (7): other.x"]


def unordered(source: str) -> list[int]:
    """Lines of `parametrize` over a set that is not sorted: its order differs between workers of pytest-xdist."""
    found = []
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        if getattr(call.func, "attr", "") != "parametrize" or len(call.args) < 2:
            continue
        parts = iterated(call.args[1])
        sets = [isinstance(part, ast.Set | ast.SetComp) or called(part) in ("set", "frozenset") for part in parts]
        found += [call.lineno] if any(sets) else []
    return found


def called(node: ast.expr) -> str:
    """Name of the function that an expression calls."""
    return getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""


def iterated(values: ast.expr) -> list[ast.expr]:
    """The expression, the operands of a difference or union, and what a comprehension or an unpacking runs over."""
    inside: list[ast.expr] = []
    if isinstance(values, ast.BinOp):
        inside = [values.left, values.right]
    elif isinstance(values, ast.ListComp | ast.GeneratorExp):
        inside = [one.iter for one in values.generators]
    elif isinstance(values, ast.List | ast.Tuple):
        inside = [one.value for one in values.elts if isinstance(one, ast.Starred)]
    return [values, *(part for one in inside for part in iterated(one))]


def test_no_test_is_parametrized_over_a_set():
    files = tracked("tests/*.py")
    found = [f"{path.relative_to(ROOT)}:{line}" for path in files for line in unordered(path.read_text())]
    assert len(files) > 100 and not found


def test_sets_are_found_in_parameters():
    wrong = ["set(A) - {1}", "{1, 2}", "[x for x in {1, 2}]", "[*{1, 2}]", "{x for x in A}", "set(A) | B"]
    right = ["sorted({1, 2})", "[{1, 2}, {3}]", "[x for x in A if x not in {1}]", "A"]
    assert [bool(unordered(f"pytest.mark.parametrize('x', {one})")) for one in wrong] == [True] * len(wrong)
    assert not any(unordered(f"pytest.mark.parametrize('x', {one})") for one in right)


# Lines on the terminal are as wide as it is ---------------------------------------------------------------------------

PRINTING = {
    "callbacks/terminal.py": "wraps",
    "commands/answers.py": "an error is one line",
    "commands/backbones/command.py": "a table",
    "commands/check/command.py": "a page with tables, wrapped",
    "commands/early_checks.py": "before what takes seconds to import",
    "commands/main.py": "an error is one line",
    "commands/tune/command.py": "YAML",
}
"""File -> reason for `print` in place of `print_line`, which wraps."""


def test_lines_on_the_terminal_are_wrapped():
    calls = [
        str(path.relative_to(ROOT))
        for path in tracked(*(f"{folder}/*.py" for folder in FOLDERS))
        for node in ast.walk(ast.parse(path.read_text()))
        if called(node) == "print"
    ]
    assert set(calls) == PRINTING.keys()
