# ---
# jupyter:
#   jupytext:
#     notebook_metadata_filter: -jupytext.text_representation
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Train a model, and generate motion
#
# A few steps of training `ImitatorModel`, its learning curve and its errors beside simple guesses; then what the model
# is for: a representation of a conversation over time, and motion for a voice.
#
# **Needs** `pip install ".[notebooks,torch]"`. **Takes** about 20 seconds, on one core.
#
# **The data are synthetic**: made by a program, in the format of the real recordings. So is all that the model learns.
# **Ten steps on synthetic conversations tell nothing about people, nor about what the model is worth.** They show that
# everything runs.

# %%
import json
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from seamless_interaction import SeamlessDataset
from seamless_interaction.models import ImitatorModel
from seamless_interaction.models.rotations import geodesic, to_matrix
from seamless_interaction.models.training import Settings, train
from seamless_interaction.synthetic.writing import synthesize

COLORS = ["#0072B2", "#D55E00"]  # told apart by everybody
torch.set_num_threads(1)  # the model is small: more threads wait for each other longer than they work

# %% [markdown]
# ## Some data
#
# Four synthetic conversations of four seconds: three in `train`, one in `dev`. With a copy of the real data, name its
# folder instead of calling `synthesize`; and to learn something, take `steps=20_000` and a GPU.

# %%
folder = Path(tempfile.mkdtemp())
data = folder / "synthetic"  # of the real data: data = Path("seamless-interaction-data")
synthesize(data, interactions=4, seconds=4.0)
SeamlessDataset(data).interactions.to_pandas()[["interaction_id", "split"]]

# %% [markdown]
# ## Training
#
# The command line has the same: `seamless-interaction train imitator --data DATA --preset tiny --output RUN`. Called
# again, a run that was stopped goes on.

# %%
run = folder / "run"
settings = Settings(preset="tiny", steps=10, batch_size=4, seconds=1.0, hop=0.5, validated_on=4, threads=1)
results = train(data, run, settings, workers=0, device="cpu", evaluate_every=5, tell=print)
print(sorted(path.name for path in run.iterdir()))

# %% [markdown]
# `metrics.jsonl` has a line for each step, and for each validation.

# %%
metrics = pd.DataFrame([json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()])
trained, validated = metrics.dropna(subset="loss"), metrics.dropna(subset="validation_loss")
figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
axes.plot(trained["step"], trained["loss"], ".-", color=COLORS[0], label="training, each step")
axes.plot(validated["step"], validated["validation_loss"], "s--", color=COLORS[1], label="validation, on dev")
axes.set(xlabel="step", ylabel="loss (no unit)")
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# ## What it is worth
#
# Errors on the last 12 frames of windows of `dev`, beside guesses that know nothing of conversations: the last frame
# stays, the mean pose, each joint turns on as it did. A model is worth something where it is better than all of them,
# on real data, on people whom it has not seen. Here it is not: synthetic joints follow slow waves, so that turning on
# as before is the best guess by far.

# %%
units = {name: f"{name} ({unit})" for name, unit in results["units"].items()}
pd.DataFrame(results["errors"]).T.rename(columns=units).round(2)

# %% [markdown]
# ## A representation of a conversation
#
# `encode` gives each participant's view of the conversation, a row a frame, which knows nothing of what comes later.
# The model is loaded from the run's folder, from safetensors; from the Hub it is the same call.

# %%
model = ImitatorModel.from_pretrained(run)
interaction = SeamlessDataset(data, split="dev")[0]
modalities = ["audio", "transcript", "smplh", "movement:expression"]
window = interaction.window(0.0, 3.0, modalities, fps=model.config.fps)
encoded = model.encode(window)
figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), sharey=True, layout="constrained")
for axis, (participant, values) in zip(axes, encoded.items(), strict=True):
    picture = axis.imshow(values.T, aspect="auto", cmap="PuOr", vmin=-3, vmax=3, extent=(0, 3, len(values[0]), 0))
    axis.set(title=f"{participant}, {tuple(values.shape)}", xlabel="time (s)", xticks=range(4))
axes[0].set_ylabel("dimension")
figure.colorbar(picture, ax=axes, label="value (no unit)")
plt.show()

# %% [markdown]
# ## Motion for a voice
#
# `generate` makes body, hands and face of one participant, frame by frame, from their voice and words and from the
# partner. Here the voice is that of a recording, so that both motions can be compared. After ten steps the model has
# not learnt to move smoothly.

# %%
one, other = window.values()
generated = model.generate(audio=one["audio"], partner=other, text=one["words"], frames=90, temperature=0.8, seed=0)
for name, values in generated.items():
    print(f"{name:24} {tuple(values.shape)}")


# %%
def speed(pose: torch.Tensor | np.ndarray) -> np.ndarray:
    """Mean angular speed of the joints of the body from frame to frame, (T, 21, 3) to (T - 1,) degrees a second."""
    rotations = to_matrix(torch.as_tensor(pose))
    return np.degrees(geodesic(rotations[:-1], rotations[1:]).mean(-1).numpy()) * model.config.fps


seconds = np.arange(1, 90) / model.config.fps
figure, axes = plt.subplots(2, 1, figsize=(9, 4.5), sharex=True, layout="constrained", height_ratios=[1, 3])
axes[0].plot(np.arange(len(one["audio"])) / 48_000, one["audio"], color="grey", linewidth=0.3)
axes[0].set(ylabel="voice", xlim=(0, 3), title=one["participant_id"])
axes[1].plot(seconds, speed(one["smplh:body_pose"]), color=COLORS[0], label="recorded")
axes[1].plot(seconds, speed(generated["smplh:body_pose"]), "--", color=COLORS[1], label="generated")
axes[1].set(ylabel="body, mean angular\nspeed of joints (°/s)", xlabel="time (s)", ylim=(0, None))
axes[1].legend(frameon=False)
plt.show()

# %% [markdown]
# ## Save and load
#
# A model is a folder: `config.json`, `model.safetensors` and a card that says what it was trained on. No pickles are
# written, and none are read.

# %%
model.save_pretrained(folder / "mine")
again = ImitatorModel.from_pretrained(folder / "mine")
same = again.generate(audio=one["audio"], frames=10)["smplh:body_pose"]
print(sorted(path.name for path in (folder / "mine").iterdir()))
print("the same motion:", torch.equal(same, model.generate(audio=one["audio"], frames=10)["smplh:body_pose"]))
