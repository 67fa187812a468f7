import numpy as np
import pytest
import torch
from PIL import Image

from callbacks.predictions import Predictions
from callbacks.writers.images import inside, stems
from callbacks.writers.masks import encode_map
from datamodules.segmentation.files import read_mask
from modules.contracts import DataError
from modules.contracts.palette import palette as pascal_voc
from tests.helpers.errors import refuses
from tests.helpers.files import rows
from tests.helpers.small_masks import CLASSES, ORIGINAL, PALETTE, MaskData, Segmentation


@pytest.fixture
def predict(trainer, tmp_path):
    """Predict the images of that name; returns the folder and the predictions by id."""

    def run(names=None, task=None):
        task, data, callback = task or Segmentation(), MaskData(names=names), Predictions()
        trainer(callback).predict(task, datamodule=data)
        task.eval()
        answers = {}
        with torch.no_grad():
            for batch in data.test_dataloader():
                output = task.predict_step(batch | {"image": task.backbone.normalize(batch["image"])}, 0)
                answers |= dict(zip(batch["id"], output["mask"], strict=True))
        return tmp_path / "predictions", answers, callback

    return run


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_each_map_is_a_palette_png_of_the_original_size_under_the_images_own_path(predict):
    folder, answers, _ = predict()
    assert files(folder / "masks") == {name.replace(".jpg", ".png") for name in answers}
    for name, mask in answers.items():
        with Image.open(folder / "masks" / name.replace(".jpg", ".png")) as image:
            assert (image.mode, image.size) == ("P", ORIGINAL[::-1])
            assert np.array_equal(np.asarray(image), mask.numpy())
            colors = np.array(image.getpalette()).reshape(-1, 3).tolist()
            assert colors == [list(color) for color in [*PALETTE, *pascal_voc(256)[3:]]]


def test_each_overlay_shows_the_image_without_its_padding_in_the_original_size(predict):
    folder, answers, _ = predict()
    assert files(folder / "overlays") == set(answers)  # these images end in .jpg too
    dataset = MaskData().test_dataloader().dataset
    for number, (name, mask) in enumerate(answers.items()):
        with Image.open(folder / "overlays" / name) as overlay:
            assert overlay.size == ORIGINAL[::-1]
            drawn = np.asarray(overlay.convert("L"))
        image = Image.fromarray(dataset.image[number].permute(1, 2, 0).numpy()).convert("L")
        gray = np.asarray(image.resize(ORIGINAL[::-1], Image.Resampling.BILINEAR))
        same = mask.numpy() == mask.flatten().mode().values.item()
        assert np.corrcoef(drawn[same], gray[same])[0, 1] > 0.8


def test_the_table_says_which_share_of_an_image_each_class_takes(predict):
    folder, answers, callback = predict()
    table = rows(folder / "predict.csv")
    assert list(table[0]) == ["path", *(f"share({name})" for name in CLASSES)]
    for row, (name, mask) in zip(table, answers.items(), strict=True):
        assert row["path"] == name
        expected = [(mask == index).float().mean().item() for index in range(len(CLASSES))]
        assert [float(row[f"share({label})"]) for label in CLASSES] == pytest.approx(expected, abs=1e-6)
    assert callback.files == [folder / name for name in ("predict.csv", "classes.csv", "masks", "overlays")]


def test_probabilities_go_to_npz_files_that_load_without_pickle(predict):
    folder, answers, callback = predict(task=Segmentation(probabilities=True))
    assert len(files(folder / "probabilities")) == 20
    for name, mask in answers.items():
        arrays = np.load(folder / "probabilities" / name.replace(".jpg", ".npz"))
        assert arrays["probabilities"].dtype == np.float32
        assert np.array_equal(arrays["probabilities"].argmax(0), mask.numpy())
        assert arrays["probabilities"].sum(0) == pytest.approx(1)
        assert arrays["classes"].tolist() == CLASSES
    assert callback.files[-1] == folder / "probabilities"


def test_images_that_differ_only_in_their_ending_keep_it(predict):
    names = ["a/x.jpg", "a/x.png", "b/x.jpg", "c", "c.jpg", "d.jpg.tif", "d.jpg"]
    folder, answers, _ = predict(names)
    expected = ["a/x.jpg.png", "a/x.png.png", "b/x.png", "c.png", "c.jpg.png", "d.jpg.tif.png", "d.png"]
    assert files(folder / "masks") == set(expected)
    for name, path in zip(names, expected, strict=True):
        assert np.array_equal(np.asarray(Image.open(folder / "masks" / path)), answers[name].numpy())


