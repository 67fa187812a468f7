"""Distillation of features (`tasks/distillation.yaml`) and of logits (`--model.distill.teacher RUN`)."""

from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader

from modules.backbones import Timm, by_name
from modules.contracts import ConfigError, DataError
from modules.heads import Linear
from modules.losses.distillation import similarity_to_queue, soft_targets
from modules.training.mixing import Mixing
from modules.training.optim import Optim
from modules.training.pretrained_teacher import PretrainedTeacher
from modules.training.timm_format import write_format
from modules.training.transfer import export_backbone, load_backbone
from tasks import Classification, Distillation
from tasks.logit_distillation import Distill
from tests.helpers.errors import assert_named, refuses
from tests.helpers.training import quiet

OPTIM = Optim(lr=3e-3, schedule="constant", warmup=0)
CLASSES = ["cat", "dog", "cow"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    torch.manual_seed(1)
    backbone = by_name("test_vit")
    backbone.set_normalization(torch.tensor([0.3, 0.4, 0.5]), torch.tensor([0.2, 0.3, 0.2]))
    export_backbone(backbone, path)
    return str(path)


def batches(count: int = 4) -> DataLoader:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 6, 3, 32, 32), dtype=torch.uint8, generator=random)
    made = [{"image": one, "label": torch.arange(6) % 3, "id": list("abcdef")} for one in images]
    return DataLoader(made, batch_size=None, collate_fn=dict)


def distillation(teacher: str | None, **settings) -> Distillation:
    torch.manual_seed(0)
    return Distillation(**{"teacher": teacher, "backbone": "test_resnet", "optim": OPTIM} | settings)


def fit(task, epochs: int = 1, **more):
    trainer = quiet(max_epochs=epochs)
    trainer.fit(task, batches(), weights_only=True, **more)
    return trainer


def test_similarities_to_a_queue_are_those_of_the_definition():
    student, teacher, queue = (torch.randn(*size, dtype=torch.float64) for size in ((2, 3), (2, 3), (5, 3)))
    queue = functional.normalize(queue)
    wanted = torch.softmax(functional.normalize(teacher) @ queue.T / 0.2, 1)
    logs = torch.log_softmax(functional.normalize(student) @ queue.T / 0.2, 1)
    found = similarity_to_queue(student, teacher, queue, 0.2)
    torch.testing.assert_close(found, -(wanted * logs).sum(1).float(), rtol=1e-4, atol=1e-5)


def test_soft_targets_have_the_gradient_of_hintons_paper():
    student, teacher = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3)
    (grad,) = torch.autograd.grad(soft_targets(student, teacher, 4.0), student)
    expected = 4.0 * ((student / 4).softmax(1) - (teacher / 4).softmax(1)) / len(student)
    torch.testing.assert_close(grad, expected.detach())
    assert soft_targets(teacher, teacher, 2.0).item() == pytest.approx(0, abs=1e-6)


def test_the_teacher_sees_the_images_by_its_own_statistics(teacher):
    student, found = by_name("test_resnet"), PretrainedTeacher(teacher, None)
    image = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    load_backbone(plain := by_name("test_vit"), teacher)
    with torch.no_grad():
        expected = plain.eval().pool(plain(plain.normalize(image)))
    torch.testing.assert_close(found.features(student.normalize(image), student), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", ["cosine", "mse", "queue"])
def test_a_student_comes_nearer_to_its_teacher_which_stays_and_is_not_saved(form, teacher, tmp_path):
    task = distillation(teacher, loss=form, queue_size=24)
    losses, compute_loss = [], task.compute_loss

    def recorded(*given):
        results = compute_loss(*given)
        losses.append(results["loss"].item())
        return results

    task.compute_loss = recorded
    fit(task, 12).save_checkpoint(tmp_path / "last.ckpt")
    assert sum(losses[-4:]) < 0.9 * sum(losses[8:12])  # once the queue holds features
    assert torch.equal(task.teacher.load().net.norm.weight, load(teacher).net.norm.weight)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert {name.partition(".")[0] for name in saved} <= {"backbone", "head", "queue"}


def load(source: str):
    load_backbone(backbone := by_name("test_vit"), source)
    return backbone


def test_a_run_resumes_bit_for_bit_and_is_loaded_without_the_teachers_file(teacher, tmp_path):
    source = tmp_path / "teacher.safetensors"
    source.write_bytes(Path(teacher).read_bytes())
    settings = {"loss": "queue", "queue_size": 24}
    fit(whole := distillation(str(source), **settings), 3)
    fit(distillation(str(source), **settings), 2).save_checkpoint(tmp_path / "part.ckpt")
    fit(resumed := distillation(str(source), **settings), 3, ckpt_path=tmp_path / "part.ckpt")
    state = resumed.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in whole.state_dict().items())
    for other in (by_name("test_vit"), by_name("test_resnet")):
        export_backbone(other, source)
        with refuses(DataError, "model.teacher", source):
            fit(distillation(str(source), **settings), 3, ckpt_path=tmp_path / "part.ckpt")
    for gone in (lambda: source.write_bytes(b"no weights"), source.unlink):
        gone()
        loaded = Distillation.load_from_checkpoint(tmp_path / "part.ckpt")
        assert loaded.eval().features(torch.randn(2, 3, 32, 32)).shape[0] == 2
        with refuses(DataError, "model.teacher", source):
            quiet().validate(loaded, batches(), verbose=False)
        with refuses(DataError, "model.teacher", source):
            distillation(str(source), **settings)


