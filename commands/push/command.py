"""`python cli.py push --ckpt_path RUN --repo OWNER/NAME`: a trained backbone on the Hugging Face hub."""

import shutil
from contextlib import suppress
from pathlib import Path

from huggingface_hub import HfApi, constants, get_token

from callbacks.terminal import print_line
from commands.arguments import without
from commands.next_commands import command_line
from commands.overview import program
from commands.own_options import OwnOptions
from commands.push.card import Pushed, card
from commands.push.reading import Trained, read_run
from modules.backbones.lora import merged
from modules.contracts import ConfigError, DataError, from_here, writing
from modules.contracts.repositories import check_repository
from modules.training.checkpoint_file import read_checkpoint
from modules.training.hub import CONFIG, WEIGHTS, explained
from modules.training.timm_format import Format, write_format
from tasks import Classification, Task, VisionTask

FILES = ("README.md", CONFIG, WEIGHTS, "classifier.safetensors", "config.yaml", "results.json")
"""Files that go up, those of them that there are."""


class Parser(OwnOptions):
    """The command's own options."""

    def __init__(self) -> None:
        super().__init__(
            f"{program()} push",
            f"{program()} push --ckpt_path RUN --repo OWNER/NAME [--dry_run] [--private] [--license NAME]",
            "Puts the backbone of a run, of a classification with its classifier, on the Hugging Face hub, so that "
            "plain timm.create_model('hf-hub:OWNER/NAME') loads it, with a model card written from the run's results. "
            "Before that, timm's answers are compared with ours.",
            "The token is HF_TOKEN's, or that of `hf auth login`.",
        )
        self.add_argument("--ckpt_path", required=True, help="run directory of a fit, or a checkpoint in it")
        self.add_argument("--repo", required=True, help="OWNER/NAME; made where there is none")
        self.add_flag("--dry_run", "write the folder and send nothing")
        self.add_flag("--private", "make the repository a private one")
        self.add_argument("--license", help="license of the weights as the hub names it, such as apache-2.0")
        self.add_argument("--out", type=Path, help="folder of the files that go up; default hub in the run directory")


def push(argv: list[str]) -> None:
    """Run the `push` command with the arguments after its name.

    Raises:
        ConfigError: no such option, no name of a repository, no token, or a run without a backbone.
        DataError: no run with results, or the hub cannot be reached or refuses.
    """
    typed = Parser().parse_args(argv)
    check_repository(typed.repo, "--repo")
    token = None if typed.dry_run else get_token()
    if not typed.dry_run and not token:
        raise ConfigError(
            "push needs a token of the Hugging Face hub: set HF_TOKEN or run `hf auth login`; --dry_run writes the "
            "folder without one"
        )
    run = read_run(typed.ckpt_path)
    folder = typed.out.expanduser() if typed.out else run.folder / "hub"
    for line in write_folder(run, folder, typed.repo, typed.license):
        print_line(line)
    if token is None:
        print_line(f"next: {command_line('push', *without(argv, '--dry_run'))}")
    else:
        print_line(f"pushed: {upload(folder, typed.repo, token, typed.private)}")


def write_folder(run: Trained, folder: Path, repository: str, license: str | None) -> list[str]:
    """Write the files that go up; returns lines about them.

    Args:
        run: with its results.
        folder: made if it is not there.
        repository: OWNER/NAME.
        license: as the hub names it.

    Raises:
        ConfigError: the run has no backbone.
        DataError: the folder cannot be written.
    """
    settings = read_checkpoint(run.checkpoint).get("hyper_parameters", {})
    given = {"compile": False} if settings.get("compile") else {}  # nothing is compiled to be copied
    task = Task.load_from_checkpoint(run.checkpoint, map_location="cpu", **given).eval()
    if not isinstance(task, VisionTask):
        raise ConfigError(f"push takes runs with a backbone, but a {type(task).__name__} has none")
    backbone, head = merged(task.exported), task.head if isinstance(task, Classification) else None
    _check_own(folder)
    try:
        with writing(folder, "--out"):
            folder.mkdir(parents=True, exist_ok=True)
            _remove(folder)
            classes = task.classes if head is not None else None
            found = write_format(folder, backbone, head, classes, _size(run))
            text = card(Pushed(repository, run, backbone, classes, found, license))
            (folder / "README.md").write_text(text, encoding="utf-8", errors="replace")
            for name in ("config.yaml", "results.json"):
                if (run.folder / name).is_file():
                    shutil.copyfile(run.folder / name, folder / name)
    except BaseException:  # a full disk, Ctrl-C: half of the files would be refused as those of others
        with suppress(OSError):
            _remove(folder)
        raise
    names = [name for name in FILES if (folder / name).is_file()]
    return [
        f"{backbone.name} of {from_here(run.checkpoint)}: {_said(found, classes)}",
        f"written: {from_here(folder)}/  ({', '.join(names)})",
    ]


def _remove(folder: Path) -> None:
    for name in FILES:
        (folder / name).unlink(missing_ok=True)


def _check_own(folder: Path) -> None:
    """Check that files which would be replaced are of an earlier push.

    Raises:
        ConfigError: there are others, such as those of a run or a README.md of a project.
    """
    there = [name for name in FILES if (folder / name).exists()]
    if there and not {CONFIG, WEIGHTS} <= set(there):
        raise ConfigError(f"--out {folder} holds a {there[0]} that push did not write: choose another folder")


def _said(found: Format, classes: list[str] | None) -> str:
    """A sentence on what plain timm makes of the folder."""
    if not found.timm:
        return f"plain tensors, which timm alone does not load: {found.reason}"
    what = f"logits of {len(classes)} classes" if classes and found.classifier else "features"
    more = f"; the classifier lies beside them: {found.reason}" if classes and not found.classifier else ""
    return f"in timm's format; plain timm gives the same {what} (largest difference {found.difference:.0e}){more}"


def _size(run: Trained) -> tuple[int, int] | None:
    """Height and width of the images that the run was trained for, where they have one size."""
    size = ((run.settings.get("data") or {}).get("init_args") or {}).get("image_size")
    if isinstance(size, int):
        return size, size
    return (size[0], size[1]) if isinstance(size, list) and len(size) == 2 else None


def upload(folder: Path, repository: str, token: str, private: bool) -> str:
    """Upload the files of a folder; returns the address of the repository.

    Raises:
        DataError: the hub cannot be reached or refuses, or the repository is public and should be private.
    """
    hub = HfApi(token=token, library_name="graft")
    with explained(repository):
        hub.create_repo(repository, private=private or None, exist_ok=True)
        if private and not hub.model_info(repository).private:
            raise DataError(
                f"{repository} is public, and --private makes only new repositories private: change that in its "
                f"settings on {constants.ENDPOINT}/{repository}, or choose another name"
            )
        try:
            hub.upload_folder(
                repo_id=repository, folder_path=folder, allow_patterns=list(FILES), commit_message="Push by Graft"
            )
        except RuntimeError as error:  # of the hub's storage, which has no type of its own
            said = " ".join(str(error).split())[:200]
            raise DataError(
                f"the upload to {repository} was broken off ({said}): type the same command again"
            ) from error
    return f"{constants.ENDPOINT}/{repository}"
