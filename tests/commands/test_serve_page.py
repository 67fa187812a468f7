"""The page of a server has a field for all that its requests may hold."""

from commands.serve.page import page


def test_the_page_of_a_conditional_generator_offers_its_classes():
    assert "<select" not in page("GAN", "noise", {}, {"paths": {}}, False)
    assert "<option>a &lt;b&gt;</option></select>" in page("GAN", "noise", {}, {"paths": {}}, False, ["a <b>"])