def test_a_student_of_a_teacher_of_other_options_is_loaded_without_it(tmp_path):
    narrow = Timm("test_vit", options={"embed_dim": 32})
    export_backbone(narrow, source := tmp_path / "teacher.safetensors")
    fit(distillation(str(source))).save_checkpoint(tmp_path / "last.ckpt")
    source.unlink()
    loaded = Distillation.load_from_checkpoint(tmp_path / "last.ckpt").eval()
    assert loaded(torch.randn(2, 3, 32, 32)).shape == (2, 32)
    assert loaded.teacher.blank.arguments == narrow.arguments


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"teacher": None}, ["model.teacher"]),
        ({"teacher": "pretrained"}, ["pretrained", "model.teacher_backbone"]),
        ({"teacher_backbone": "r3d_18"}, ["model.teacher", "r3d_18"]),
        ({"temperature": 0.0}, ["model.temperature"]),
        ({"loss": "queue", "queue_size": 0}, ["model.queue_size"]),
        ({"loss": "queue", "ema_decay": 0.9}, ["queue", "--model.ema_decay"]),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, names, teacher):
    with refuses(ConfigError, *names):
        distillation(**{"teacher": teacher} | settings)


def test_a_teacher_of_other_options_is_built_as_its_file_or_repository_says(tmp_path):
    backbone = Timm("test_vit", image_size=32, options={"patch_size": 8}).eval()
    export_backbone(backbone, tmp_path / "teacher.safetensors")
    write_format(tmp_path, backbone, None, None, (32, 32))
    student, image = by_name("test_resnet"), torch.rand(2, 3, 32, 32)
    expected = backbone.pool(backbone(backbone.standardize(student.restore(image))))
    for source in (str(tmp_path / "teacher.safetensors"), f"local-dir:{tmp_path}"):
        torch.testing.assert_close(PretrainedTeacher(source, None).features(image, student), expected)


@pytest.mark.parametrize("loss", ["cosine", "mse", "queue"])
def test_a_batch_is_not_evaluated_again_where_that_moves_the_queue_on(teacher, loss):
    task = distillation(teacher, loss=loss, queue_size=12)
    task.trainer = quiet(max_epochs=1)
    with refuses(ConfigError, "optim.sam", "Distillation", "queue") if loss == "queue" else nullcontext():
        task.check_optimizer(Optim(sam=0.1), torch.optim.SGD(task.parameters(), lr=0.1))


def test_a_teacher_of_other_images_or_with_the_students_own_weights_is_refused(tmp_path, teacher):
    with refuses(ConfigError, "model.teacher", "model.weights", teacher):
        distillation(teacher, backbone="test_vit", weights=teacher).check_fit()
    source = tmp_path / "swin.safetensors"
    export_backbone(by_name("vit_tiny_patch16_224.augreg_in21k"), source)
    task = distillation(str(source))
    task.check_fit()
    task.check_sides({"data.image_size": 224})
    with refuses(ConfigError, "data.image_size", "8"):
        task.check_sides({"data.image_size": 8})


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> str:
    """A classification of more classes than the students', in another order."""
    torch.manual_seed(2)
    task = Classification(classes=["cow", "pig", "dog", "cat"], backbone="test_vit")
    path = tmp_path_factory.mktemp("run")
    (trainer := quiet(max_epochs=1)).fit(task, batches())
    trainer.save_checkpoint(path / "teacher.ckpt")
    return str(path / "teacher.ckpt")


