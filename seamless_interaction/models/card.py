"""The README.md of a saved model: what it is, what it was trained on, and what it is not."""

SYNTHETIC = (
    "Synthetic conversations: invented signals in the format of the real recordings, behind which no real person is. "
    "This model knows nothing of people. It shows that the code works, and no more."
)

CARD = """---
{{ card_data }}
---

# ImitatorModel

A small multimodal model of two people who talk, of the `seamless-interaction` package: sound, motion (rotations of
SMPL-H), face code and words of both participants, encoded causally; and motion of one of them, frame by frame.

```python
from seamless_interaction.models import ImitatorModel

model = ImitatorModel.from_pretrained("path-or-repo")
representation = model.encode(window)  # participant id -> (T, D)
motion = model.generate(audio=voice, partner=sample, frames=120, temperature=0.8, seed=0)
```

## Training data

{{ training_data | default("Not said by whoever saved it.", true) }}

{{ results | default("", true) }}

## What it is made of

- From Thambiraja et al., *Imitator: Personalized Speech-driven 3D Facial Animation* (ICCV 2023): a causal transformer
  decoder over past motion that attends to encoded sound, and a loss on velocities. Different here: body rotations and a
  face code instead of face vertices; no style embedding of a person and no adaptation to one; no lip contact loss;
  log-mel instead of wav2vec 2.0; both participants are heard and seen.
- From Ekstedt and Skantze, *Voice Activity Projection* (Interspeech 2022): both participants in one causal model that
  learns from what comes next, without labels. Different here: what comes next is motion, and how loud each will be,
  instead of voice activity in one of 256 states.
- Rotations as six numbers: Zhou et al. (CVPR 2019). Biases by age: Press, Smith and Lewis (ICLR 2022).

## What it is not

It is not the Imitator with which Meta made the `movement:*` arrays of the Seamless Interaction dataset: that one is not
public, and nothing here is claimed to equal it. It was not evaluated with people. Motion that it makes is not of any
participant, and must not be passed off as theirs.
"""
