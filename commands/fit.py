"""The commands fit, validate, test and predict on LightningCLI; `evaluate` and `compare` build on them.

Precedence of settings: typed options, then those stored in a checkpoint, then the YAML.
"""

import json
import os
import re
import shlex
import sys
import warnings
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only

import callbacks
import datamodules
import tasks
from callbacks.run_directory import RunDirectory, new_path
from callbacks.summary import Summary
from commands.after_fit import export_and_test
from commands.arguments import (
    COMMANDS,
    as_lists,
    config_path,
    flatten,
    option,
    replace_option,
    run_name,
    typed_task,
)
from commands.checkpoints import (
    check_weights,
    checkpoint_name,
    find_checkpoint,
    remembered,
    resolve_weights,
    resume_or_start,
)
from commands.cluster import launched
from commands.errors import readable
from commands.evaluate import Trainer
from commands.handed_on import handed_on, typed_data
from commands.home import expand_home
from commands.linking import link
from commands.next_commands import next_commands
from commands.parser import Parser, Refused
from commands.processes import Terminated, explain, finish
from commands.resume import choose_precision, print_changes, settings_before
from commands.setting_checks import check_nulls, check_trainer
from commands.trainer import build_trainer
from modules.contracts import ConfigError, writing
from modules.training.transfer import read_checkpoint


