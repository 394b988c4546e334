"""The list of texts that a user can read."""

from tools.messages import texts_of_python

SOURCE = '''"""A docstring of two words."""
def fail(name):
    """Another docstring here."""
    raise ValueError(f"{name}: expected a number, "
                     "got a text")
key = "a_key"
query = "rate(x[5m]) > 0"
'''


def test_messages_are_listed_whole_and_nothing_else_is() -> None:
    assert list(texts_of_python(SOURCE)) == [(4, "{}: expected a number, got a text")]
