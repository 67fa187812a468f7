"""Building blocks of deep learning in NumPy, a page each, with gradients derived by hand; the tests run them."""
