"""Commands printed by a fit run as typed, with its training data."""

from pathlib import Path

import pytest
import yaml

from commands.arguments import typed_options
from commands.next_commands import next_commands
from datamodules import ImageFolder, Shapes, ShapesMasks, UnlabeledImages
from modules.backbones import Timm
from tasks import MAE, Classification, SemanticSegmentation, SimCLR
from tests.helpers.commands import following

QUICK = "--data.workers 0 --data.batch_size 4 --data.image_size 32 --trainer.precision 32".split()
QUICK += ["--figures.samples", "1"]
FIT = [*QUICK, "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2"]
PROBE = "--data.batch_size 4 --trainer.max_epochs 1 --trainer.limit_train_batches 1 --trainer.precision 32".split()


@pytest.fixture
def printed(graft, capsys, narrow_terminal):
    """Run a fit; returns its printed commands as words, by purpose."""

    def run(*argv: str) -> dict[str, list[str]]:
        code, error = graft("fit", *argv)
        assert code == 0, error
        out = capsys.readouterr().out
        assert max(len(line) for line in out.splitlines() if "─" not in line) <= narrow_terminal
        return following(out)

    return run


@pytest.fixture
def pets(folder, tmp_path) -> str:
    """Labeled images below a folder with a blank in its name."""
    (tmp_path / "pets").rename(tmp_path / "my pets")
    return "my pets"


def test_what_a_classifier_prints_tests_and_predicts(graft, printed, pets, capsys):
    own = ["--data", "ImageFolder", f"--data.root={pets}", "--data.val_split", "0.25"]
    commands = printed("--config", "tasks/classification.yaml", *own, *FIT, "--run_dir", "the run's place")
    assert set(commands) == {"validate again", "your images", "export"}  # there is no test split
    again, predict, export = commands.values()
    assert export[2:] == ["export", "--config", "tasks/classification.yaml", "--ckpt_path", "the run's place"]
    assert again[:3] == ["python", "cli.py", "validate"]
    assert graft(*again[2:], "--run_dir", "again")[0] == 0
    assert "6 val images" in (out := capsys.readouterr().out), out  # of the same split
    assert following(out) == {"your images": predict}
    assert graft(*[word.replace("FOLDER", pets) for word in predict[2:]], "--run_dir", "out")[0] == 0
    assert len(Path("out/predictions/predict.csv").read_text().splitlines()) == 1 + 24
    (fit,) = following(capsys.readouterr().out).values()
    words = [word.replace("FOLDER", pets) for word in fit[2:]]
    assert graft(*words, "--trainer.fast_dev_run", "true", "--data.batch_size", "4", *QUICK[:2])[0] == 0


def test_what_pretraining_prints_keeps_data_and_backbone(graft, printed, pets, capsys):
    own = {"class_path": "ImageFolder", "init_args": {"root": pets, "views": 2, "val_split": 0.25}}
    model = {"class_path": "SimCLR", "init_args": {"backbone": "resnet10t", "small_images": True}}
    Path("my simclr.yaml").write_text(yaml.safe_dump({"model": model, "data": own}))
    commands = printed("--config", "my simclr.yaml", "--data.augment", "strong", *FIT, "--run_dir", "a b")
    for name, words in commands.items():
        quick = ["--sgd_epochs", "1", "--num_images", "8"] if "evaluate" in name else PROBE
        code, error = graft(*words[2:], *quick, "--run_dir", name)
        assert code == 0, error
        if "evaluate" in name:
            after = following(capsys.readouterr().out)
            assert after.keys() == {"fine-tune", "a linear probe"} and pets in after["fine-tune"]
            assert "--data.val_split" in after["fine-tune"]  # of the YAML of the pretraining
    saved = yaml.safe_load(Path("a linear probe/config.yaml").read_text())
    assert saved["data"]["init_args"]["root"] == pets and saved["data"]["init_args"]["views"] == 1
    assert saved["model"]["init_args"]["frozen"] is True and saved["model"]["init_args"]["backbone"] == "resnet10t"


