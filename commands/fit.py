"""The commands fit, validate, test and predict on LightningCLI; `evaluate` and `compare` build on them.

Precedence of settings: typed options, then those stored in a checkpoint, then the YAML.
"""

import json
import os
import shlex
import sys
import warnings
from inspect import signature
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.utilities import rank_zero_only

import callbacks
import datamodules
import tasks
from callbacks.loggers.facts import Facts, tags_of
from callbacks.run_directory import RunDirectory, new_path
from callbacks.summary import Summary
from commands.after_fit import export_and_test, say_untrained
from commands.arguments import LISTS, as_list, configs_first, flatten, parse_known, run_name, without
from commands.checkpoints import first_saved, resolve_starts, resume_or_start
from commands.cluster import launched
from commands.errors import readable
from commands.explain.trainer import Trainer
from commands.export.exported import answer_by, in_words, read_exported
from commands.handed_on import check_folds, typed_data
from commands.home import expand_home
from commands.linking import check_views, link, set_whole_images
from commands.next_commands import command_line, next_commands
from commands.overview import usage
from commands.parser import Parser, Refused, ends_by_itself, show_values, typed_classes
from commands.processes import Terminated, explain, finish
from commands.resume import choose_precision, print_changes, settings_before, write_settings
from commands.setting_checks import check_seed, check_settings, check_trainer
from commands.trained import read_trained, settings_for, unrestorable
from commands.trainer import add_loggers, build_trainer
from commands.training_options import add_training_options, check_task, check_training_options, keep_found
from modules.contracts import ConfigError


