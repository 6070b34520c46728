"""One picture of an interaction: both partners on one axis of time. Needs matplotlib, the extra ``plot``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from seamless_interaction import ANNOTATION_KINDS, EVERY_ARRAY
from seamless_interaction.errors import BadFile, InvalidWindow, MissingDependency, UnknownArray
from seamless_interaction.places.write import local_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from seamless_interaction.formats.audio import Audio

CURVES = ("smplh:global_orient", "movement:FAUValue")
MAX_COLUMNS = 6  # lines of one curve; of an array with more columns the norm is drawn

_COLORS = ("#1f6fb4", "#c8501e")  # of the partners
_LINES = ("#6a3d9a", "#2ca02c", "#b8860b", "#d6277a", "#17829b", "#555555")  # of an array's columns
_GREY = "#8a8a8a"
_DPI = 110
_WIDTH, _LEFT, _RIGHT, _BOTTOM, _HEAD = 15.0, 1.45, 0.25, 0.4, 0.5  # inches; the head has title and legend
_STILLS, _CAPTION, _NAME, _GAP = 1.75, 0.2, 0.3, 0.07  # heights in inches
_TICKS = 0.42  # inches for the labels of ticks, left of the axes
_LANE = 0.19  # of one line of words or annotations, inches
_LINE = _LANE + 0.06  # of a row that is one line of text, inches
_FONT = 8.0  # points
_BINS = 2000  # of a waveform or a curve over the width: finer than the pixels of a screen
_READ_SECONDS = 60  # of audio that are in memory at a time
_STILL_PIXELS = 480  # of a still's longer side, at least, if the picture has as many
_WORD_LANES = 3
_NOTE: dict[str, Any] = {"size": _FONT, "style": "italic", "color": "#777777", "parse_math": False}


def plot(
    interaction: Any,
    start: float = 0.0,
    duration: float | None = None,
    curves: str | Iterable[str] = CURVES,
    path: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw an interaction: for each partner stills, words, waveform with voice activity, annotations, motion.

    What a recording does not have is written in its place. Frames without a measurement, by the array's mask, are
    hatched and not drawn. Words and annotations that would overlap are left out or cut. Audio is read by the minute,
    and only its outline is drawn, so hours of it need little memory.

    Args:
        interaction: an ``Interaction``.
        start, duration: seconds to show; None is up to the end.
        curves: keys of arrays, such as ``smplh:body_pose``. Up to ``MAX_COLUMNS`` columns are lines of their own; of an
            array with more, the norm of each frame is drawn.
        path: where to save the figure too, by its ending a PNG, PDF or SVG.

    Returns:
        A ``matplotlib.figure.Figure`` that pyplot knows nothing of: it needs no display, and is freed when dropped.

    Raises:
        MissingDependency: matplotlib is not installed.
        InvalidWindow: a span of time that is none, or after the end.
        UnknownArray: a curve that is no array of the format, nor of these recordings.
    """
    keys = (curves,) if isinstance(curves, str) else tuple(curves)
    recordings = list(interaction.recordings)
    for key in keys:
        if key not in EVERY_ARRAY and not any(key in recording.arrays for recording in recordings):
            raise UnknownArray(
                key, dict.fromkeys([*EVERY_ARRAY, *(key for recording in recordings for key in recording.arrays)])
            )
    canvas = _Canvas(*_span(recordings, start, duration))
    blocks = [list(_rows(recording, keys, canvas, _COLORS[number % 2])) for number, recording in enumerate(recordings)]
    heights = [_NAME + sum(row.height + _GAP for row in rows) for rows in blocks]
    canvas.resize(_HEAD + _CAPTION + _STILLS + sum(heights) + _BOTTOM)
    canvas.skip(_HEAD)
    _draw_stills(canvas, recordings)
    for number, (recording, rows) in enumerate(zip(recordings, blocks, strict=True)):
        canvas.skip(_NAME)
        canvas.write(0.1, -0.12, recording.participant_id, color=_COLORS[number % 2], weight="bold", size=11)
        for row in rows:
            axes = canvas.axes(row.height)
            axes.set_ylabel(row.label, rotation=0, ha="right", va="center", size=_FONT, color="#333333")
            axes.yaxis.set_label_coords(-_TICKS / (_WIDTH - _LEFT - _RIGHT), 0.5)
            row.draw(axes)
            canvas.skip(_GAP)
    canvas.label_time()
    _draw_head(canvas, interaction)
    if path is not None:
        canvas.figure.savefig(local_path(path))
    return canvas.figure


