"""The simplest models: what is most frequent, or the mean; and a linear one on features.

Nothing is tuned: a penalty is fixed, so that no result depends on a search. Models are estimators as scikit-learn has
them, so anything with ``fit``, ``predict`` and ``predict_proba`` can be measured beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from seamless_interaction.evaluation.metrics import Prediction, sklearn

PENALTY = 10.0  # of squared weights, of features that have mean 0 and deviation 1

MakeModel = Callable[[str, int], Any]  # of a kind of target and a seed, an estimator


def prior(kind: str, seed: int) -> Any:
    """The most frequent class, with the share of each as its probability; or the mean. It looks at no feature."""
    dummy = sklearn().dummy
    return dummy.DummyRegressor() if kind == "regression" else dummy.DummyClassifier(strategy="prior")


def linear(kind: str, seed: int) -> Any:
    """Logistic regression with classes balanced, or ridge regression, on standardised features."""
    parts = sklearn()
    if kind == "regression":
        model: Any = parts.linear_model.Ridge(alpha=PENALTY)
    else:
        model = parts.linear_model.LogisticRegression(
            C=1 / PENALTY, class_weight="balanced", max_iter=2000, random_state=seed
        )
    return parts.pipeline.make_pipeline(parts.preprocessing.StandardScaler(), model)


PRIOR: Mapping[str, MakeModel] = {"prior": prior}
BASELINES: Mapping[str, MakeModel] = {"prior": prior, "linear": linear}


def predict(estimator: Any, kind: str, features: np.ndarray) -> Prediction:
    """What a fitted estimator tells of (n, D) features."""
    if kind == "regression":
        return Prediction(np.asarray(estimator.predict(features), float))
    return Prediction(estimator.predict(features), estimator.predict_proba(features), estimator.classes_)