class CLI(LightningCLI):
    """LightningCLI plus the run directory, links from data to model, and checkpoints; trusts code in `named` too."""

    def __init__(self, argv: list[str], named: tuple[str, ...] = ()):
        self.name, self.typed = run_name(argv), argv
        if parse_known(argv).ckpt_path == "auto":
            argv = resume_or_start(argv, self.name)
        more, (self.trained, self.exported, argv) = [], read_exported(argv)
        if parse_known(argv).ckpt_path:
            self.trained = read_trained(argv, self.name)
            argv = [*without(argv, "--ckpt_path"), "--ckpt_path", str(self.trained.path)]
        if self.trained:
            self.name = self.trained.name
            more = [settings_for(self.trained, argv, named)] if argv[0] != "fit" else []
        sys.argv[1:] = argv  # for the processes of the other devices
        self.help = bool({"-h", "--help"} & set(argv))  # for the classes at hand, with the values of the YAML
        self.argv = [argv[0], "--help"] if self.help else configs_first(argv, *more)
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
            parser_kwargs={
                argv[0]: {
                    "usage": usage(argv[0]),
                    "description": "More settings: --model.help CLASS, --data.help CLASS, --model.head.help CLASS.",
                }
            },
        )

    def add_core_arguments_to_parser(self, parser: Parser) -> None:
        """Add task and data; the trainer's forty settings come last."""
        classes = typed_classes(self.typed) if self.help else {}
        for section, base in (("model", tasks.Task), ("data", datamodules.DataModule)):
            if section in classes:
                parser.add_class_arguments(classes[section], section, fail_untyped=False)
            else:
                parser.add_lightning_class_args(base, section, subclass_mode=True)

    def add_arguments_to_parser(self, parser: Parser) -> None:
        parser.add_argument("--run_dir", type=str | None, default=None, help="output folder; default runs/NAME/TIME")
        text = "a .ckpt file, a run directory or `latest`; fit resumes it, and `auto` does if there is one"
        parser.add_argument("--ckpt_path", type=str | None, default=None, help=text)
        add_training_options(parser)
        add_loggers(parser)
        parser.add_lightning_class_args(callbacks.Checkpoint, "checkpoint")
        parser.add_lightning_class_args(callbacks.Figures, "figures")
        parser.add_lightning_class_args(callbacks.Predictions, "predictions")
        own, skip = self.typed[0] in ("evaluate", "explain"), {"model", "datamodule", "ckpt_path", "exported"}
        self.own = parser.add_method_arguments(Trainer, self.typed[0], as_group=False, skip=skip) if own else []
        parser.add_lightning_class_args(Trainer, "trainer")
        usual = {"trainer.max_epochs": 10, "trainer.log_every_n_steps": 10, "trainer.num_sanity_val_steps": 0}
        parser.set_defaults(usual)
        if self.help:
            show_values(parser, self.typed)

    def subcommands(self) -> dict[str, set[str]]:
        """The command at hand, because parsers of others take time; its own arguments are added above."""
        command = self.argv[0]
        return {command: set(signature(getattr(Trainer, command)).parameters)}

    def _set_seed(self) -> None:
        check_seed(self._get(self.config, "seed_everything"))
        super()._set_seed()

    def parse_arguments(self, parser: Parser, args: None) -> None:
        for name in LISTS.get(self.argv[0], ()) if self.argv else ():
            self.argv = as_list(self.argv, name)
        try:
            self.config = expand_home(parser.parse_args(self.argv))
        except (Refused, SystemExit) as error:
            if isinstance(error, SystemExit) and ends_by_itself(error):
                raise
            raise ConfigError(readable(str(error), self._parser(self.argv[0]), self.argv[1:])) from error

    def _parse_ckpt_path(self) -> None:
        """Do nothing: Lightning would put the checkpoint above typed options; `configs_first` put it below."""

    def instantiate_classes(self) -> None:
        self.build_parts()
        self.directory = self._run_directory()
        try:
            self.config_init = self.config.clone()
            rest = Namespace({k: v for k, v in self.settings.items(branches=False) if k not in ("model", "data")})
            parts = self.config_init[self.subcommand] = self._parser(self.subcommand).instantiate(rest)
            check_trainer(dict(parts.trainer.items(branches=False)), self.model)
            typed, seed = shlex.split(command_line(*self.typed)), self.settings.seed_everything
            self.summary = Summary(self.name, self.subcommand, typed, seed, self.precision_reason)
            self.trainer = build_trainer(parts, self.summary, self.directory, self._facts())
        except BaseException:
            self.directory.release(failed=True)
            raise

    def _facts(self) -> Facts:
        return Facts(str(self.subcommand), command_line(*self.typed), tags_of(self.model))

    def build_parts(self) -> None:
        """Check the settings, and build data and model from them."""
        self.settings = self.config[self.subcommand]
        check_settings(self.settings, self.argv)
        if self.settings.ckpt_path and not self.trained:
            raise ConfigError(f"ckpt_path {self.settings.ckpt_path} stands in a YAML: type it as --ckpt_path")
        resolve_starts(self.settings.model.init_args)
        before = settings_before(self.trained) if self.trained and self.subcommand == "fit" else {}
        self.precision_reason = choose_precision(self.settings.trainer, before, in_words(self.exported), self.typed)
        check_training_options(str(self.subcommand), self.settings, self.typed, self.trained, before)
        check_folds(str(self.subcommand), self.settings.data, self.trained.settings["data"] if self.trained else {})
        if before:
            print_changes(yaml.safe_load(self._dump()), before)
        parser = self._parser(self.subcommand)
        self.datamodule = parser.instantiate(Namespace(data=self.settings.data)).data
        self.datamodule.adopt(self.trained.meaning if self.trained else {}, typed_data(self.typed)[1])
        known = self.trained.settings["model"].get("init_args", {}) if self.trained else {}
        link(self.settings, self.datamodule, known, self.checkpoint, judging=self.subcommand == "evaluate")
        self.model = parser.instantiate(Namespace(model=self.settings.model)).model
        if self.subcommand == "fit":
            check_task(self.model, self.settings, before)
            check_views(self.model, self.datamodule)
        set_whole_images(self.model, self.datamodule, str(self.subcommand), typed_data(self.typed)[1])
        answer_by(None if self.subcommand == "explain" else self.exported, self.model, self.datamodule)

    def _dump_config(self) -> None:
        """Note what data and model save as their settings, for each anew: linking changes the model's in between."""
        parts = Namespace(data=self.settings.data, model=self.settings.model)
        text = self._parser(self.subcommand).dump(parts, "json", skip_none=False, skip_validation=True)
        self.config_dump = json.loads(text)

    @property
    def checkpoint(self) -> Path | None:
        """File of --ckpt_path."""
        return self.trained.path if self.trained and not self.exported else None

    def _run_directory(self) -> RunDirectory:
        resumed = self.subcommand == "fit" and bool(self.trained) and self.checkpoint.parent.name == "checkpoints"
        path = os.environ.get("GRAFT_RUN_DIR") if launched() else self.settings.run_dir
        fresh = not path and not resumed
        if not path:
            suffix = "" if self.subcommand == "fit" else f"_{self.subcommand}"
            path = self.checkpoint.parent.parent if resumed else new_path(self.name, suffix)
        resumed = resumed and Path(path).resolve() == self.checkpoint.parent.parent.resolve()
        restarted = not resumed and parse_known(self.typed).ckpt_path == "auto"
        directory = RunDirectory(Path(path), self._save_config, resumed, restarted, fresh)
        if rank_zero_only.rank == 0:
            directory.claim()
            os.environ["GRAFT_RUN_DIR"] = str(directory.path)  # for the processes that a DDP launch starts
        return directory

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = {"model": self.model, "datamodule": self.datamodule, "ckpt_path": self.checkpoint}
        if self.own:
            file = {"exported": self.exported} if subcommand == "explain" else {}
            return {k: self.config_init[subcommand][k] for k in self.own} | kwargs | file
        kwargs["weights_only"] = True
        return kwargs | {"fit": {}, "predict": {"return_predictions": False}}.get(subcommand, {"verbose": False})

    def _run_subcommand(self, subcommand: str) -> None:
        if subcommand != "fit":  # Lightning asks for the callbacks of the training
            warnings.filterwarnings("ignore", message=".*using `ckpt_path`, callbacks.*")
        failed = True
        try:
            found = getattr(self.trainer, subcommand)(**self._prepare_subcommand_kwargs(subcommand))
            if subcommand != "fit" and self.trained:
                self.summary.results.set_weights(self.trained.path.stem, self.trained.epoch, in_words(self.exported))
            if self.own:
                self.summary.set_rows([result._asdict() for result in found])
            if subcommand == "fit":
                if self.checkpoint and not self.directory.used:
                    say_untrained(self.trainer, self.checkpoint, self.directory.resumed)
                self.after_fit()
            following = next_commands(self.typed, self.directory.path, self.model, self.datamodule)
            self.summary.print_results(self.trainer, following)
            failed = False
            finish(self.trainer)
        except BaseException as error:
            if isinstance(error, Terminated) and subcommand == "fit":
                error.set_saved(first_saved(self.directory.path, "last"))
            if isinstance(error, callbacks.Stopped | Terminated):
                self.summary.say_loggers(self.trainer)
            lost = explain(self.trainer, error, str(self.directory.path))
            if said := lost or unrestorable(error, self.checkpoint):
                raise said from error
            raise
        finally:
            for logger in self.trainer.loggers:
                logger.finalize("finished")
            self.directory.release(failed)

    def after_fit(self) -> None:
        export_and_test(self.trainer, self.model, self.datamodule, self.summary.results)

    @rank_zero_only
    def _save_config(self) -> None:
        """Write config.yaml, which reproduces the run; the same goes to W&B and every other logger of settings."""
        keep_found(self.trainer, self.settings)
        text = self._dump()
        settings = yaml.safe_load(text)
        if write_settings(self.directory.path / "config.yaml", command_line(*self.typed), text, settings, self.trained):
            for logger in self.trainer.loggers:
                logger.log_hyperparams(flatten(settings))

    def _dump(self) -> str:
        settings = self.settings.clone()
        settings.pop("config", None)
        settings.ckpt_path = settings.run_dir = None
        if "tokenizers" in settings.model.init_args:
            settings.model.init_args.tokenizers = None  # thousands of pieces, which the checkpoint holds
        return self._parser(self.subcommand).dump(settings, skip_none=False, skip_validation=True)  # parsed is checked
