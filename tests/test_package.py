import sweepdiag
from sweepdiag import errors


def test_every_public_name_can_be_loaded():
    for name in sweepdiag.__all__:
        assert getattr(sweepdiag, name) is not None
    assert dir(sweepdiag) == sweepdiag.__all__


def test_every_error_is_exported():
    found = {name for name in errors.__all__ if name.endswith("Error")}
    assert found == {name for name in sweepdiag.__all__ if name.endswith("Error")}


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(sweepdiag, "no_such_name")


def test_an_unknown_name_is_answered_with_the_nearest():
    message = errors.unknown_name("optimizer", "addam", ["sgd", "adam"])
    assert message == "unknown optimizer 'addam'. Did you mean 'adam'? Valid: adam, sgd"
    assert errors.unknown_name("optimizer", "xyz", ["sgd"]) == (
        "unknown optimizer 'xyz'. Valid: sgd"
    )
