from hypothesis import given
from hypothesis import strategies as st

from seamless_interaction import LABELS, SUBSETS, FileId
from seamless_interaction.selection import MEAN_BYTES, select

# Interactions of one or two participants, few enough to try and many enough to exceed the smaller sizes.
interactions = st.lists(
    st.tuples(
        st.sampled_from(sorted(MEAN_BYTES)), st.integers(0, 9999), st.sampled_from(LABELS), st.sampled_from([1, 2])
    ),
    unique_by=lambda interaction: interaction[:2],
    max_size=120,
)


def rows(interactions):
    return [
        {"file_id": f"{vendor}_S{session:04d}_I00000001_P000{participant}", "label": label}
        for vendor, session, label, participants in interactions
        for participant in range(participants)
    ]


@given(interactions)
def test_sizes_are_nested_and_below_their_cap(interactions):
    listed = rows(interactions)
    smaller: set = set()
    for subset, cap in SUBSETS.items():
        chosen = select(listed, subset)
        assert smaller <= chosen
        assert cap is None or sum(MEAN_BYTES[file_id[:3]] for file_id in chosen) <= cap
        smaller = chosen
    assert smaller == {row["file_id"] for row in listed}


@given(interactions, st.randoms())
def test_the_order_of_the_list_does_not_matter_and_interactions_stay_whole(interactions, random):
    listed = rows(interactions)
    chosen = select(listed, "10GB")
    random.shuffle(listed)
    assert select(listed, "10GB") == chosen
    whole = {FileId.parse(file_id).interaction_id for file_id in chosen}
    assert chosen == {row["file_id"] for row in listed if FileId.parse(row["file_id"]).interaction_id in whole}


@given(interactions)
def test_selecting_from_what_was_selected_changes_nothing(interactions):
    listed = rows(interactions)
    chosen = select(listed, "10GB")
    assert select([row for row in listed if row["file_id"] in chosen], "10GB") == chosen


@given(interactions)
def test_labels_are_parts_of_a_size(interactions):
    listed = rows(interactions)
    parts = [select(listed, "10GB", label) for label in LABELS]
    assert set.union(*parts) == select(listed, "10GB") and not set.intersection(*parts)


def test_ten_gigabytes_hold_about_as_many_recordings_as_the_census_says():
    listed = rows([("V03", session, "improvised", 2) for session in range(100)])
    assert len(select(listed, "10GB")) == 42
    listed = rows([("V00", session, "improvised", 2) for session in range(100)])
    assert len(select(listed, "10GB")) == 84
