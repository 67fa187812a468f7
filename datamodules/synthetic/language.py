"""Sentences about things of the built-in world, in English and in German.

German has more distinctions: three genders, four cases, two numbers, three declensions of adjectives; the verb stands
second in a main clause and last after `dass`, and what comes before it changes places with the subject.
"""

from dataclasses import dataclass
from typing import Literal

from datamodules.synthetic.world import COLORS, SHAPES, SeededRandom

Case = Literal["nominative", "accusative", "dative"]

NUMBERS = ("one", "two", "three", "four")
ZAHLEN = ("ein", "zwei", "drei", "vier")
# gender, singular, dative singular, plural, dative plural; the other cases are like the nominative
NOUNS = {
    "circle": ("m", "Kreis", "Kreis", "Kreise", "Kreisen"),
    "square": ("n", "Quadrat", "Quadrat", "Quadrate", "Quadraten"),
    "triangle": ("n", "Dreieck", "Dreieck", "Dreiecke", "Dreiecken"),
    "star": ("m", "Stern", "Stern", "Sterne", "Sternen"),
    "cross": ("n", "Kreuz", "Kreuz", "Kreuze", "Kreuzen"),
    "ring": ("m", "Ring", "Ring", "Ringe", "Ringen"),
    "heart": ("n", "Herz", "Herzen", "Herzen", "Herzen"),
    "crescent": ("f", "Sichel", "Sichel", "Sicheln", "Sicheln"),
    "arrow": ("m", "Pfeil", "Pfeil", "Pfeile", "Pfeilen"),
    "hourglass": ("f", "Sanduhr", "Sanduhr", "Sanduhren", "Sanduhren"),
}
PLURALS = {"cross": "crosses", "hourglass": "hourglasses"}  # others take an s
FARBEN = ("rot", "orangefarben", "gelb", "grün", "türkisfarben", "blau", "violett", "rosafarben", "braun", "weiß")
SIZES = {"": "", "tiny": "winzig", "small": "klein", "large": "groß", "huge": "riesig"}
ARTICLES = {  # indefinite and definite
    "m": {"nominative": ("ein", "der"), "accusative": ("einen", "den"), "dative": ("einem", "dem")},
    "f": {"nominative": ("eine", "die"), "accusative": ("eine", "die"), "dative": ("einer", "der")},
    "n": {"nominative": ("ein", "das"), "accusative": ("ein", "das"), "dative": ("einem", "dem")},
    "plural": {"nominative": ("", "die"), "accusative": ("", "die"), "dative": ("", "den")},
}
MIXED = {"m": "er", "f": "e", "n": "es"}  # after `ein`, where it has no ending of its own
PLACES = {  # English, German with dative
    "above": "über",
    "below": "unter",
    "beside": "neben",
    "behind": "hinter",
    "in front of": "vor",
    "left of": "links von",
    "right of": "rechts von",
}
DEEDS = {  # English participle: German participle, with accusative
    "covered": "verdeckt",
    "touched": "berührt",
    "found": "gefunden",
    "painted": "gemalt",
    "moved": "verschoben",
}
FRAMES = ("plain", "here", "that", "because", "place first")


@dataclass(frozen=True)
class Group:
    """One to four equal things. `shape` and `color` index SHAPES and COLORS; `size` is a key of SIZES."""

    count: int
    size: str
    color: int
    shape: int
    known: bool = False  # with a definite article

    def english(self) -> str:
        noun = SHAPES[self.shape] if self.count == 1 else PLURALS.get(SHAPES[self.shape], SHAPES[self.shape] + "s")
        words = f"{self.size} {list(COLORS)[self.color]} {noun}".strip()
        if self.known:
            return f"the {words}" if self.count == 1 else f"the {NUMBERS[self.count - 1]} {words}"
        article = "an" if words[0] in "aeiou" else "a"
        return f"{article if self.count == 1 else NUMBERS[self.count - 1]} {words}"

    def german(self, case: Case) -> str:
        gender, *forms = NOUNS[SHAPES[self.shape]]
        plural = self.count > 1
        article = ARTICLES["plural" if plural else gender][case][self.known]
        ending = self._ending(gender, case)
        adjectives = [word + ending for word in (SIZES[self.size], FARBEN[self.color]) if word]
        noun = forms[2 * plural + (case == "dative")]
        words = [article, ZAHLEN[self.count - 1] if plural else "", *adjectives, noun]
        return " ".join(word for word in words if word)

    def _ending(self, gender: str, case: Case) -> str:
        """Ending of the adjectives: weak after `der`, mixed after `ein`, strong after a number."""
        if self.count > 1:
            return "en" if self.known or case == "dative" else "e"
        if case == "dative" or (gender == "m" and case == "accusative"):
            return "en"
        return "e" if self.known else MIXED[gender]


@dataclass(frozen=True)
class Statement:
    """A sentence: the place of `subject`, as seen from `other` (`word` in PLACES), or its deed to it (DEEDS).

    `frame` is one of FRAMES; `place first` is for places only.
    """

    subject: Group
    word: str
    other: Group
    frame: str = "plain"

    def english(self) -> str:
        subject, other, one = self.subject.english(), self.other.english(), self.subject.count == 1
        if self.word in DEEDS:
            clause = f"{subject} {'has' if one else 'have'} {self.word} {other}"
        elif self.frame == "place first":
            return _sentence(f"{self.word} {other} there {'is' if one else 'are'} {subject}")
        else:
            clause = f"{subject} {'lies' if one else 'lie'} {self.word} {other}"
        before = {"here": "here ", "that": "I see that ", "because": "I laugh because "}.get(self.frame, "")
        return _sentence(before + clause)

    def german(self) -> str:
        subject, one = self.subject.german("nominative"), self.subject.count == 1
        if self.word in DEEDS:
            verb, rest = ("hat" if one else "haben"), [self.other.german("accusative"), DEEDS[self.word]]
        else:
            verb, rest = ("liegt" if one else "liegen"), [f"{PLACES[self.word]} {self.other.german('dative')}"]
        if self.frame == "place first":
            words = [*rest, verb, subject]
        elif self.frame == "here":
            words = ["hier", verb, subject, *rest]
        elif self.frame in ("that", "because"):
            words = ["ich sehe, dass" if self.frame == "that" else "ich lache, weil", subject, *rest, verb]
        else:
            words = [subject, verb, *rest]
        return _sentence(" ".join(words))


def statement(random: SeededRandom) -> Statement:
    """Draw a sentence about two groups of different shapes."""
    subject = _group(random, random.below(len(SHAPES)))
    other = _group(random, (subject.shape + 1 + random.below(len(SHAPES) - 1)) % len(SHAPES))
    place = random.unit() < 0.6
    word = random.choice(tuple(PLACES if place else DEEDS))
    return Statement(subject, word, other, random.choice(FRAMES if place else FRAMES[:-1]))


def _group(random: SeededRandom, shape: int) -> Group:
    count = 1 if random.unit() < 0.5 else 2 + random.below(3)
    size = "" if random.unit() < 0.4 else random.choice(tuple(SIZES)[1:])
    return Group(count, size, random.below(len(COLORS)), shape, known=random.unit() < 0.4)


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:] + "."
