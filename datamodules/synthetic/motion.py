"""Motions of the main thing of a built-in clip, the classes, which no single frame tells apart.

Place, size and angle of the thing lie on circles: it leaves on one side and enters on the other, and grown to the
largest it begins anew as the smallest. It starts anywhere, uniformly, so at every later moment, too, its state is
uniform for every motion: a single frame is independent of the class.
"""

from dataclasses import replace

from datamodules.synthetic.world import SHAPES, Scene, SeededRandom, Thing, scene

MOTIONS = ("left", "right", "up", "down", "shrinking", "growing", "anticlockwise", "clockwise")  # in x, y, size, angle
MOVERS = tuple(SHAPES.index(name) for name in ("triangle", "heart", "crescent", "arrow"))  # that show how they turn
SIZES = (0.35, 0.65)
EXTRAS = {"extras": (1, 2), "main_size": (0.5, 0.6), "extra_size": (0.15, 0.2)}  # still things
SPEED = (0.45, 0.75)  # turns of the motion's circle from the first frame to the last
DRIFT = 0.08  # largest speed of the other three
APART = 1 << 32  # the draws of motions from those of scenes, with the same seed


def clip(seed: int, index: int, frames: int) -> tuple[Scene, list[tuple[Thing, ...]], int]:
    """Content of clip `index`: the still scene, the moving things of each frame, and the index of its motion.

    A thing that sticks out on one side is there again on the other.
    """
    random, still = SeededRandom(seed, APART + index), scene(seed, index, **EXTRAS)
    motion = random.below(len(MOTIONS))
    start = [random.unit() for _ in range(4)]
    speed = [random.uniform(-DRIFT, DRIFT) for _ in range(4)]
    speed[motion // 2] = random.uniform(*SPEED) * (1 if motion % 2 else -1)
    mover = replace(still.things[still.main], shape=random.choice(MOVERS))
    times = [t / max(1, frames - 1) for t in range(frames)]
    moments = [_at(mover, [(u + v * time) % 1.0 for u, v in zip(start, speed, strict=True)]) for time in times]
    extras = tuple(thing for i, thing in enumerate(still.things) if i != still.main)
    return replace(still, things=extras), moments, motion


def _at(thing: Thing, state: list[float]) -> tuple[Thing, ...]:
    """The thing in a state (x, y, size, angle), each 0 to 1, and its copies beyond the sides it sticks out of."""
    x, y, grown, turned = state
    size = SIZES[0] + (SIZES[1] - SIZES[0]) * grown
    places = [(x + dx, y + dy) for dx in _copies(x, size / 2) for dy in _copies(y, size / 2)]
    return tuple(replace(thing, x=x, y=y, size=size, angle=360 * turned) for x, y in places)


def _copies(at: float, radius: float) -> tuple[int, ...]:
    return (0,) + ((1,) if at < radius else ()) + ((-1,) if at > 1 - radius else ())