def test_after_images_without_labels_the_next_command_asks_for_some_with(printed, pets):
    commands = printed("--config", "tasks/simclr.yaml", "--data", "UnlabeledImages", "--data.root", pets, *FIT)
    assert " ".join(commands["fine-tune"]).endswith(
        "--data ImageFolder --data.root FOLDER --data.workers 0 --data.batch_size 4 --data.image_size 32"
    )


def test_what_a_translator_and_a_gan_print_runs(graft, printed, capsys):
    for number, text in enumerate(("src", "tgt")):
        Path(f"my {text}.txt").write_text("".join(f"{number} a sentence of {k} words\n" for k in range(40)))
    own = ["--data", "ParallelText", "--data.source", "my src.txt", "--data.target", "my tgt.txt"]
    small = "--data.workers 0 --trainer.max_epochs 1 --trainer.limit_train_batches 1".split()
    small += ["--model.search.max_length", "5"]
    Path("text.yaml").write_text("model: Translation\n")
    commands = printed("--config", "text.yaml", *own, "--data.val_split", "0.2", *small, "--run_dir", "t 1")
    assert commands.pop("export")[-1] == "t 1"
    for name, words in commands.items():
        code, error = graft(*[w.replace("FILE", "my src.txt") for w in words[2:]], "--run_dir", f"out {name}")
        assert code == 0, error
    assert following(capsys.readouterr().out)["alternatives"][-2:] == ["--model.search.num_return_sequences", "2"]
    gan = "--data.train 64 --data.test 64 --data.val 64 --trainer.limit_test_batches 1 --trainer.limit_val_batches 1"
    commands = printed("--config", "tasks/gan.yaml", *FIT, *gan.split(), "--trainer.callbacks", "null")
    assert graft(*commands["your samples"][2:], "--data.count", "4", "--run_dir", "drawn")[0] == 0
    again = following(capsys.readouterr().out)["other samples"]
    assert again[again.index("--seed_everything") + 1] == "2" and again.count("--seed_everything") == 1


def test_options_are_found_in_both_spellings_and_below_their_name():
    argv = ["fit", "--data", "X", "--data.root=a b", "--data.size", "3", "--database", "no"]
    found = typed_options(argv, "--data")
    assert found == {"--data": ["--data", "X"], "--data.root": ["--data.root=a b"], "--data.size": ["--data.size", "3"]}


def test_of_an_option_that_is_typed_twice_the_last_counts_in_the_place_of_the_first():
    argv = [
        "fit",
        "--data.init_args.root",
        "a",
        "--data=X",
        "--data.x+",
        "1",
        "--data.root=b",
        "--data.x+=2",
    ]
    found = typed_options(argv, "--data")
    assert list(found.values()) == [["--data.root=b"], ["--data=X"], ["--data.x+", "1", "--data.x+=2"]]


def test_typed_settings_to_read_samples_go_along_once(tmp_path):
    def after(*argv: str) -> dict[str, list[str]]:
        return following("\n".join(next_commands([*argv, "--ckpt_path", "a b"], tmp_path, task, Shapes(train=8))))

    task = Classification(backbone="test_vit", classes=["cat", "dog"])
    typed = ["--data.image_size", "96", "--data.image_size=48", "--data.workers", "0", "--data.train", "8"]
    config = ["--config", "tasks/classification.yaml"]
    (predict,) = after("test", *config, *config, *typed).values()
    read = ["--data.image_size=48", "--data.workers", "0"]  # the number of samples is no setting of another data set
    own = ["--data", "UnlabeledImages", "--data.root", "FOLDER"]
    assert predict[2:] == ["predict", *config, "--ckpt_path", "a b", *own, *read]
    (labeled,) = after("predict", *own, *typed).values()
    own = ["--data", "ImageFolder", "--data.root", "FOLDER", *read, "--model.backbone", "test_vit"]
    assert labeled[2:] == ["fit", *config, "--model.weights", "a b", *own]