def student(run: str, **settings) -> Classification:
    torch.manual_seed(0)
    given = {"classes": CLASSES, "backbone": "test_resnet", "optim": OPTIM, "distill": Distill(run, 2.0, 3.0)}
    return Classification(**given | settings)


def test_logits_are_compared_class_by_class_by_name(run):
    task, image = student(run), torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)
    taught = Classification.load_from_checkpoint(run).eval()
    with torch.no_grad():
        wanted = taught(taught.backbone.normalize(image))[:, [3, 2, 0]]
        seen = task.backbone.normalize(image)
        logits = task.eval()(seen)
        found = task.distill.loss(task, logits, seen)
    torch.testing.assert_close(found, soft_targets(logits, wanted, 2.0), rtol=1e-3, atol=1e-5)


def test_a_student_of_logits_comes_nearer_to_its_teacher_and_saves_itself_alone(run, tmp_path):
    def distance(task: Classification) -> float:
        image = task.backbone.normalize(next(iter(batches()))["image"])
        with torch.no_grad():
            return task.distill.loss(task, task.eval()(image), image).item()

    task = student(run, mixup=0.5)
    before = distance(task)
    fit(task.train(), 8).save_checkpoint(tmp_path / "last.ckpt")
    assert distance(task) < before
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert saved.keys() == Classification(classes=CLASSES, backbone="test_resnet").state_dict().keys()
    assert Classification.load_from_checkpoint(tmp_path / "last.ckpt").hparams["distill"].temperature == 2


def test_a_student_of_logits_is_not_taught_on_by_another_teacher_at_the_same_place(run, tmp_path):
    moved = tmp_path / "teacher.ckpt"
    moved.write_bytes(Path(run).read_bytes())
    fit(student(str(moved))).save_checkpoint(tmp_path / "last.ckpt")
    fit(student(run), 2, ckpt_path=tmp_path / "last.ckpt")  # the same at another place
    other = Classification(classes=["cow", "pig", "dog", "cat"], backbone="test_vit")
    fit(other).save_checkpoint(moved)
    with refuses(DataError, "model.distill.teacher", moved):
        fit(student(str(moved)), 2, ckpt_path=tmp_path / "last.ckpt")
    moved.unlink()
    with refuses(DataError, "model.distill.teacher", moved):
        student(str(moved)).check_fit()
    loaded = Classification.load_from_checkpoint(tmp_path / "last.ckpt")
    assert loaded(torch.randn(2, 3, 32, 32)).shape == (2, 3)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"classes": ["cat", "bee"]}, ["model.distill.teacher", "bee"]),
        ({"jsd_weight": 12.0}, ["model.distill", "jsd_weight"]),
        ({"mixing": Mixing(manifold_mixup=1.0)}, ["model.distill", "model.mixing"]),
        ({"backbone": "test_vit", "weights": "RUN"}, ["model.distill.teacher", "model.weights"]),
    ],
)
def test_teachers_and_settings_that_do_not_fit_are_refused(run, settings, names):
    settings = {name: run if value == "RUN" else value for name, value in settings.items()}
    with refuses(ConfigError, *names):
        student(run, **settings).check_fit()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"distill": Distill()}, "as in training"),
        ({}, "without the distillation of training"),
        ({"head": partial(Linear, label_smoothing=0.1)}, "without the label smoothing 0.1 and distillation"),
        ({"distill": Distill(), "jsd_weight": 12.0}, "without the consistency of training"),
    ],
)
def test_the_loss_of_validation_says_what_training_has_beside_it(run, settings, words):
    assert_named(student(run, **settings).protocols["loss"], words)


def test_values_out_of_range_are_refused():
    for name, value in (("temperature", 0), ("weight", -1)):
        with refuses(ConfigError, f"model.distill.{name}"):
            Distill("run", **{name: value})
