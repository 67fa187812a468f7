"""Parts of training: optimizers, averages of weights, teachers, negatives, precision, and loading of weights."""
