import pytest
from conftest import warnings

from seamless_interaction import FileId
from seamless_interaction.errors import BrokenTable
from seamless_interaction.places import Place
from seamless_interaction.tables import Context, read_filelist, read_selection, selected

HEAD = "file_id,label,split,batch_idx,archive_idx"
FLAGS = ",has_imitator_movement,has_annotation_1p,has_annotation_3p"
ROW = "V00_S0809_I00000582_P1281A,improvised,dev,0,40"


def place(tmp_path, **files):
    for name, text in files.items():
        (tmp_path / f"{name}.csv").write_bytes(text.encode())
    return Place(tmp_path)


def test_a_file_list_of_five_or_eight_columns(tmp_path):
    five = read_filelist(place(tmp_path, filelist=f"{HEAD}\n{ROW}\n"))
    assert five["has_annotation_1p"].to_pylist() == [None]
    (eight,) = read_filelist(place(tmp_path, filelist=f"\ufeff{HEAD}{FLAGS}\r\n{ROW},1,0,1\r\n")).to_pylist()
    assert eight["file_id"] == "V00_S0809_I00000582_P1281A"
    assert (eight["batch_idx"], eight["archive_idx"]) == (0, 40)
    assert (eight["has_imitator_movement"], eight["has_annotation_1p"], eight["has_annotation_3p"]) == (
        True,
        False,
        True,
    )


def test_no_file_list_is_none(tmp_path):
    assert read_filelist(Place(tmp_path)) is None


@pytest.mark.parametrize(
    "text, what",
    [
        ("", "no column file_id"),
        ("<html>Sorry</html>\n", "no column file_id"),
        (f"{HEAD}\n", "names no recording"),
        (f"{HEAD}\n{ROW},more\n", "line 2: 6 cells"),
        (f"{HEAD}\n{ROW[:-3]}\n", "line 2: 4 cells"),
        (f"{HEAD}\n{ROW}\n{ROW}\n", "line 3: V00_S0809_I00000582_P1281A stands twice"),
        (f"{HEAD}\n{ROW.replace('dev', 'validation')}\n", "split 'validation'"),
        (f"{HEAD}\n{ROW.replace('improvised', 'scripted')}\n", "label 'scripted'"),
        (f"{HEAD}\n{ROW.replace('40', 'forty')}\n", "line 2: .*forty"),
        (f"{HEAD}\n{ROW.replace('40', '-4')}\n", "line 2: archive_idx '-4'"),
        (f"{HEAD}\n{ROW.replace('P1281A', '../P1281')}\n", "not a file id"),
        (f"{HEAD}{FLAGS}\n{ROW},yes,0,0\n", "yes"),
    ],
)
def test_a_broken_file_list_says_where(tmp_path, text, what):
    with pytest.raises(BrokenTable, match=what) as caught:
        read_filelist(place(tmp_path, filelist=text))
    assert "filelist.csv" in str(caught.value)


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "filelist.csv").write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(BrokenTable, match="UTF-8"):
        read_filelist(Place(tmp_path))


def test_a_selection_of_what_the_file_list_does_not_name_is_told(tmp_path, caplog):
    here = place(tmp_path, filelist=f"{HEAD}\n{ROW}\n", selection=f"file_id\n{ROW.partition(',')[0]}\nV03_nobody\n")
    assert len(selected(here, read_filelist(here), read_selection(here))) == 1
    assert any("1 file ids in it are not in the file list (V03_nobody)" in message for message in warnings(caplog))


PROMPTS = (
    ",prompt_hash,prompt_id_unique,participant_a_prompt_text,participant_b_prompt_text,ipc_a,ipc_b,interaction_type\n"
    '0,00000582,P0070_v3,"You are ""late"".\n\nSay so, “gently”.",Listen.,ANCP,,charades\n'
)
PEOPLE = (
    "extraversion_raw,agreeableness_raw,conscientiousness_raw,neuroticism_raw,openness_raw,vendor_id,participant_id\n"
    "4.666666666666667,1.0,2.0,3.0,4.363636363636363,00,1281A\n"
    "Undisclosed,Undisclosed,Undisclosed,Undisclosed,Undisclosed,00,0001\n"
)
PAIRS = "vendor_id,session_id,relationship,relationship_detail\nV00,0809,familiar,friends\n"


def test_context_joins_keys_of_other_forms(tmp_path):
    context = Context(place(tmp_path, interactions=PROMPTS, participants=PEOPLE, relationships=PAIRS))
    values, notes = context.of(FileId.parse("V00_S0809_I00000582_P1281A"))
    assert values == {
        "interaction_type": "charades",
        "prompt_text_a": 'You are "late".\n\nSay so, “gently”.',
        "prompt_text_b": "Listen.",
        "ipc_a": "ANCP",
        "ipc_b": None,
        "relationship": "familiar",
        "relationship_detail": "friends",
        "personality:extraversion": 4.666666666666667,
        "personality:agreeableness": 1.0,
        "personality:conscientiousness": 2.0,
        "personality:neuroticism": 3.0,
        "personality:openness": 4.363636363636363,
    }
    assert notes == []


def test_undisclosed_no_row_and_no_table_are_null_and_say_why(tmp_path):
    context = Context(place(tmp_path, interactions=PROMPTS, participants=PEOPLE))
    values, notes = context.of(FileId.parse("V00_S0001_I00000999_P0001"))
    assert set(values.values()) == {None}
    assert [note[:2] for note in notes] == [
        ("interaction_type", "absent"),
        ("relationship", "absent"),
        ("personality", "undisclosed"),
    ]
    assert "no relationships.csv" in notes[1][2]


def test_a_participant_of_another_vendor_is_another_one(tmp_path):
    context = Context(place(tmp_path, participants=PEOPLE))
    values, notes = context.of(FileId.parse("V03_S0809_I00000582_P1281A"))
    assert values["personality:openness"] is None
    assert ("personality", "absent", "participants.csv has no row for V03_P1281A") in notes


def test_a_score_that_is_no_number(tmp_path):
    context = Context(place(tmp_path, participants=PEOPLE.replace("4.363636363636363", "high")))
    values, notes = context.of(FileId.parse("V00_S0809_I00000582_P1281A"))
    assert values["personality:openness"] is None and values["personality:neuroticism"] == 3.0
    assert ("personality", "unreadable", "openness is 'high' in participants.csv") in notes


def test_a_key_that_stands_twice(tmp_path):
    with pytest.raises(BrokenTable, match=r"relationships.csv, line 3: V00_S0809 stands twice"):
        Context(place(tmp_path, relationships=PAIRS + "V00,0809,stranger,stranger\n"))