def _span(recordings: Sequence[Any], start: float, duration: float | None) -> tuple[float, float]:
    """First and last second to show. Raises ``InvalidWindow``."""
    if not start >= 0 or (duration is not None and not duration > 0):
        raise InvalidWindow(f"start is {start!r} and duration {duration!r}. Give seconds: 0 or more, and more than 0.")
    end = max(float(recording.duration) for recording in recordings) or 1.0  # of nothing, a second is shown
    if start >= end:
        raise InvalidWindow(f"a picture from {start} s on, and the interaction ends at {end:.3f} s.")
    return float(start), end if duration is None else min(end, float(start + duration))


def _had(recording: Any, what: str) -> tuple[Any, str]:
    """What a recording has of something, and why not if it is None."""
    name = "transcript" if what == "segments" else what
    try:
        value = getattr(recording, what)
    except BadFile as error:
        return None, f"{name}: {error.code}"
    return value, f"{name} absent" if value is None else ""


# --- the sheet ------------------------------------------------------------------------------------


class _Canvas:
    """A figure that is filled from the top, in inches; all axes of time share one."""

    def __init__(self, start: float, stop: float):
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
            from matplotlib.font_manager import FontProperties
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "matplotlib":
                raise
            raise MissingDependency("plot", "matplotlib", "plot") from error
        self.start, self.stop = start, stop
        self.figure = Figure(figsize=(_WIDTH, 1), dpi=_DPI)
        self._renderer = FigureCanvasAgg(self.figure).get_renderer()
        self._font = FontProperties(size=_FONT)
        self._height = self._top = 1.0
        self._shared: Axes | None = None
        self._seconds = (stop - start) / ((_WIDTH - _LEFT - _RIGHT) * _DPI)  # of a pixel

    def width_of(self, text: str) -> float:
        """How wide a text in ``_FONT`` is, in seconds on the axis of time."""
        return float(self._renderer.get_text_width_height_descent(text, self._font, False)[0] * self._seconds)

    def resize(self, height: float) -> None:
        self.figure.set_size_inches(_WIDTH, height)
        self._height = self._top = height

    def skip(self, height: float) -> None:
        self._top -= height

    def place(self, left: float, width: float, height: float, **options: Any) -> Axes:
        """Axes whose upper edge is where the filled part ends."""
        bottom = (self._top - height) / self._height
        return self.figure.add_axes((left / _WIDTH, bottom, width / _WIDTH, height / self._height), **options)

    def axes(self, height: float) -> Axes:
        """The next axes of time, over the full width."""
        axes = self.place(_LEFT, _WIDTH - _LEFT - _RIGHT, height, sharex=self._shared)
        if self._shared is None:
            axes.set_xlim(self.start, self.stop)
            self._shared = axes
        axes.tick_params(labelbottom=False, length=2, labelsize=_FONT - 1, colors="#555555")
        axes.spines[["top", "right", "left", "bottom"]].set_color("#d5d5d5")
        axes.grid(axis="x", color="#e8e8e8", linewidth=0.6)
        axes.set_axisbelow(True)
        self.skip(height)
        return axes

    def write(self, left: float, below: float, text: str, **options: Any) -> None:
        """A text at inches from the left, and below the edge of what is filled."""
        y = (self._top - below) / self._height
        self.figure.text(left / _WIDTH, y, text, **{"va": "center", "parse_math": False, **options})

    def label_time(self) -> None:
        """Times below the last axes: minutes and seconds where the span is long."""
        from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

        axes = self.figure.axes[-1]
        axes.tick_params(labelbottom=True, labelsize=_FONT)
        span = self.stop - self.start
        if span > 100:
            steps = (10, 15, 30, 60, 120, 300, 600, 1200, 3600)
            step = next((step for step in steps if span / step <= 16), steps[-1])
            axes.xaxis.set_major_locator(MultipleLocator(step))
        else:
            axes.xaxis.set_major_locator(MaxNLocator(16, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: self.time(seconds)))

    def time(self, seconds: float) -> str:
        """A time, as precise as the span needs it."""
        if self.stop - self.start > 100:
            return f"{round(seconds) // 60}:{round(seconds) % 60:02d}"
        return f"{round(seconds, 2):g} s" if self.stop - self.start > 2 else f"{round(seconds, 4):g} s"