def test_samples_of_a_training_go_along_with_the_features_that_are_evaluated(tmp_path, image_folder):
    root = str(image_folder({"cat": 4, "dog": 4}))
    data = ImageFolder(root=root, val_split=0.5, batch_size=2)
    data.setup("fit")
    task = MAE(backbone=Timm("test_vit", image_size=64, options={"patch_size": 16}), decoder_depth=1)
    found = following("\n".join(next_commands(["evaluate", "--ckpt_path", "run"], tmp_path, task, data)))["fine-tune"]
    expected = ["--data", "ImageFolder", "--data.root", root, "--data.val_split", "0.5"]
    assert set(expected) <= set(found) and "--data.batch_size" not in found


@pytest.mark.parametrize("argv", [["evaluate", "--ckpt_path", "run"], ["fit", "--config", "mine.yaml"]])
@pytest.mark.parametrize(("size", "more"), [(64, []), (96, ["--data.image_size", "96"])])
def test_a_size_that_was_not_typed_goes_along_where_fine_tuning_has_another(tmp_path, image_folder, argv, size, more):
    root, task = str(image_folder({"cat": 4, "dog": 4})), SimCLR(backbone="test_resnet")
    read = {"image_size": size, "views": 2, "augment": "strong"}
    found = {}
    for data in (ImageFolder(root=root, **read), UnlabeledImages(root=root, **read), Shapes(**read)):
        data.setup("fit")
        words = following("\n".join(next_commands(argv, tmp_path, task, data)))["fine-tune"]
        found[type(data)] = words[words.index("--model.weights") + 2 :]
    folder = ["--data", "ImageFolder", "--data.root"]
    assert found == {ImageFolder: [*folder, root, *more], UnlabeledImages: [*folder, "FOLDER", *more], Shapes: []}


def test_a_sliding_window_is_exported_for_whole_images(tmp_path):
    argv = ["fit", "--config", "tasks/semantic_segmentation.yaml"]
    for patch_size, whole in ((None, False), (5, True)):
        task = SemanticSegmentation(backbone="full_resolution", classes=["ground", "ring"], patch_size=patch_size)
        (export,) = [line for line in next_commands(argv, tmp_path, task, ShapesMasks()) if " export " in line]
        assert export.endswith(" --model.patch_size null") is whole


def test_options_of_a_backbone_that_a_yaml_builds_are_named(tmp_path):
    task = MAE(backbone=Timm("test_vit", image_size=64, options={"patch_size": 8}), decoder_depth=1)
    lines = next_commands(["fit", "--config", "tasks/mae.yaml"], tmp_path, task, Shapes(train=8))
    words = following("\n".join(lines))["fine-tune"]
    assert words[words.index("--model.backbone.name") + 1] == "test_vit"
    assert words[words.index("--model.backbone.options") + 1] == '{"patch_size": 8}'
    assert words[words.index("--model.backbone.image_size") + 1] == "64"  # positions are of that grid


def test_views_of_a_method_are_not_handed_on_and_a_backbone_changed_in_part_is_named_whole(tmp_path):
    task = MAE(backbone=Timm("test_vit", image_size=64, options={"patch_size": 16}), decoder_depth=1)
    argv = ["fit", "--config", "tasks/mae.yaml", "--model.backbone.options", "{patch_size: 16}", "--data.train", "8"]
    argv += ["--data.local_views", "2", "--data.local_size", "32", "--data.crop", "[0.5,1]"]
    words = following("\n".join(next_commands(argv, tmp_path, task, Shapes(train=8))))["fine-tune"]
    assert words[words.index("--data.train") + 1] == "8"
    assert not {"--data.local_views", "--data.local_size", "--data.crop"} & set(words)
    assert words[words.index("--model.backbone.name") + 1] == "test_vit"
    assert words[words.index("--model.backbone.options") + 1] == '{"patch_size": 16}'
