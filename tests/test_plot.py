"""What the picture of an interaction shows, read from its axes."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from seamless_interaction import SeamlessDataset
from seamless_interaction.conversations import plot as plotting
from seamless_interaction.conversations.plot import plot
from seamless_interaction.errors import InvalidWindow, MissingDependency, UnknownArray
from seamless_interaction.synthetic.writing import synthesize

ANNOTATED = "V03_S0101_I00000486"  # both partners; the first with annotations of every kind
FACES = "V00_S0101_I00000081"  # with face motion
ALONE = "V00_S0103_I00000810"
ANAMORPHIC = "V01_S0101_I00000891"


@pytest.fixture(scope="module")
def dataset(corpora):
    return SeamlessDataset(corpora["tree"][0])


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """One interaction with frames that are masked, and some words that are left out."""
    folder = tmp_path_factory.mktemp("long") / "data"
    synthesize(folder, interactions=1, seconds=20.0)
    return SeamlessDataset(folder)[0]


@pytest.fixture(scope="module")
def faces(dataset):
    """The whole picture of one conversation, to look at."""
    return plot(dataset[FACES])


def rows(figure):
    """The axes of time, from the top."""
    shared = figure.axes[-1]
    return [axes for axes in figure.axes if axes is shared or axes.get_shared_x_axes().joined(axes, shared)]


def named(figure, name):
    """The rows of a name, one a partner."""
    return [axes for axes in rows(figure) if axes.get_ylabel().replace("\n", "").startswith(name)]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def spans(axes, label):
    """Start and end of each bar of a kind."""
    (bars,) = [bars for bars in axes.collections if bars.get_label() == label]
    return np.array([path.get_extents().intervalx for path in bars.get_paths()]).reshape(-1, 2)


def stills(figure):
    return [axes.images[0] for axes in figure.axes if axes.images]


# --- what is there --------------------------------------------------------------------------------


def test_every_partner_has_stills_words_voice_and_curves_on_one_axis_of_time(dataset, faces):
    interaction, figure = dataset[FACES], faces
    assert len(stills(figure)) == 6
    for name in ("words", "voice", "annotations", "smplhglobal_orient", "movementFAUValue"):
        assert len(named(figure, name)) == 2, name
    assert {axes.get_xlim() for axes in rows(figure)} == {(0.0, interaction.duration)}
    assert all(set(interaction.participants) & {text.get_text()} for text in figure.texts[:2])
    title = figure.texts[-1].get_text()
    assert all(part in title for part in (FACES, interaction.label, interaction.split))
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [*interaction.participants, "voice activity", "no measurement"]


def test_partners_differ_in_colour(faces):
    blue, orange = (axes.collections[0].get_facecolor()[0] for axes in named(faces, "voice"))
    assert (blue != orange).any()


def test_voice_activity_is_shaded_where_the_recording_says(dataset, faces):
    for recording, axes in zip(dataset[FACES], named(faces, "voice"), strict=True):
        assert recording.vad
        expected = [(span["start"], span["end"]) for span in recording.vad]
        np.testing.assert_allclose(spans(axes, "vad"), expected, atol=1e-9)


def test_a_waveform_is_its_outline(long, monkeypatch):
    monkeypatch.setattr(plotting, "_READ_SECONDS", 3)
    for recording, axes in zip(long, named(plot(long), "voice"), strict=True):
        (wave,) = [area for area in axes.collections if area.get_label() == "waveform"]
        vertices = np.concatenate([path.vertices for path in wave.get_paths()])
        samples = recording.audio["array"]
        assert len(vertices) < 10 * plotting._BINS < len(samples) / 10
        np.testing.assert_allclose(vertices[:, 1].min(), samples.min(), rtol=1e-6)
        np.testing.assert_allclose(vertices[:, 1].max(), samples.max(), rtol=1e-6)
        loud = vertices[np.abs(vertices[:, 1]) > 0.1, 0]
        spoken = plotting._Canvas(0, long.duration)
        for start, length in plotting._spans(recording.vad, spoken):
            assert ((loud > start) & (loud < start + length)).any()
        assert all(any(span["start"] <= x <= span["end"] for span in recording.vad) for x in loud)


def test_words_stand_where_they_are_said(dataset, faces):
    for recording, axes in zip(dataset[FACES], named(faces, "words"), strict=True):
        said = [(word["word"], word["start"]) for segment in recording.segments for word in segment["words"]]
        assert [(text.get_text(), text.get_position()[0]) for text in axes.texts] == said


def test_words_that_would_overlap_are_left_out_and_counted(long):
    figure = plot(long)
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    for recording, axes in zip(long, named(figure, "words"), strict=True):
        count = sum(len(segment["words"]) for segment in recording.segments)
        assert axes.get_ylabel() in ("words", f"words\n{len(axes.texts)} of {count}")
        boxes = [text.get_window_extent(renderer) for text in axes.texts]
        lanes = {round(box.y0 + box.y1) for box in boxes}
        assert len(lanes) <= 3
        for place, box in enumerate(boxes):
            assert axes.bbox.x0 - 1 <= box.x0 and box.x1 <= axes.bbox.x1 + 1
            assert not any(
                abs((box.y0 + box.y1) - (other.y0 + other.y1)) < 2 and box.x0 < other.x1 and other.x0 < box.x1
                for other in boxes[:place]
            )


def test_a_crowd_of_words_is_thinned(tmp_path):
    synthesize(tmp_path / "data", interactions=1, seconds=80.0)
    recording_rows = named(plot(SeamlessDataset(tmp_path / "data")[0]), "words")
    for axes in recording_rows:
        shown, total = map(int, axes.get_ylabel().removeprefix("words\n").split(" of "))
        assert shown == len(axes.texts) and 20 < shown < total


def test_annotations_are_bars_with_their_text_a_lane_for_each_kind(dataset):
    interaction = dataset[ANNOTATED]
    figure = plot(interaction)
    kinds = [[label.get_text() for label in axes.get_yticklabels()] for axes in rows(figure)]
    for recording in interaction:
        own = list(dict.fromkeys(note["kind"] for note in recording.annotations))
        axes = rows(figure)[kinds.index(own)]
        bars = [bars for bars in axes.collections if bars.get_label() == "notes"]
        assert len(bars) == len(own) and sum(len(lane.get_paths()) for lane in bars) == len(recording.annotations)
        starts = sorted(path.get_extents().x0 for lane in bars for path in lane.get_paths())
        np.testing.assert_allclose(starts, sorted(note["start"] for note in recording.annotations))
        notes = [note["annotation"] for note in recording.annotations]
        assert axes.texts
        assert all(any(note.startswith(text.rstrip("…")) for note in notes) for text in texts(axes))
        lanes = [
            sorted(text.get_position()[0] for text in axes.texts if int(text.get_position()[1]) == n)
            for n in range(len(own))
        ]
        for kind, lane in zip(own, lanes, strict=True):
            last = max(note["start"] for note in recording.annotations if note["kind"] == kind)
            assert last < lane[-1] < last + 0.1  # has all the room to the end


# --- curves ---------------------------------------------------------------------------------------


def test_few_columns_are_lines_and_many_are_one_norm(dataset):
    figure = plot(dataset[FACES], curves=["smplh:global_orient", "smplh:body_pose", "boxes_and_keypoints:is_valid_box"])
    recording = dataset[FACES].recordings[0]
    lines = named(figure, "smplhglobal_orient")[0].lines
    assert len(lines) == 3
    for column, line in enumerate(lines):
        np.testing.assert_array_equal(line.get_xdata(), recording.times("smplh:global_orient"))
        np.testing.assert_allclose(line.get_ydata(), recording.smplh.global_orient[:, column])
    (norm,) = named(figure, "smplhbody_pose")[0].lines
    expected = np.linalg.norm(recording.smplh.body_pose.reshape(-1, 63).astype(float), axis=1)
    np.testing.assert_allclose(norm.get_ydata(), expected, rtol=1e-6)
    assert len(named(figure, "boxes_and_keypointsis_valid_box")[0].lines) == 1


@pytest.mark.parametrize("key", ["movement:FAUValue", "smplh:left_hand_pose", "smplh:translation"])
def test_frames_that_the_mask_leaves_out_are_hatched_and_not_drawn(long, key):
    for recording, axes in zip(long, named(plot(long, curves=key), key.replace(":", "")), strict=True):
        mask, times = recording.mask(key), recording.times(key)
        assert not mask.all()
        hatched = spans(axes, "masked")
        inside = ((times[:, None] >= hatched[:, 0] - 1e-9) & (times[:, None] < hatched[:, 1] - 1e-9)).any(1)
        np.testing.assert_array_equal(inside, ~mask)
        (bars,) = [bars for bars in axes.collections if bars.get_label() == "masked"]
        assert bars.get_hatch() == "////" and tuple(bars.get_edgecolor()[0]) == to_rgba(plotting._GREY)
        for line in axes.lines:
            np.testing.assert_array_equal(np.isnan(line.get_ydata()), ~mask)
        assert max(map(abs, axes.get_ylim())) < 1e3  # a translation without a box is 1e12 and more


def test_a_long_curve_is_thinned_to_its_lowest_and_highest_values(long, monkeypatch):
    monkeypatch.setattr(plotting, "_BINS", 50)
    key = "smplh:global_orient"
    for recording, axes in zip(long, named(plot(long, curves=key), "smplhglobal_orient"), strict=True):
        for column, line in enumerate(axes.lines):
            values = recording.smplh.global_orient[:, column]
            assert len(line.get_ydata()) == 100 < len(values)
            assert (line.get_ydata().min(), line.get_ydata().max()) == (values.min(), values.max())


def test_an_array_without_any_measurement_says_so(dataset):
    figure = plot(dataset["V00_S0104_I00000729"], curves="movement:expression")  # one of them was never measured
    noted = [texts(axes) for axes in named(figure, "movementexpression")]
    assert ["no measurement"] in noted and [] in noted


def test_a_curve_that_is_no_array_is_refused(dataset):
    with pytest.raises(UnknownArray, match=r"smplh:body_pose"):
        plot(dataset[FACES], curves=["smplh:body_poes"])


# --- what is not there ----------------------------------------------------------------------------


def test_what_a_vendor_does_not_have_is_written_in_its_place(dataset):
    figure = plot(dataset["V02_S0101_I00000405"])
    assert [texts(axes) for axes in named(figure, "FAUValue")] == [["movement:FAUValue absent"]] * 2
    assert [texts(axes) for axes in named(figure, "annotations")] == [["annotations absent"]] * 2


def test_what_a_copy_was_left_without_is_written_in_its_place(tmp_path):
    folder = tmp_path / "data"
    made = synthesize(folder, interactions=1, seconds=2.0)
    first = made.recordings[0].file_id
    (folder / "selection.csv").write_text(
        "file_id,modalities\n" + "".join(f"{r.file_id},{'smplh' * (r.file_id == first)}\n" for r in made.recordings)
    )
    for path in folder.rglob(f"{first}.*"):
        if "smplh" not in str(path):
            path.unlink()
    interaction = SeamlessDataset(folder)[0]
    figure = plot(interaction)
    assert len(stills(figure)) == 3
    assert ["video absent"] in [texts(axes) for axes in figure.axes]
    assert [texts(named(figure, name)[0]) for name in ("words", "voice", "annotations", "FAUValue")] == [
        ["transcript absent"],
        ["audio absent", "vad absent"],
        ["annotations absent"],
        ["movement:FAUValue absent"],
    ]
    assert len(named(figure, "smplhglobal_orient")[0].lines) == 3


def test_a_broken_file_is_named_in_its_place(broken):
    dataset = SeamlessDataset(broken["tree"][0])
    by_defect = {recording.defect: recording for recording in broken["tree"][1].recordings if recording.defect}
    for defect, note in {
        "damaged_audio": "audio: unreadable",
        "truncated_video": "video: truncated",
        "incomplete": "audio: missing",
        "invalid_json": "transcript: unreadable",
        "truncated_array": "smplh:left_hand_pose: truncated",
        "empty_arrays": "smplh:left_hand_pose: no frames",
    }.items():
        interaction = dataset[by_defect[defect].ids.interaction_id]
        figure = plot(interaction, curves="smplh:left_hand_pose")
        assert [note] in [texts(axes) for axes in figure.axes], defect


def test_an_interaction_of_nothing_but_placeholders_is_drawn(broken):
    folder, corpus = broken["tree"]
    (empty,) = [recording for recording in corpus.recordings if recording.defect == "empty_bundle"]
    figure = plot(SeamlessDataset(folder, single=True, file_ids=empty.file_id)[0])
    assert not stills(figure)
    assert [text for axes in figure.axes for text in texts(axes)] == [
        "video: no_video_stream",
        "no words",
        "audio: empty",
        "annotations absent",
        "smplh:global_orient: no frames",
        "movement:FAUValue absent",
    ]


def test_one_participant_alone(dataset):
    figure = plot(dataset[ALONE])
    assert len(stills(figure)) == 3
    assert len(named(figure, "voice")) == 1
    assert len(figure.legends[0].get_texts()) == 3


# --- a span of time -------------------------------------------------------------------------------


def test_a_window_shows_its_span_and_nothing_else(long):
    figure = plot(long, start=7.5, duration=4.0, curves="smplh:global_orient")
    assert {axes.get_xlim() for axes in rows(figure)} == {(7.5, 11.5)}
    for recording, axes in zip(long, named(figure, "voice"), strict=True):
        shaded = spans(axes, "vad")
        touching = [span for span in recording.vad if span["start"] < 11.5 and span["end"] > 7.5]
        assert len(shaded) == len(touching) < len(recording.vad)
        assert shaded.min() >= 7.5 - 1e-9 and shaded.max() <= 11.5 + 1e-9
        (wave,) = [area for area in axes.collections if area.get_label() == "waveform"]
        edges = np.concatenate([path.vertices[:, 0] for path in wave.get_paths()])
        assert 7.5 - 1e-9 <= edges.min() and edges.max() <= 11.5 + 1e-9
    for recording, axes in zip(long, named(figure, "words"), strict=True):
        assert sorted(texts(axes)) == sorted(word["word"] for word in recording.words_between(7.5, 11.5))
    for axes in named(figure, "smplhglobal_orient"):
        times = axes.lines[0].get_xdata()
        assert len(times) == 120 and times[0] == pytest.approx(7.5)
    captions = [still.axes.get_title().partition("  ")[2] for still in stills(figure)]
    assert captions == ["7.5 s", "9.5 s", "11.5 s"] * 2
    for recording, place in zip(long, (0, 3), strict=True):
        np.testing.assert_array_equal(stills(figure)[place].get_array(), recording.video.at(7.5))


def test_a_window_ends_with_the_interaction(long):
    assert rows(plot(long, start=long.duration - 1.0, duration=60.0))[0].get_xlim()[1] == long.duration


@pytest.mark.parametrize(("start", "duration"), [(-1.0, None), (0.0, 0.0), (0.0, -2.0), (float("nan"), 1), (30.0, 1.0)])
def test_a_span_that_is_none_is_refused(long, start, duration):
    with pytest.raises(InvalidWindow):
        plot(long, start=start, duration=duration)


# --- pictures, text, matplotlib -------------------------------------------------------------------


def test_pictures_have_the_shape_that_their_pixels_give_them(dataset):
    interaction = dataset[ANAMORPHIC]
    figure = plot(interaction)
    figure.draw_without_rendering()
    for recording, still in zip(interaction, stills(figure)[::3], strict=True):
        header = recording.video.header
        box = still.get_window_extent()
        wide = header.width * header.pixel_aspect_ratio / header.height
        assert wide < 1 <= header.width / header.height
        assert box.width / box.height == pytest.approx(wide, rel=0.02)


def test_text_that_looks_like_mathematics_is_text(tmp_path):
    synthesize(tmp_path, interactions=1, seconds=2.0)
    (path,) = tmp_path.rglob("transcript*/V00_S0101_I00000081_P0202.*")
    word = {"word": "$\\frac{$", "start": 0.5, "end": 0.6, "score": 1.0}
    segment = {"start": 0.5, "end": 0.9, "transcript": "$5 $x_{", "words": [{**word, "word": "$5$"}, word]}
    path.write_text(json.dumps(segment) + "\n")
    figure = plot(SeamlessDataset(tmp_path)[0], path=tmp_path / "plot.png")
    assert texts(named(figure, "words")[0]) == ["$5$", "$\\frac{$"]
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_an_interaction_plots_itself_without_pyplot(tree, tmp_path):
    """Takes 5 s: a process that has imported nothing yet, and a font cache that is not there."""
    code = (
        "import sys\n"
        "from seamless_interaction import SeamlessDataset\n"
        f"SeamlessDataset({str(tree)!r})[{FACES!r}].plot(0.5, 1.0, path={str(tmp_path / 'plot.svg')!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules and 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "MPLBACKEND": "QtAgg"})
    assert "<svg" in (tmp_path / "plot.svg").read_text()


def test_without_matplotlib_the_extra_is_named(dataset, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(MissingDependency, match=r"pip install 'seamless-interaction\[plot\]'"):
        dataset[FACES].plot()
