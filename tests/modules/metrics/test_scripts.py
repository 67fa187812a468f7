"""Scripts without spaces between words: which tokenizer they get, and what is said."""

import pytest

from modules.contracts import ConfigError
from modules.metrics import scripts
from modules.metrics.captions import caption_scores, tokens
from modules.metrics.scripts import check_tokenizer, spaced, tokenizer_of
from tests.helpers.errors import refuses

TEXTS = {
    "en": "Two dogs run over the meadow.",
    "de": "Zwei Hunde laufen über die Wiese.",
    "ru": "Две собаки бегут по лугу.",
    "ar": "كلبان يركضان في المرج.",
    "hi": "दो कुत्ते घास पर दौड़ रहे हैं।",
    "zh": "两只狗在草地上奔跑。",
    "ja": "2匹の犬が草原を走っている。",
    "ko": "개 두 마리가 풀밭을 달린다.",
    "th": "สุนัขสองตัววิ่งบนทุ่งหญ้า",
    "my": "ခွေးနှစ်ကောင် မြက်ခင်းပေါ်မှာ ပြေးနေတယ်။",
}


@pytest.mark.parametrize(
    ("language", "found", "with_mecab"),
    [(name, "13a", "13a") for name in ("en", "de", "ru", "ar", "hi")]
    + [("zh", "zh", "zh"), ("ja", "char", "ja-mecab"), ("ko", "char", "ko-mecab"), ("th", "char", "char")]
    + [("my", "char", "char")],
)
def test_every_script_gets_its_tokenizer(monkeypatch, language, found, with_mecab):
    monkeypatch.setattr(scripts, "find_spec", lambda name: None)
    assert tokenizer_of([TEXTS[language]] * 3)[0] == found
    monkeypatch.setattr(scripts, "find_spec", lambda name: object())
    assert tokenizer_of([TEXTS[language]] * 3)[0] == with_mecab


def test_the_reason_names_what_would_bring_words(monkeypatch):
    monkeypatch.setattr(scripts, "find_spec", lambda name: None)
    assert "sacrebleu[ja]" in tokenizer_of([TEXTS["ja"]])[1] and "sacrebleu[ko]" in tokenizer_of([TEXTS["ko"]])[1]
    assert tokenizer_of([TEXTS["en"]])[1] == tokenizer_of([])[1] == ""


def test_a_few_foreign_words_change_nothing():
    assert tokenizer_of([TEXTS["en"], "The sign says 出口."])[0] == "13a"
    assert tokenizer_of([TEXTS["zh"], "他说 hello"])[0] == "zh"


def test_a_tokenizer_without_its_package_is_refused(monkeypatch):
    monkeypatch.setattr(scripts, "find_spec", lambda name: None)
    with refuses(ConfigError, "model.tokenize", "ja-mecab", "sacrebleu[ja]", "char"):
        check_tokenizer("ja-mecab")
    check_tokenizer("zh")


def test_captions_without_spaces_are_judged_by_their_characters():
    assert tokens("一只狗 runs.") == ["一", "只", "狗", "runs"]
    assert spaced("a dog") == "a dog" and tokens("개 두 마리") == ["개", "두", "마리"]
    metrics = caption_scores(["一只狗在跑", "两只猫"], [["一只狗在草地上跑"], ["两只猫"]], full=False)
    assert metrics["bleu_1"] == pytest.approx(1 * 2.718281828 ** (1 - 11 / 8), abs=1e-3)
