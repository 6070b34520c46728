import pytest
from hypothesis import given
from hypothesis import strategies as st

from seamless_interaction import FileId
from seamless_interaction.errors import InvalidFileId

digits = lambda n: st.text("0123456789", min_size=n, max_size=n)  # noqa: E731
parts = st.tuples(
    digits(2).map("V{}".format),
    digits(4).map("S{}".format),
    digits(8).map("I{}".format),
    st.builds("P{}{}".format, digits(4), st.sampled_from(["", *"ABZ"])),
)


@given(parts)
def test_parse_and_format_are_inverse(parts):
    ids = FileId.parse("_".join(parts))
    assert tuple(ids) == parts
    assert str(ids) == "_".join(parts)
    assert all(isinstance(part, str) for part in ids)


@given(st.text())
def test_whatever_parses_is_what_was_there(text):
    try:
        assert str(FileId.parse(text)) == text
    except InvalidFileId as error:
        assert repr(text) in str(error)


def test_ids_are_unique_only_within_a_vendor():
    ids = FileId.parse("V00_S0809_I00000582_P1281A")
    assert ids.vendor_id == "V00"
    assert ids.session_id == "V00_S0809"
    assert ids.interaction_id == "V00_S0809_I00000582"
    assert ids.participant_id == "V00_P1281A"
    assert ids.prompt_id == "00000582"


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "V00_S0809_I00000582",
        "V00_S0809_I00000582_P947",
        "V00_S0809_I00000582_P0947a",
        "V00_S0809_I00000582_P0947AB",
        "V00_S0809_I00000582_P0947\n",
        "V٠٠_S0809_I00000582_P0947",
        "../V00_S0809_I00000582_P0947",
    ],
)
def test_no_file_id(bad):
    with pytest.raises(InvalidFileId, match="V00_S0809_I00000582_P0947"):
        FileId.parse(bad)
