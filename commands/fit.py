"""The commands fit, validate, test and predict on LightningCLI; `evaluate` and `compare` build on them.

Precedence of settings: typed options, then those stored in a checkpoint, then the YAML.
"""

import json
import logging
import os
import re
import shlex
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import Namespace, set_dumper
from jsonargparse.typing import register_type
from lightning.pytorch.callbacks import ProgressBar, StochasticWeightAveraging, WeightAveraging
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException

import callbacks
import datamodules
import modules.heads
import modules.heads.detection
import modules.necks
import modules.temporal  # short names in YAML
import modules.text.recurrent
import modules.text.show_attend_tell
import modules.text.transformer  # noqa: F401
import tasks
from callbacks.loggers.build import build_loggers
from callbacks.loggers.fault_tolerant import fault_tolerant
from callbacks.progress import make_progress
from callbacks.run_directory import RunDirectory, new_path
from callbacks.summary import Summary
from callbacks.weight_averaging import AveragingAfterTraining
from commands.arguments import (
    COMMANDS,
    as_lists,
    check_encodings,
    check_weights,
    checkpoint_name,
    config_path,
    find_checkpoint,
    flatten,
    located,
    option,
    remembered,
    replace_option,
    resume_or_start,
    run_name,
    typed_task,
    without_none,
)
from commands.backbones.command import backbones
from commands.cluster import launched, requeue, share_out
from commands.compare import check_starts, compare, typed_plan
from commands.early_checks import check_early, nothing_saved, report
from commands.errors import check_nulls, check_trainer, readable
from commands.evaluate import Trainer
from commands.handed_on import handed_on, typed_data
from commands.home import expand_home, expand_word
from commands.linking import link
from commands.next_commands import command_line, next_commands
from commands.processes import Lost, Terminated, check_processes, ended_by_signals, explain, finish, prepare
from commands.yaml_text import dump_yaml
from datamodules.workers import worker_error
from modules.contracts import ConfigError, DataError, writing
from modules.training.allocator import keep_freed_memory
from modules.training.precision import AUTO, choose, detect, unified
from modules.training.transfer import export_backbone, read_checkpoint
from tasks.averaging import EpochAverage, MovingAverage

set_dumper("yaml", dump_yaml)  # a class called 1e3 stays text
register_type(torch.device, deserializer_exceptions=RuntimeError)  # a default of StochasticWeightAveraging, as "cpu"