def test_ids_never_lead_out_of_the_folder(predict, tmp_path):
    names = [
        "/etc/x.jpg",
        "../../up.jpg",
        "a/../../../b.jpg",
        "..",
        "./plain.jpg",
        "odd\udcff.jpg",
        "new\nline.jpg",
        "",
    ]
    folder, _, _ = predict(names)
    assert files(folder / "masks") == {
        *("_root/etc/x.png", "_up/_up/up.png", "a/_up/_up/_up/b.png", "_up.png", "plain.png"),
        *("odd\udcff.png", "new\nline.png", "_.png"),
    }
    assert all(path.is_relative_to(folder) for path in tmp_path.rglob("*") if path.is_file())
    assert [row["path"] for row in rows(folder / "predict.csv")] == names


@pytest.mark.parametrize("name", ["/a", "//a", "..", "a/../..", "../a", "/", "", ".", "/../.."])
def test_a_path_of_any_id_stays_inside(tmp_path, name):
    path = tmp_path / (inside(name) + ".png")
    assert path.resolve().is_relative_to(tmp_path)
    assert path.resolve() != tmp_path


def test_no_two_images_share_a_file_name():
    names = {f"{stem}{ending}" for stem in ("a", "a.jpg", "c/a", ".") for ending in ("", ".jpg", ".png", ".jpg.tif")}
    assert len(set(stems(names).values())) == len(names)
    assert stems(["a.jpg", "b.jpg"]) == {"a.jpg": "a", "b.jpg": "b"}


def test_an_image_that_is_listed_twice_is_written_once(predict):
    folder, _, _ = predict(["a/x.jpg"] * 5)
    assert files(folder / "masks") == {"a/x.png"}


def test_an_interrupted_run_leaves_complete_files_only(trainer, tmp_path):
    class Breaking(Segmentation):
        def predict_step(self, batch, batch_idx):
            if batch_idx == 2:
                raise RuntimeError("cable pulled")
            return super().predict_step(batch, batch_idx)

    with pytest.raises(RuntimeError, match="cable pulled"):
        trainer(Predictions()).predict(Breaking(), datamodule=MaskData())
    found = [path for path in (tmp_path / "predictions").rglob("*") if path.is_file()]
    assert len(found) == 2 * 10
    for path in found:
        Image.open(path).load()


def test_a_folder_that_cannot_be_written_is_one_sentence(trainer, tmp_path):
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "masks").write_text("a file where the folder should be")
    with refuses(DataError, tmp_path / "predictions" / "masks" / "street 0" / "000.jpg.png", "--run_dir"):
        trainer(Predictions()).predict(Segmentation(), datamodule=MaskData())


def test_a_test_writes_no_maps(trainer, tmp_path):
    trainer(Predictions()).test(Segmentation(), datamodule=MaskData(), verbose=False)
    assert not (tmp_path / "predictions").exists()


def test_a_map_holds_the_numbers_of_the_data_under_its_colors():
    mask, values = np.array([[0, 1], [2, 1]], np.uint8), np.array([0, 255, 7])
    image = encode_map(mask, values, PALETTE)
    assert (image.mode, np.asarray(image).tolist()) == ("P", [[0, 255], [7, 255]])
    assert np.array_equal(np.asarray(image.convert("RGB")), np.array(PALETTE)[mask])


def test_numbers_above_255_take_16_bits(tmp_path):
    mask = np.array([[0, 1], [1, 0]], np.uint8)
    encode_map(mask, np.array([0, 1234]), PALETTE[:2]).save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png").tolist() == [[0, 1234], [1234, 0]]


def test_a_table_says_which_value_and_color_each_class_has(predict):
    folder, _, _ = predict()
    lines = (folder / "classes.csv").read_text().splitlines()
    rows = [
        f"{i},{name},{','.join(map(str, color))}" for i, (name, color) in enumerate(zip(CLASSES, PALETTE, strict=True))
    ]
    assert lines == ["value,class,red,green,blue", *rows]
