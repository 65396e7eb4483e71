"""Coloured patches on skin pictures: found by colour, cut out with a soft edge, and pasted onto other pictures.

In the ISIC archive they are discs in saturated colours beside the lesion that reach over the picture's border. What is
found is meant to be clean rather than complete: white, grey, black and tiny patches are passed over.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial import ConvexHull

#: Distance from the skin's colour in the plane of hue and chroma: beyond FAR it is a patch's, within NEAR it is skin.
FAR, NEAR = 0.25, 0.12
#: Colours whose value is below this are darkness (a vignette, ink, hair): of no hue.
DARK = 0.3
#: Share of the picture that one patch covers.
AREA = 0.02, 0.33
#: Share of the picture's edge that a patch at the border takes.
TOUCH = 0.05
#: At least so much of a patch is not of the skin's colour, and at most so much of what surrounds it is neither skin's
#: nor dark; else the outline is not the patch's.
INSIDE, OUTSIDE = 0.95, 0.2
#: Pixels that the soft edge leaves out (there skin shines through) and pixels over which it fades.
INSET, FADE = 1.0, 2.0


@dataclass(frozen=True)
class Patch:
    """pixels: (h, w, 3) uint8; alpha: (h, w) float32 in 0..1; position: row and column in a picture of size frame."""

    pixels: np.ndarray
    alpha: np.ndarray
    position: tuple[int, int]
    frame: tuple[int, int]


def patch_mask(image: np.ndarray) -> np.ndarray:
    """(H, W) bool: the coloured patches at the border of ``image``, (H, W, 3) uint8; none where nothing is plausible.

    A patch is the convex hull of a region whose colour is far from the median one, which is taken for the skin's. Its
    size must be plausible, and so must its outline: hardly any skin within, hardly any of the patch around it.
    """
    distance, lit = _from_skin(image)
    opened = ndimage.binary_erosion(lit & (distance > FAR), iterations=2, border_value=1)
    regions, count = ndimage.label(ndimage.binary_dilation(opened, iterations=2))
    mask = np.zeros(distance.shape, bool)
    for region in range(1, count + 1):
        found = regions == region
        if found.mean() > AREA[0] / 4:  # a ring that the border cuts has a hull of several times its size
            hull = _convex_hull(found)
            mask |= hull & _plausible(hull, distance, lit)
    return mask


def cut(image: np.ndarray, mask: np.ndarray) -> Patch:
    """What ``mask``, (H, W) bool, covers of ``image``, (H, W, 3) uint8; soft edges, but not at the picture's border.

    ValueError where the mask is empty.
    """
    if not mask.any():
        raise ValueError("the mask is empty: there is no patch to cut")
    margin = int(INSET + FADE)  # beyond the border the patch goes on
    depth = ndimage.distance_transform_edt(np.pad(mask, margin, mode="edge"))[margin:-margin, margin:-margin]
    alpha = np.clip((depth - INSET) / FADE, 0, 1).astype(np.float32)
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    frame = mask.shape[0], mask.shape[1]
    return Patch(image[box].copy(), alpha[box], (int(rows[0]), int(columns[0])), frame)


def paste(image: np.ndarray, patch: Patch, rng: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
    """``image``, (H, W, 3) uint8, with the patch, and (H, W) bool: where it was changed.

    The patch's whole frame is mirrored at random, upside down or left to right or both (half a turn), so a patch at
    the border stays at the border. Quarter turns are left out: the archive's pictures of 4 to 3 are pressed into
    squares, in which every disc stands upright. ValueError where the picture has another size than the patch's frame.
    """
    if image.shape[:2] != patch.frame:
        raise ValueError(f"the patch belongs on pictures of {patch.frame}, not {image.shape[:2]}")
    pixels, alpha, position = patch.pixels, patch.alpha, list(patch.position)
    for axis, mirror in enumerate(torch.randint(2, (2,), generator=rng).tolist()):
        if mirror:
            pixels, alpha = np.flip(pixels, axis), np.flip(alpha, axis)
            position[axis] = patch.frame[axis] - position[axis] - alpha.shape[axis]
    box = tuple(slice(start, start + extent) for start, extent in zip(position, alpha.shape, strict=True))
    pasted, mask = image.copy(), np.zeros(patch.frame, bool)
    blended = alpha[..., None] * pixels + (1 - alpha[..., None]) * image[box]
    pasted[box] = blended.round().astype(np.uint8)
    mask[box] = alpha > 0
    return pasted, mask


def _from_skin(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) distance from the median colour in the plane of hue (angle) and chroma (radius, 0..1); whether it is lit.

    The plane is that of the HSV hexagon seen from its tip (Hanbury, "Constructing cylindrical coordinate colour
    spaces", 2008). Chroma rather than saturation: a brown lesion has the skin's hue and is darker, hardly more.
    """
    red, green, blue = np.moveaxis(image.astype(np.float64) / 255, -1, 0)
    plane = np.stack([red - (green + blue) / 2, np.sqrt(3) / 2 * (green - blue)], axis=-1)
    lit = image.max(axis=-1) > DARK * 255
    skin = np.median(plane[lit], axis=0) if lit.any() else np.zeros(2)
    return np.linalg.norm(plane - skin, axis=-1), lit


def _convex_hull(region: np.ndarray) -> np.ndarray:
    """(H, W) bool: the pixels within the convex hull of ``region``, (H, W) bool with pixels not all in a line."""
    equations = ConvexHull(np.argwhere(region)).equations
    points = np.indices(region.shape).reshape(2, -1)
    inside: np.ndarray = (equations[:, :2] @ points + equations[:, 2:] <= 1e-9).all(axis=0)
    return inside.reshape(region.shape)


def _plausible(hull: np.ndarray, distance: np.ndarray, lit: np.ndarray) -> bool:
    """Whether ``hull``, (H, W) bool, is of a patch's size, at the border, and drawn where colours change."""
    edge = np.concatenate([hull[0], hull[-1], hull[:, 0], hull[:, -1]])
    if not AREA[0] <= hull.mean() <= AREA[1] or edge.mean() < TOUCH:
        return False
    near = ndimage.binary_dilation(hull, iterations=2)
    around = ndimage.binary_dilation(near, iterations=4) & ~near
    skin = (distance < NEAR) & lit
    return bool(skin[hull].mean() <= 1 - INSIDE and (lit & (distance > NEAR))[around].mean() <= OUTSIDE)
