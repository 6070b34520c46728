import pytest
from conftest import warnings

from seamless_interaction import FileId
from seamless_interaction.errors import BrokenTable
from seamless_interaction.places.place import Place
from seamless_interaction.source.context import Context
from seamless_interaction.source.tables import read_filelist, read_selection, selected

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


OTHERS = [f"V00_S0809_I00000{number}_P1281A,improvised,dev,0,40" for number in range(100, 140)]


def test_bad_rows_of_a_file_list_are_named_and_left_out(tmp_path, caplog):
    bad = [
        ROW.replace("P1281A", "../P1281"),
        ROW.replace("40", "forty"),
        ROW.replace("dev", "d\0v"),
        ROW.replace("V00", "V07"),
        ROW + ",more",
        ROW.replace("dev", '"d\nev"'),
    ]
    here = place(tmp_path, filelist="\n".join([HEAD, *OTHERS[:20], *bad, *OTHERS[20:]]))
    assert read_filelist(here)["file_id"].to_pylist() == [row.partition(",")[0] for row in OTHERS]
    (message,) = warnings(caplog)
    assert "6 rows cannot be used" in message and "lines 27 to 28" in message
    for line, what in [(22, "'V00_S0809_I00000582_../P1281'"), (23, "'forty'"), (24, "no text"), (25, "'V07_")]:
        assert f"line {line}: " in message and what in message
    with pytest.raises(BrokenTable, match=r"filelist.csv, line 22: not a file id"):
        read_filelist(here, strict=True)


def test_of_an_id_that_stands_twice_the_row_counts_that_diff_csv_names_or_the_first(tmp_path, caplog):
    def row(number, split, archive):
        return f"V00_S0809_I0000{number}_P1281A,improvised,{split},0,{archive}"

    rows = [row(2001, "dev", 1), row(2002, "dev", 2), row(2003, "dev", 3), row(2001, "test", 4)]
    rows += [row(2002, "test", 5), row(2003, "dev", 3)]
    here = place(tmp_path, filelist="\n".join([HEAD, *rows]))
    assert read_filelist(here)["archive_idx"].to_pylist() == [1, 2, 3]
    (message,) = warnings(caplog)
    assert "3 ids stand twice" in message and "Rows of 2 contradict each other" in message
    assert "V00_S0809_I00002002_P1281A in line 3 and line 6, of which line 3 counts" in message
    with pytest.raises(BrokenTable, match="line 2 and line 5: V00_S0809_I00002001_P1281A stands twice"):
        read_filelist(here, strict=True)
    caplog.clear()
    diff = ",file_id,dupe_split,actual_split,label,actual_part\n0,V00_S0809_I00002002_P1281A,[],test,[],improvised\n"
    assert read_filelist(place(tmp_path, diff=diff))["archive_idx"].to_pylist() == [1, 3, 5]
    assert "line 6 counts" in warnings(caplog)[0] and "for 1 the one that diff.csv names" in warnings(caplog)[0]


def test_numbers_and_flags_as_other_tools_write_them(tmp_path):
    row = ROW.replace(",0,40", ",0.0,40.0")
    (read,) = read_filelist(place(tmp_path, filelist=f"{HEAD}{FLAGS}\n{row},1.0,,False\n")).to_pylist()
    assert (read["batch_idx"], read["archive_idx"]) == (0, 40)
    assert [read[flag] for flag in FLAGS[1:].split(",")] == [True, None, False]


def test_a_selection_of_what_the_file_list_does_not_name_is_told(tmp_path, caplog):
    here = place(tmp_path, filelist=f"{HEAD}\n{ROW}\n", selection=f"file_id\n{ROW.partition(',')[0]}\nV03_nobody\n")
    assert len(selected(here, read_filelist(here), read_selection(here))) == 1
    assert any("1 file ids in it are not in the file list (V03_nobody)" in message for message in warnings(caplog))


PROMPTS = (
    ",prompt_hash,prompt_id_unique,participant_a_prompt_text,participant_b_prompt_text,ipc_a,ipc_b,interaction_type\n"
    '0,00000582,P0070_v3.4.fam_ANCP_XXXX,"You are ""late"".\n\nSay so, “gently”.",Listen.,ANCP,,charades\n'
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
        "prompt_id_unique": "P0070_v3.4.fam_ANCP_XXXX",
        "prompt_category": "fam",
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


@pytest.mark.parametrize(
    "unique, category",
    [
        ("P0002_v3.4aac_ANCP_XXXX-148", "aac"),
        ("P0002_v3.2.1.AC_ANCP_ANCP", "AC"),
        ("P0060_AA_ANCP_XXXX-87", "AA"),
        ("P0047_CC_ANCP4134", "CC"),
        ("RP0.3_AMCM_APCP", "RP"),
        ("0070", None),
        ("", None),
    ],
)
def test_the_category_of_a_prompt_is_in_its_unique_id(tmp_path, unique, category):
    context = Context(place(tmp_path, interactions=PROMPTS.replace("P0070_v3.4.fam_ANCP_XXXX", unique)))
    values, _ = context.of(FileId.parse("V00_S0809_I00000582_P1281A"))
    assert (values["prompt_id_unique"], values["prompt_category"]) == (unique or None, category)


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
    context = Context(
        place(tmp_path, participants=PEOPLE.replace("4.363636363636363", "high").replace(",2.0,", ",nan,"))
    )
    values, notes = context.of(FileId.parse("V00_S0809_I00000582_P1281A"))
    assert values["personality:openness"] is None and values["personality:neuroticism"] == 3.0
    assert ("personality", "unreadable", "openness is 'high' in participants.csv") in notes
    assert ("personality", "unreadable", "conscientiousness is 'nan' in participants.csv") in notes


def test_bad_rows_of_the_context_are_named_and_left_out(tmp_path, caplog):
    rows = ["V00,0810,familiar,friends", "V00,0809,stranger,stranger", "V00,0811", "V00,0810,familiar,friends"]
    here = place(
        tmp_path, relationships=PAIRS + "\n".join([*rows, *(f"V00,{n},stranger,s" for n in range(1000, 1009))])
    )
    assert Context(here).of(FileId.parse("V00_S0809_I00000582_P1281A"))[0]["relationship"] == "familiar"
    (message,) = warnings(caplog)
    assert "2 rows cannot be used" in message and "line 5: 2 cells" in message
    assert "line 4: V00_S0809 stands twice, and differs from line 2, which counts" in message
    with pytest.raises(BrokenTable, match=r"relationships.csv, line 4: V00_S0809 stands twice"):
        Context(here, strict=True)


def test_ids_that_another_tool_took_for_numbers_are_found(tmp_path, caplog):
    people = PEOPLE.replace(",00,1281A", ",0,1281A").replace(",00,0001", ",0,1.0")
    prompts = PROMPTS.replace("00000582", "582.0")
    context = Context(
        place(tmp_path, interactions=prompts, participants=people, relationships=PAIRS.replace("0809", "809"))
    )
    for participant in ("1281A", "0001"):
        values, notes = context.of(FileId.parse(f"V00_S0809_I00000582_P{participant}"))
        assert values["relationship"] == "familiar" and values["interaction_type"] == "charades"
        assert not [note for note in notes if note[1] == "absent"]
    assert not warnings(caplog)


def test_ids_that_cannot_be_read_are_no_absent_context(tmp_path):
    with pytest.raises(BrokenTable, match=r"interactions.csv, lines 2 to 4: not an id: prompt_hash '5.82e\+02'"):
        Context(place(tmp_path, interactions=PROMPTS.replace("00000582", "5.82e+02")))
