"""Small programs that use Graft from Python; the tests run them."""