class _Row(NamedTuple):
    """One axes of a partner: its height in inches, its name, and what draws into it."""

    height: float
    label: str
    draw: Callable[[Axes], None]


def _rows(recording: Any, keys: Sequence[str], canvas: _Canvas, color: str) -> Iterator[_Row]:
    yield _words_row(recording, canvas)
    yield _Row(0.85, "voice", lambda axes: _draw_voice(axes, recording, canvas, color))
    yield _annotations_row(recording, canvas, color)
    for key in keys:
        yield _curve_row(recording, key, canvas)


def _draw_head(canvas: _Canvas, interaction: Any) -> None:
    from matplotlib.patches import Patch

    span = f"{canvas.time(canvas.start)} to {canvas.time(canvas.stop)}"
    title = f"{interaction.id}    {interaction.label}, {interaction.split}    {span}"
    top = canvas.figure.get_figheight()
    canvas.figure.text(0.1 / _WIDTH, 1 - 0.25 / top, title, size=13, weight="bold", va="center", parse_math=False)
    handles = [Patch(color=color, label=who) for color, who in zip(_COLORS, interaction.participants, strict=False)]
    handles.append(Patch(facecolor=_GREY, alpha=0.3, label="voice activity"))
    handles.append(Patch(facecolor="none", edgecolor=_GREY, hatch="////", linewidth=0, label="no measurement"))
    right = 1 - _RIGHT / _WIDTH
    canvas.figure.legend(
        handles=handles, loc="center right", bbox_to_anchor=(right, 1 - 0.25 / top), ncols=4, fontsize=9, frameon=False
    )


def _note(axes: Axes, text: str) -> None:
    """Write into an axes why nothing is drawn there."""
    axes.set_facecolor("#f5f5f5")
    axes.set_yticks([])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", **_NOTE)


# --- stills ---------------------------------------------------------------------------------------


def _draw_stills(canvas: _Canvas, recordings: Sequence[Any]) -> None:
    """A strip of three pictures a partner, from the start, the middle and the end of what is shown."""
    width = (_WIDTH - _LEFT - _RIGHT) / (3 * max(1, len(recordings)))
    canvas.skip(_CAPTION)
    for number, recording in enumerate(recordings):
        left = _LEFT + 3 * number * width
        video, text = _had(recording, "video")
        try:
            stills = [] if video is None else list(_stills(video, canvas))
        except BadFile as error:
            stills, text = [], f"video: {error.code}"
        for place, (seconds, picture, aspect) in enumerate(stills):
            axes = canvas.place(left + place * width, width, _STILLS)
            axes.imshow(picture, aspect=aspect, interpolation="antialiased")
            axes.set_axis_off()
            axes.set_title(
                f"{recording.participant_id}  {canvas.time(seconds)}", size=_FONT, pad=3, color=_COLORS[number % 2]
            )
        if not stills:
            axes = canvas.place(left + 0.1, 3 * width - 0.2, _STILLS, xticks=[])
            axes.spines[["top", "right", "left", "bottom"]].set_color("#d5d5d5")
            _note(axes, text or "the video has ended")
            axes.set_title(recording.participant_id, size=_FONT, pad=3, color=_COLORS[number % 2])
    canvas.skip(_STILLS)


