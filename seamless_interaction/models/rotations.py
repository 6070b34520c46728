"""Rotations: vectors (axis times angle), matrices, six numbers; distances that no way of writing them changes.

Six numbers are the first two columns of the matrix: Zhou, Barnes, Lu, Yang, Li, "On the Continuity of Rotation
Representations in Neural Networks", CVPR 2019. Unlike rotation vectors they do not jump where an angle passes pi.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

_TINY = 1e-12


def to_matrix(vectors: Tensor) -> Tensor:
    """Rotation vectors (..., 3), radians of any length, as matrices (..., 3, 3): Rodrigues' formula."""
    squared = (vectors * vectors).sum(-1)[..., None, None]
    angle = (squared + _TINY).sqrt()
    sine = torch.sinc(angle / torch.pi)  # sin(a) / a
    cosine = torch.sinc(angle / (2 * torch.pi)).square() / 2  # (1 - cos(a)) / a²
    x, y, z = vectors.unbind(-1)
    o = torch.zeros_like(x)
    cross = torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).unflatten(-1, (3, 3))
    identity = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
    outer = vectors[..., :, None] * vectors[..., None, :]
    return identity + sine * cross + cosine * (outer - squared * identity)


def to_vector(matrices: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) as vectors (..., 3), of at most pi radians.

    By way of the unit quaternion with the largest component found first, which is exact near no turn and near half a
    one: Shepperd, "Quaternion from Rotation Matrix", Journal of Guidance and Control 1 (3), 1978.
    """
    m = matrices
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    squares = torch.stack([1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz], -1)  # 4 q²
    a, b, c = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]  # 4 w x, …
    d, e, f = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]  # 4 x y, …
    s = squares
    rows = torch.stack([s[..., 0], a, b, c, a, s[..., 1], d, e, b, d, s[..., 2], f, c, e, f, s[..., 3]], -1)
    rows = rows.unflatten(-1, (4, 4))  # row i is 4 q[i] q
    best = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    quaternion = normalize(rows.gather(-2, best).squeeze(-2), dim=-1)
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    real, imaginary = quaternion[..., :1], quaternion[..., 1:]
    sine = imaginary.norm(dim=-1, keepdim=True)
    scale = torch.where(sine > 1e-6, 2 * torch.atan2(sine, real) / sine.clamp(min=1e-6), 2 * torch.ones_like(sine))
    return imaginary * scale


def to_six(matrices: Tensor) -> Tensor:
    """Matrices (..., 3, 3) as their first two columns, (..., 6)."""
    return matrices[..., :2].transpose(-1, -2).flatten(-2)


def from_six(six: Tensor) -> Tensor:
    """Any six numbers (..., 6) as the matrix (..., 3, 3) that Gram and Schmidt make of them."""
    first, second = six[..., :3], six[..., 3:]
    x = normalize(first, dim=-1)
    y = normalize(second - (x * second).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], -1)


def nearest(matrices: Tensor) -> Tensor:
    """The rotations nearest to any matrices (..., 3, 3): of a sum of rotations, their chordal mean."""
    u, _, v = torch.linalg.svd(matrices)
    u[..., 2] *= torch.linalg.det(u @ v)[..., None]
    return u @ v


def between(first: Tensor, second: Tensor) -> Tensor:
    """The turn from one rotation to another, in the first one's own frame: vectors (..., 3) of at most pi radians."""
    return to_vector(first.transpose(-1, -2) @ second)


def geodesic(first: Tensor, second: Tensor) -> Tensor:
    """Angles between rotations, matrices (..., 3, 3) to (...) radians from 0 to pi.

    The angle is 2 asin(d / √8) with d the Frobenius norm of the difference, which needs no trace near 3, where an arc
    cosine loses half of the digits and its gradient is infinite.
    """
    squared = (first - second).square().sum((-1, -2))
    return 2 * torch.asin((squared / 8 + _TINY).sqrt().clamp(max=1 - 1e-6))