class Parser(LightningArgumentParser):
    """Argument parser whose errors are one sentence instead of usage text and exit."""

    def parse_args(self, args: list[str] | None = None, *rest: Any, **kwargs: Any) -> Namespace:
        """Accept null inside of dataclasses too, which jsonargparse hands to itself as the text "None"."""
        return super().parse_args(args if args is None else without_none(args), *rest, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> None:
        raise user_error(ex) or ConfigError(readable(message, self, sys.argv[1:])) from ex


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
        self.config = expand_home(parser.parse_args(as_lists(self.argv, lists)))

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
                self.settings.model.init_args[name] = located(self.settings.model.init_args[name])
        before = self._settings_before()
        self._choose_precision(before)
        self._check_resume(before)
        parser = self._parser(self.subcommand)
        self.datamodule = parser.instantiate(Namespace(data=self.settings.data)).data
        self.datamodule.adopt(self.meaning, typed_data(self.typed)[1])
        known = self.remembered.get("model", {}).get("init_args", {})
        link(self.settings, self.datamodule, known, self.checkpoint, judging=self.subcommand == "evaluate")
        del self.config_dump  # cached before the classes were known
        self.model = parser.instantiate(Namespace(model=self.settings.model)).model
        self._check_views()
        self.datamodule.letterbox = self.model.letterbox
        self.directory = self._run_directory()
        try:
            self.config_init = self.config.clone()
            rest = Namespace({k: v for k, v in self.settings.items(branches=False) if k not in ("model", "data")})
            self.config_init[self.subcommand] = parser.instantiate(rest)
            self.trainer = self._build_trainer()
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

    def _settings_before(self) -> dict[str, Any]:
        """Settings of the run that is resumed, as its config.yaml has them; empty for others."""
        if not (self.checkpoint and self.subcommand == "fit"):
            return {}
        file = self.checkpoint.parent.parent / "config.yaml"
        return (yaml.safe_load(file.read_text()) if file.is_file() else {}) | self.remembered  # the checkpoint wins

    def _choose_precision(self, before: dict[str, Any]) -> None:
        """Replace precision `auto` by the precision chosen here, so that config.yaml reproduces the run anywhere."""
        trainer = self.settings.trainer
        if trainer.precision == AUTO and trainer.plugins:
            self.precision_reason = "as trainer.plugins have it"  # they may hold one; the trainer looks
            return
        kind = trainer.accelerator if isinstance(trainer.accelerator, str) else trainer.accelerator.class_path
        kind = kind.rpartition(".")[2].removesuffix("Accelerator").lower()
        known = unified(before.get("trainer", {}).get("precision"))
        trainer.precision, self.precision_reason = choose(trainer.precision, kind, detect(), known)

    def _check_resume(self, before: dict[str, Any]) -> None:
        """Print the settings in which a resumed run differs from the run that was stopped."""
        if not before:
            return
        then = flatten(before, skip="init_args")
        if "trainer.precision" in then:
            then["trainer.precision"] = unified(then["trainer.precision"])
        now = flatten(yaml.safe_load(self._dump()), skip="init_args")
        linked = ("model.weights", "model.classes", "model.tokenizers")  # `link` compares the last two
        for key, before in then.items():
            after = now.get(key, now.get(f"{key}.class_path"))
            # as JSON, because tuples are saved as lists
            same = json.dumps(after, default=str) == json.dumps(before, default=str)
            if not same and key == "model.weights" and after:
                say(f"resuming with the checkpoint's weights, not with model.weights = {after}")
            elif not same and key not in linked and (key, after) != ("data.value_range", None):  # found anew
                say(f"resuming with {key} = {after} (the checkpoint had {before})")

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

    def _build_trainer(self) -> Trainer:
        config = dict(self.config_init[self.subcommand].trainer.items(branches=False))
        check_trainer(config, self.model)
        own = config.pop("logger")
        loggers = [] if own is False else [own] if isinstance(own, Logger) else own if isinstance(own, list) else []
        folder = str(self.directory.path)
        if self.subcommand == "predict":
            loggers = [fault_tolerant(logger) for logger in loggers]
        else:
            loggers = build_loggers(folder, self.settings.tensorboard, own is not False, loggers)
        self.summary = Summary(
            self.name, self.subcommand, self.typed, self.settings.seed_everything, self.precision_reason
        )
        parts = self.config_init[self.subcommand]
        speed = callbacks.SpeedMonitor()
        always = [
            callbacks.RandomState(),
            speed,
            callbacks.TerminateOnNaN(),
            callbacks.Counts(),
            parts.figures,
            parts.predictions,
            self.summary,
            parts.checkpoint,
        ]
        share_out(config, os.environ)
        if self.subcommand == "evaluate" and config["devices"] == "auto":
            config["devices"] = 1
        given = config.pop("callbacks") or []
        config["default_root_dir"] = folder
        config["enable_model_summary"] = bool(config.get("enable_model_summary"))
        given = given if isinstance(given, list) else [given]
        given = [AveragingAfterTraining(c) if type(c) is StochasticWeightAveraging else c for c in given]
        if config.get("enable_progress_bar") is not False and not any(isinstance(c, ProgressBar) for c in given):
            always.append(make_progress(speed))
            config["enable_progress_bar"] = isinstance(always[-1], ProgressBar)
        try:
            trainer = self.trainer_class(**config, logger=loggers or False, callbacks=[self.directory, *given, *always])
        except (MisconfigurationException, ValueError, TypeError, ModuleNotFoundError) as error:
            hardware = re.search("accelerator|devices|backend|Requirement", str(error))
            asked = f" with accelerator {config['accelerator']}, devices {config['devices']}" if hardware else ""
            hint = " (auto and cpu work everywhere)" if hardware else ""
            raise ConfigError(f"there is no such trainer{asked}: {error}{hint}") from error
        check_processes(trainer)
        prepare(trainer)
        return trainer

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
                self.summary.rows = [result._asdict() for result in found]
            if subcommand == "fit":
                self._finish_fit()
            fitted = subcommand == "fit"
            folder = self.directory.path
            commands = next_commands(self.typed, folder, self.model, self.datamodule) if fitted else ()
            self.summary.conclude(self.trainer, commands)
            failed = False
            finish(self.trainer)
        except BaseException as error:
            if isinstance(error, Terminated) and subcommand == "fit":
                error.saved = self._last_checkpoint()
            if isinstance(error, callbacks.Stopped | Terminated):
                self.summary.say_wandb(self.trainer)
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

    def _finish_fit(self) -> None:
        """Export the backbone of the best weights, and validate and test them."""
        self.trainer.strategy.barrier()  # until the first process has put the last checkpoint into its place
        folder = self.directory.path
        order = ("averaged", "last") if self.model.pretraining else ("averaged", "best", "last")
        found = (folder / "checkpoints" / f"{name}.ckpt" for name in order)
        chosen = next((path for path in found if path.is_file()), None)
        if chosen is None:  # fast_dev_run saves nothing
            return
        checkpoint = read_checkpoint(chosen)
        self.model.load_state_dict(checkpoint["state_dict"])
        if self.trainer.is_global_zero and self.model.backbone:
            export_backbone(
                self.model.exported,
                folder / "backbone.safetensors",
                task=type(self.model).__name__,
                epoch=checkpoint["epoch"] + 1,
            )
        self.summary.results.set_weights(chosen.stem, checkpoint["epoch"])
        tested = self.datamodule.has("test")
        if self.datamodule.has("val") and self._not_validated(chosen, tested):
            for callback in self.trainer.callbacks:
                if isinstance(callback, WeightAveraging):
                    callback._average_model = None  # it would put its newest weights in place of the chosen ones
            self.trainer.validate(self.model, datamodule=self.datamodule, verbose=False)
        if tested:
            self.trainer.test(self.model, datamodule=self.datamodule, verbose=False)

    def _not_validated(self, chosen: Path, tested: bool) -> bool:
        """True if fit ends with a validation of the chosen weights: averaged weights and those of tasks with a quicker
        validation between epochs (`quick`) have none yet, and without a test set it alone scores single samples."""
        if self.trainer.limit_val_batches == 0:
            return False
        alone = not (tested or self.model.pretraining or self.model.generative)
        return chosen.stem == "averaged" or self.model.quick or alone

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


class Compare(CLI):
    """`compare`: the configuration of a `fit`, trained by one process per initialization and seed."""

    def __init__(self, argv: list[str]):
        task = vars(tasks).get(typed_task(argv) or "")
        bare = config_path(argv) is None and option(argv, "--model") is None
        if bare and not {"-h", "--help"} & set(argv):
            raise ConfigError("compare needs a task to train: add --config, such as tasks/classification.yaml")
        if task and not issubclass(task, tasks.VisionTask):
            raise ConfigError(f"compare compares initializations of a backbone, but {task.__name__} has none")
        self.plan = typed_plan(argv[1:])
        super().__init__(["fit", *self.plan.typed, "--model.weights", "null"])

    def _run_directory(self) -> RunDirectory:
        check_starts(self.model.backbone, self.plan.starts)  # here, because nothing is written yet
        directory = RunDirectory(self.plan.folder, lambda: None, self.plan.begun)
        directory.claim()
        return directory

    def _run_subcommand(self, subcommand: str) -> None:
        settings = flatten(yaml.safe_load(self._dump()))
        try:
            compare(self.plan, self.model.monitor, self.model.mode, settings, self.trainer, self.directory)
        finally:
            self.summary.say_wandb(self.trainer)
            self.directory.release()


def _pretraining(checkpoint: dict[str, Any]) -> bool:
    task = vars(tasks).get(checkpoint.get("task", ""))
    return isinstance(task, type) and task.pretraining


def _again(argv: list[str], name: str, value: str) -> str:
    """The command that goes on with a run that was stopped; with --ckpt_path auto the same one."""
    return command_line(*(argv if option(argv, "--ckpt_path") == "auto" else replace_option(argv, name, value)))


@rank_zero_only
def say(line: str) -> None:
    if line:
        print(line, flush=True)


def say_error(sentence: str) -> None:
    if sentence:
        print(f"error: {sentence}", file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    argv = [expand_word(word) for word in (sys.argv[1:] if argv is None else argv)]
    debug = "--debug" in argv
    argv = without_none([word for word in argv if word != "--debug"])
    quiet()
    try:
        check_early(argv)
        check_encodings(argv)
        command = {"compare": Compare, "backbones": lambda argv: backbones(argv[1:])}.get("".join(argv[:1]), CLI)
        with ended_by_signals():
            command(argv)
    except callbacks.Stopped as stop:
        say(f"stopped and saved; go on with: {_again(argv, stop.option, str(stop))}")
        say(requeue(option(argv, "--ckpt_path"), stop.signal))
        return 128 + stop.signal  # as the shell counts
    except Terminated as end:
        saved = f"stopped after the last saved step; go on with: {_again(argv, '--ckpt_path', str(end.saved))}"
        say(saved if end.saved else nothing_saved(argv))
        say(requeue(option(argv, "--ckpt_path"), end.signal))
        return 128 + end.signal
    except Lost as lost:
        if debug:
            raise
        say_error(str(lost))
        return lost.code
    except Exception as error:
        cause = user_error(error)
        if debug or cause is None:
            raise
        if launched():
            time.sleep(1)  # the first process ends this one, if it has the same to say
        return report(cause)
    return 0


def user_error(error: BaseException | None) -> Exception | None:
    """The error that the user can fix, among an error and its causes; null for a fault of the program."""
    while error is not None:
        if isinstance(error, ConfigError | DataError | MisconfigurationException) or _says_lightning(error):
            return error
        if sentence := worker_error(error):
            return sentence
        error = error.__cause__ or error.__context__
    return None


def _says_lightning(error: BaseException) -> bool:
    """True for errors that Lightning itself raises, such as early stopping on a metric that is never logged."""
    raised = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    kinds = ValueError | TypeError | RuntimeError | ImportError  # the last: a package that it needs
    return (
        isinstance(error, kinds) and bool(raised) and raised[-1].startswith(("lightning.pytorch.", "lightning.fabric."))
    )


def quiet() -> None:
    """Silence the messages of Lightning and torch that appear at every start and need no action."""
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*does not round-trip.*")
    warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")  # frozen parts, averages
    warnings.filterwarnings("ignore", message=".*already exist within another group.*")  # batch norms, which train
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=".*You have overridden `on_after_batch_transfer`.*")
    warnings.filterwarnings("ignore", message=".*does not have a `batch_size`.*")
    warnings.filterwarnings("ignore", message=".*across ranks is zero.*")  # no validation set
    warnings.filterwarnings("ignore", message=".*all_gather is deprecated.*")
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")  # the data module is
    warnings.filterwarnings("ignore", message=".*SWA is currently only supported every epoch.*")  # it is told so
    own = (c.__name__ for c in (*vars(callbacks).values(), MovingAverage, EpochAverage) if isinstance(c, type))
    own = "|".join(own)  # that a task or a command adds by itself
    warnings.filterwarnings("ignore", message=rf".*using `ckpt_path`, callbacks.*: \[('({own})'(, )?)+\]")
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    noise = re.compile(
        "available:|used:|LOCAL_RANK|Tip|litlogger|Seed set|Mixed Precision|Loading `train_data|"
        "`Trainer.fit` stopped|Restored all|Restoring states|Loaded model w|Initializing distributed|^-+\ndistributed_"
    )
    for name in ("pytorch.utilities.rank_zero", "fabric.utilities.seed", "fabric.utilities.distributed"):
        logging.getLogger(f"lightning.{name}").addFilter(lambda record: not noise.search(record.getMessage()))
    torch.set_float32_matmul_precision("high")
    keep_freed_memory()