def _stills(video: Any, canvas: _Canvas) -> Iterator[tuple[float, np.ndarray, float]]:
    """Time, picture (about ``_STILL_PIXELS`` long) and height by width of its pixels; none after the video's end."""
    stop = min(canvas.stop, float(video.header.duration))
    if canvas.start >= stop:
        return
    last = max(canvas.start, min(stop, float(video.times[-1])))
    for seconds in (canvas.start, (canvas.start + last) / 2, last):
        picture = video.at(seconds)
        step = max(1, max(picture.shape[:2]) // _STILL_PIXELS)
        height, width = (size // step for size in picture.shape[:2])
        tiles = picture[: height * step, : width * step].reshape(height, step, width, step, 3)
        yield seconds, tiles.mean((1, 3)).astype("uint8"), 1 / (video.header.pixel_aspect_ratio or 1.0)


# --- words, voice, annotations --------------------------------------------------------------------


def _words_row(recording: Any, canvas: _Canvas) -> _Row:
    segments, text = _had(recording, "segments")
    if segments is None:
        return _Row(_LINE, "words", lambda axes: _note(axes, text))
    words = [word for word in recording.words_between(canvas.start, canvas.stop) if word["start"] is not None]
    if not words:
        return _Row(_LINE, "words", lambda axes: _note(axes, "no words"))
    labels, lanes = _lay_out(words, canvas)

    def draw(axes: Axes) -> None:
        axes.set_yticks([])
        axes.set_ylim(lanes, 0)
        for text, x, lane in labels:
            axes.text(x, lane + 0.5, text, size=_FONT, va="center", color="#222222", clip_on=True, parse_math=False)

    shown = "words" if len(labels) == len(words) else f"words\n{len(labels)} of {len(words)}"
    return _Row(lanes * _LANE + 0.06, shown, draw)


def _lay_out(words: Sequence[Any], canvas: _Canvas) -> tuple[list[tuple[str, float, int]], int]:
    """Texts with left edge and lane, each where it is said, in the first lane that is free there; how many lanes.

    A word that finds no lane is left out.
    """
    gap = canvas.width_of("n")
    free = [canvas.start] * _WORD_LANES
    labels: list[tuple[str, float, int]] = []
    for word in sorted(words, key=lambda word: float(word["start"])):
        width = canvas.width_of(word["word"])
        x = max(canvas.start, min(float(word["start"]), canvas.stop - width))
        lane = next((lane for lane, edge in enumerate(free) if edge <= x), None)
        if lane is not None and width <= canvas.stop - canvas.start:
            labels.append((word["word"], x, lane))
            free[lane] = x + width + gap
    return labels, max((lane + 1 for _, _, lane in labels), default=1)


def _draw_voice(axes: Axes, recording: Any, canvas: _Canvas, color: str) -> None:
    """The waveform's outline; spans of voice activity shaded behind it."""
    audio, no_audio = _had(recording, "audio")
    vad, no_vad = _had(recording, "vad")
    try:
        if audio is not None:
            times, low, high = _outline(audio, canvas.start, canvas.stop)
            axes.fill_between(times, low, high, step="post", color=color, linewidth=0.4, label="waveform")
            peak = max(float(np.abs([low, high]).max(initial=0)), 1e-3)
            axes.set_ylim(-1.15 * peak, 1.4 * peak)  # room above, for shading that no waveform hides
            axes.set_yticks([-peak, 0, peak], [f"{-peak:.2g}", "0", f"{peak:.2g}"])
            no_audio = "" if len(times) else "the audio has ended"
    except BadFile as error:
        no_audio = f"audio: {error.code}"
    if no_audio:
        _note(axes, no_audio)
    if no_vad:
        axes.text(0.005, 0.97, no_vad, transform=axes.transAxes, va="top", **_NOTE)
    if vad:
        spans = list(_spans(vad, canvas))
        style = {"color": color, "alpha": 0.18, "linewidth": 0, "zorder": 0.5, "label": "vad"}
        axes.broken_barh(spans, (0, 1), transform=axes.get_xaxis_transform(), **style)


def _spans(intervals: Iterable[Any], canvas: _Canvas) -> Iterator[tuple[float, float]]:
    """Start and length of what of the intervals is shown."""
    for interval in intervals:
        start, stop = max(canvas.start, float(interval["start"])), min(canvas.stop, float(interval["end"]))
        if start < stop:
            yield start, stop - start


def _outline(audio: Audio, start: float, stop: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left edges in seconds, lowest and highest sample of at most ``_BINS`` bins, over all channels."""
    rate = audio.header.sampling_rate
    first, last = (min(round(edge * rate), audio.header.num_samples) for edge in (start, stop))
    count = min(_BINS, last - first)
    edges = np.linspace(first, last, count + 1).astype(np.int64)
    low, high = np.empty(count), np.empty(count)
    step = max(1, _READ_SECONDS * rate * count // max(1, last - first))
    for left in range(0, count, step):
        right = min(count, left + step)
        samples = np.atleast_2d(audio.read(edges[left] / rate, edges[right] / rate))
        starts = edges[left:right] - edges[left]
        low[left:right] = np.fmin.reduceat(samples.min(0), starts)
        high[left:right] = np.fmax.reduceat(samples.max(0), starts)
    return edges[:-1] / rate, low, high


def _annotations_row(recording: Any, canvas: _Canvas, color: str) -> _Row:
    annotations, text = _had(recording, "annotations")
    if annotations is None:
        return _Row(_LINE, "annotations", lambda axes: _note(axes, text))
    shown = [note for note in annotations if note["start"] < canvas.stop and note["end"] >= canvas.start]
    if not shown:
        text = f"no annotations here, {len(annotations)} elsewhere" if annotations else "no annotations"
        return _Row(_LINE, "annotations", lambda axes: _note(axes, text))
    kinds = [kind for kind in ANNOTATION_KINDS if any(note["kind"] == kind for note in shown)]

    def draw(axes: Axes) -> None:
        axes.set_ylim(len(kinds), 0)
        axes.set_yticks(np.arange(len(kinds)) + 0.5, kinds)
        axes.tick_params(axis="y", length=0)
        for lane, kind in enumerate(kinds):
            notes = sorted((note for note in shown if note["kind"] == kind), key=lambda note: float(note["start"]))
            _draw_annotations(axes, notes, lane, canvas, color)

    return _Row(len(kinds) * _LANE + 0.06, "", draw)


def _draw_annotations(axes: Axes, notes: Sequence[Any], lane: int, canvas: _Canvas, color: str) -> None:
    """Bars of one kind, each with as much of its text as there is room up to the next."""
    bars = [(float(note["start"]), max(0.0, float(note["end"]) - float(note["start"]))) for note in notes]
    # A line around each, as some last no time.
    axes.broken_barh(
        bars, (lane + 0.08, 0.84), facecolor=color, edgecolor=color, alpha=0.25, linewidth=1.5, label="notes"
    )
    pad = canvas.width_of("i")
    rights = [start for start, _ in bars[1:]] + [canvas.stop]
    for note, (start, _), right in zip(notes, bars, rights, strict=True):
        left = max(canvas.start, start) + pad
        text = _fitting(" ".join(note["annotation"].split()), right - pad - left, canvas)
        if text:
            axes.text(left, lane + 0.5, text, size=_FONT, va="center", color="#222222", clip_on=True, parse_math=False)


def _fitting(text: str, width: float, canvas: _Canvas) -> str:
    """As much of a text as fits into ``width`` seconds; empty if that is nearly nothing."""
    whole = canvas.width_of(text)
    if whole <= width:
        return text
    part = text[: max(0, int(len(text) * width / whole) + 2)]
    while part and canvas.width_of(part + "…") > width:
        part = part[:-1]
    return part.rstrip() + "…" if len(part) > 3 else ""


# --- curves ---------------------------------------------------------------------------------------


def _curve_row(recording: Any, key: str, canvas: _Canvas) -> _Row:
    group, _, feature = key.partition(":")
    shown = slice(0, 0)
    try:
        curve = _curve(recording, key)
        text = f"{key} absent"
        if curve is not None:
            text = f"{key}: no frames" + (" here" if len(curve.times) else "")
            shown = slice(*curve.times.searchsorted([canvas.start, canvas.stop]))
    except BadFile as error:
        curve, text = None, f"{key}: {error.code}"
    if curve is None or shown.start == shown.stop:
        return _Row(_LINE, feature, lambda axes: _note(axes, text))
    name = "\n".join(line for part in (group, feature) for line in _broken(part))
    return _Row(0.75, name, lambda axes: _draw_curve(axes, curve, shown, canvas))


def _broken(name: str, width: int = 16) -> list[str]:
    """A long name in lines, broken behind underscores."""
    lines = [""]
    for part in name.replace("_", "_\n").split("\n"):
        if lines[-1] and len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return lines


class _Curve(NamedTuple):
    """Rows of an array, when each is (s), and whether each is a measurement."""

    values: np.ndarray
    times: np.ndarray
    mask: np.ndarray


def _curve(recording: Any, key: str) -> _Curve | None:
    """An array of a recording, if it has it. One that the schema does not know is taken to span the recording."""
    if key in EVERY_ARRAY:
        values = recording.array(key)
        return None if values is None else _Curve(values, recording.times(key), recording.mask(key))
    if key not in recording.arrays:
        return None
    values = recording.arrays[key]
    return _Curve(values, np.arange(len(values)) * recording.duration / max(1, len(values)), np.ones(len(values), bool))


def _draw_curve(axes: Axes, curve: _Curve, rows: slice, canvas: _Canvas) -> None:
    """An array's columns, or their norm, over time; frames that its mask leaves out are hatched."""
    axes.tick_params(axis="y", labelsize=_FONT - 1)
    values, times, mask = curve
    lines = np.asarray(values[rows], np.float64).reshape(len(times[rows]), -1)
    names = [str(number) for number in range(lines.shape[1])]
    if len(names) > MAX_COLUMNS:
        lines, names = np.linalg.norm(lines, axis=1, keepdims=True), ["norm"]
    lines = np.where(mask[rows, None] & np.isfinite(lines), lines, np.nan)
    for name, color, line in zip(names, _LINES, _thinned(times[rows], lines), strict=False):
        axes.plot(*line, color=color, linewidth=1.0, label=name)
    axes.legend(loc="upper right", ncols=MAX_COLUMNS, fontsize=_FONT - 1.5, framealpha=0.7, borderpad=0.2)
    if np.isnan(lines).all():
        _note(axes, "no measurement")
    else:
        low, high = np.nanmin(lines), np.nanmax(lines)
        room = (high - low) or 1.0
        axes.set_ylim(low - 0.1 * room, high + 0.4 * room)  # above, for the legend
    edges = np.append(times, times[-1] + (times[-1] - times[0]) / max(1, len(times) - 1))
    hatched = [{"start": edges[first], "end": edges[last]} for first, last in _runs(~mask)]
    axes.broken_barh(
        list(_spans(hatched, canvas)),
        (0, 1),
        transform=axes.get_xaxis_transform(),
        facecolor="#f0f0f0",
        edgecolor=_GREY,
        hatch="////",
        linewidth=0,
        label="masked",
        zorder=0.5,
    )


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """First and last (exclusive) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]


def _thinned(times: np.ndarray, lines: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Times and values of each column; of long ones the lowest and the highest value of each of ``_BINS`` bins."""
    edges = np.linspace(0, len(times), _BINS, endpoint=False).astype(np.int64)
    for column in lines.T:
        if len(times) <= 2 * _BINS:
            yield times, column
        else:
            both = np.stack([np.fmin.reduceat(column, edges), np.fmax.reduceat(column, edges)], axis=1)
            yield np.repeat(times[edges], 2), both.reshape(-1)
