"""Gradient check: a gradient that was derived by hand against the slope that is measured.

Move one number by a small step to either side and look at how far the function moves: (f(x + h) - f(x - h)) / 2h is the
slope along that number, wrong only by a term of h^2. It costs two calls per number, which is why nobody trains with it,
and it knows nothing of the derivation, which is why it finds the mistakes in one.

python examples/from_scratch/gradient_check.py
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def numeric_gradient(function: Callable[[], float], point: Array, step: float = 1e-5) -> Array:
    """Central differences of a function with respect to an array that it reads, in the shape of that array.

    Args:
        function: gives the number f; called twice for each element.
        point: the array, changed in place and put back.
        step: h. Much smaller ones lose digits to rounding, much larger ones see the curvature.
    """
    gradient = np.zeros_like(point)
    for place in np.ndindex(point.shape):
        before = point[place]
        point[place] = before + step
        above = function()
        point[place] = before - step
        below = function()
        point[place] = before
        gradient[place] = (above - below) / (2 * step)
    return gradient


def relative_error(first: Array, second: Array) -> float:
    """Largest difference of two arrays as a share of their largest number; 0 if they are equal.

    In float64 a right gradient has 1e-7 and less. Above 1e-4 something is wrong, or a kink (ReLU, max) lies within the
    step.
    """
    largest = max(np.abs(first).max(), np.abs(second).max())
    return 0.0 if largest == 0 else float(np.abs(first - second).max() / largest)


def report(function: Callable[[], float], derived: dict[str, tuple[Array, Array]]) -> float:
    """Print a line for each named pair (array, its gradient by hand); returns the largest relative error."""
    errors = {name: relative_error(numeric_gradient(function, at), by_hand) for name, (at, by_hand) in derived.items()}
    for name, error in errors.items():
        print(f"  gradient of {name:<12} relative error {error:.1e}")
    return max(errors.values())


def main() -> None:
    """Check a right and a wrong derivative, and look for the best step."""
    x = np.array([0.3, -1.2, 2.0])

    def f() -> float:
        return float(np.sin(x).sum())

    print("f(x) = sum of sin(x): the derivative is cos(x)")
    report(f, {"x, cos": (x, np.cos(x)), "x, -cos": (x, -np.cos(x))})
    print("the step: too small and rounding wins, too large and curvature does")
    for step in 10.0 ** np.arange(-13, 0, 2):
        print(f"  h {step:.0e}  relative error {relative_error(numeric_gradient(f, x, step), np.cos(x)):.1e}")


if __name__ == "__main__":
    main()