class CLI(LightningCLI):
    """LightningCLI plus the run directory, class names from data to model, and checkpoints that keep their place."""

    def __init__(self, argv: list[str]):
        self.checkpoint: Path | None = None
        self.epoch = 0  # the checkpoint's
        self.remembered: dict[str, Any] = {}
        self.meaning: dict[str, Any] = {}
        self.name, self.typed = run_name(argv), argv
        self.argv = self._with_checkpoint(argv)
        # for the processes of the other devices, without the checkpoint's settings, which are too long for some systems
        path = str(self.checkpoint) if self.checkpoint else None
        sys.argv[1:] = replace_option(self.typed, "--ckpt_path", path) if option(argv, "--ckpt_path") else argv
        super().__init__(
            tasks.Task,
            datamodules.DataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            trainer_class=Trainer,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            parser_class=Parser,
            parser_kwargs={"description": "Two more commands have their own help: compare --help, backbones --help"},
            trainer_defaults={"max_epochs": 10, "log_every_n_steps": 10, "num_sanity_val_steps": 0},
        )

    # Arguments -------------------------------------------------------------------------------------------------------

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--run_dir", type=str | None, default=None, help="output folder of the run; default runs/NAME/TIME"
        )
        parser.add_argument(
            "--tensorboard", type=bool, default=False, help="also log to TensorBoard, in the run directory"
        )
        parser.add_lightning_class_args(callbacks.Checkpoint, "checkpoint")
        parser.add_lightning_class_args(callbacks.Figures, "figures")
        parser.add_lightning_class_args(callbacks.Predictions, "predictions")

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        skipped = {
            "model",
            "datamodule",
            "dataloaders",
            "train_dataloaders",
            "val_dataloaders",
            "weights_only",
            "verbose",
            "return_predictions",
        }
        return dict.fromkeys(COMMANDS, skipped)

    def _set_seed(self) -> None:
        seed = self._get(self.config, "seed_everything")
        if seed < 0 or seed >= 2**32:
            raise ConfigError(f"seed_everything is {seed}, but a seed is a whole number from 0 to {2**32 - 1}")
        super()._set_seed()

    def parse_arguments(self, parser: LightningArgumentParser, args: None) -> None:
        lists = ("--label_fractions", "--num_neighbors") if self.argv[:1] == ["evaluate"] else ()
        words = as_lists(self.argv, lists)
        try:
            self.config = expand_home(parser.parse_args(words))
        except Refused as refused:
            raise ConfigError(readable(str(refused), self._parser(words[0]), words[1:])) from refused

    def _with_checkpoint(self, argv: list[str]) -> list[str]:
        """Resolve --ckpt_path; outside of fit, insert the checkpoint's settings between the YAML and typed options."""
        if option(argv, "--ckpt_path") == "auto":
            argv = resume_or_start(argv, self.name)
        command, typed = argv[0] if argv else "", option(argv, "--ckpt_path")
        if typed in (None, "null"):
            check_weights(argv, self.name)
            return argv
        self.checkpoint = find_checkpoint(typed, self.name, resume=command == "fit")
        checkpoint = read_checkpoint(self.checkpoint)
        exported = command == "fit" or not _pretraining(checkpoint) or self.checkpoint.name == callbacks.AVERAGED
        if not exported:  # pretraining exports its last weights
            self.checkpoint = find_checkpoint(typed, self.name, resume=True)
            checkpoint = read_checkpoint(self.checkpoint)
        argv = replace_option(argv, "--ckpt_path", str(self.checkpoint))
        self.epoch = checkpoint.get("epoch", 0)
        trained = checkpoint.get("datamodule_hyper_parameters", {}).get("_class_path", "")
        self.meaning = checkpoint.get(trained.rpartition(".")[2], {})  # classes and colors of the values in masks
        self.remembered = {
            "model": remembered(checkpoint.get("hyper_parameters", {})),
            "data": remembered(checkpoint.get("datamodule_hyper_parameters", {})),
        }
        asked, task = typed_task(argv), checkpoint.get("task", "another program")
        if not asked and config_path(argv) is None:
            self.name = checkpoint_name(self.checkpoint, task)
        if asked and asked != task:
            raise ConfigError(
                f"{self.checkpoint} is a checkpoint of {task}, but this command is about {asked}; "
                f"to start from its backbone use --model.weights {shlex.quote(typed)}"
            )
        if command == "fit":
            return argv
        if option(argv, "--model.weights") not in (None, "null"):
            raise ConfigError(f"{command} is about the weights of --ckpt_path: leave --model.weights out")
        if "weights" in (known := self.remembered["model"].get("init_args", {})):
            known["weights"] = None  # the checkpoint holds them
        after_configs = max(
            (i + (1 if "=" in a else 2) for i, a in enumerate(argv) if re.fullmatch(r"(-c|--config)(=.*)?", a)),
            default=1,
        )
        data = handed_on(self.remembered["data"], argv)
        if command == "predict" and (typed := {"label_fraction", "num_labels", "val_split"} & typed_data(argv)[1]):
            name = min(typed)
            raise ConfigError(f"data.{name} is about training, but predict takes every sample: leave --data.{name} out")
        known = json.dumps({k: v for k, v in (self.remembered | {"data": data}).items() if v})
        return [*argv[:after_configs], "--config", known, *argv[after_configs:]]

    def _parse_ckpt_path(self) -> None:
        """Do nothing: Lightning would put the checkpoint above typed options; `_with_checkpoint` put it below."""

    # Parts -----------------------------------------------------------------------------------------------------------

    def instantiate_classes(self) -> None:
        self.settings = self.config[self.subcommand]
        for name in ("model", "data"):
            check_nulls(name, self.settings[name])
        if self.settings.ckpt_path and not self.checkpoint:
            raise ConfigError(f"ckpt_path {self.settings.ckpt_path} stands in a YAML: type it as --ckpt_path")
        for name in ("weights", "self_critical"):
            if self.settings.model.init_args.get(name):
                self.settings.model.init_args[name] = resolve_weights(self.settings.model.init_args[name])
        resumed = self.checkpoint and self.subcommand == "fit"
        before = settings_before(self.checkpoint, self.remembered) if resumed else {}
        self.precision_reason = choose_precision(self.settings.trainer, before)
        print_changes(yaml.safe_load(self._dump()), before)
        parser = self._parser(self.subcommand)
        self.datamodule = parser.instantiate(Namespace(data=self.settings.data)).data
        self.datamodule.adopt(self.meaning, typed_data(self.typed)[1])
        known = self.remembered.get("model", {}).get("init_args", {})
        link(self.settings, self.datamodule, known, self.checkpoint, judging=self.subcommand == "evaluate")
        del self.config_dump  # cached before the classes were known
        self.model = parser.instantiate(Namespace(model=self.settings.model)).model
        self._check_views()
        self.datamodule.set_letterbox(self.model.letterbox)
        self.directory = self._run_directory()
        try:
            self.config_init = self.config.clone()
            rest = Namespace({k: v for k, v in self.settings.items(branches=False) if k not in ("model", "data")})
            parts = self.config_init[self.subcommand] = parser.instantiate(rest)
            check_trainer(dict(parts.trainer.items(branches=False)), self.model)
            seed, reason = self.settings.seed_everything, self.precision_reason
            self.summary = Summary(self.name, self.subcommand, self.typed, seed, reason)
            self.trainer = build_trainer(parts, self.summary, self.directory)
        except BaseException:
            self.directory.release(failed=True)
            raise

    def _check_views(self) -> None:
        """Check that the data gives as many views of each image as the task trains on, in sizes its backbone takes."""
        (least, most), given = self.model.views, self.datamodule.view_count
        if self.subcommand == "fit" and not least <= given <= most:
            wanted = f"{least}{' or more' if most > least else ''} view{'s' * (most > 1)}"
            local = " and --data.local_views 0" if given > most else ""
            raise ConfigError(
                f"{type(self.model).__name__} trains on {wanted} of each image, but the data gives {given}: "
                f"set --data.views {least}{local}"
            )
        if self.subcommand == "fit" and isinstance(self.model, tasks.VisionTask):
            self.model.check_sides(self.datamodule.sides)

    def _run_directory(self) -> RunDirectory:
        resumed = (
            self.subcommand == "fit" and self.checkpoint is not None and self.checkpoint.parent.name == "checkpoints"
        )
        path = os.environ.get("GRAFT_RUN_DIR") if launched() else self.settings.run_dir
        if not path:
            suffix = "" if self.subcommand == "fit" else f"_{self.subcommand}"
            path = self.checkpoint.parent.parent if resumed else new_path(self.name, suffix)
        resumed = resumed and Path(path).resolve() == self.checkpoint.parent.parent.resolve()
        restarted = not resumed and option(self.typed, "--ckpt_path") == "auto"
        directory = RunDirectory(Path(path), self._save_config, resumed, restarted)
        if rank_zero_only.rank == 0:
            directory.claim()
            os.environ["GRAFT_RUN_DIR"] = str(directory.path)  # for the processes that a DDP launch starts
        return directory

    # Running ---------------------------------------------------------------------------------------------------------

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = {
            "model": self.model,
            "datamodule": self.datamodule,
            "ckpt_path": self.checkpoint,
        }
        if subcommand == "evaluate":
            own = self._subcommand_method_arguments[subcommand]
            return {k: self.config_init[subcommand][k] for k in own} | kwargs
        kwargs["weights_only"] = True
        return kwargs | {"fit": {}, "predict": {"return_predictions": False}}.get(subcommand, {"verbose": False})

    def _run_subcommand(self, subcommand: str) -> None:
        if subcommand != "fit":  # Lightning asks for the callbacks of the training
            warnings.filterwarnings("ignore", message=".*using `ckpt_path`, callbacks.*")
        failed = True
        try:
            found = getattr(self.trainer, subcommand)(**self._prepare_subcommand_kwargs(subcommand))
            if subcommand != "fit" and self.checkpoint:
                self.summary.results.set_weights(self.checkpoint.stem, self.epoch)
            if subcommand == "evaluate":
                self.summary.set_rows([result._asdict() for result in found])
            commands = ()
            if subcommand == "fit":
                self.after_fit()
                commands = next_commands(self.typed, self.directory.path, self.model, self.datamodule)
            self.summary.print_results(self.trainer, commands)
            failed = False
            finish(self.trainer)
        except BaseException as error:
            if isinstance(error, Terminated) and subcommand == "fit":
                error.set_saved(self._last_checkpoint())
            if isinstance(error, callbacks.Stopped | Terminated):
                self.summary.say_loggers(self.trainer)
            if lost := explain(self.trainer, error, str(self.directory.path)):
                raise lost from error
            raise
        finally:
            for logger in self.trainer.loggers:
                logger.finalize("finished")
            self.directory.release(failed)

    def _last_checkpoint(self) -> Path | None:
        path = self.directory.path / "checkpoints" / "last.ckpt"
        return path if path.is_file() else None

    def after_fit(self) -> None:
        export_and_test(self.trainer, self.model, self.datamodule, self.summary.results)

    @rank_zero_only
    def _save_config(self) -> None:
        """Write config.yaml, which reproduces the run; the same goes to W&B and every other logger of settings."""
        text = self._dump()
        path = self.directory.path / "config.yaml"
        if path.exists():  # written by the run that is resumed
            if yaml.safe_load(path.read_text()) == yaml.safe_load(text):
                return
            with writing(path):
                path.replace(path.with_name(f"config_until_epoch_{self.epoch + 1}.yaml"))
        with writing(path):
            path.write_text(f"# python cli.py {shlex.join(self.typed)}\n{text}")
        for logger in self.trainer.loggers:
            logger.log_hyperparams(flatten(yaml.safe_load(text)))

    def _dump(self) -> str:
        settings = self.settings.clone()
        settings.pop("config", None)
        settings.ckpt_path = settings.run_dir = None
        if "tokenizers" in settings.model.init_args:
            settings.model.init_args.tokenizers = None  # thousands of pieces, which the checkpoint holds
        return self._parser(self.subcommand).dump(settings, skip_none=False)


def _pretraining(checkpoint: dict[str, Any]) -> bool:
    task = vars(tasks).get(checkpoint.get("task", ""))
    return isinstance(task, type) and task.pretraining
