"""A small software rasteriser: z-buffer, per-sample normals, one key light, 2 x 2 samples per pixel.

Every sample is taken where it lies on the moving surface, so a displacement of a tenth of a pixel
shows as it would in a camera.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from metst.arrays import Float32Array, Int32Array, UInt8Array

SAMPLES = 2
"""Samples per pixel along each axis; set by hand."""

_TINY = np.float32(1e-12)  # keeps a normal of no length from being divided by
_EDGE_ON = np.float32(-1e-9)  # twice the area, samples, over which a triangle is not seen; negative faces the camera
_EYE_SQUARINGS, _EYE_GLOSS = 7, np.float32(0.8)  # shine of eyes: exponent 2**7, strength; set by hand
_LUMA_SHARE, _CHROMA_SHARE = np.float32(0.9), np.float32(0.45)  # of the noise: together of about unit variance; by hand
_WHITE = np.float32(0.9999)  # just under 1: the curve is read between two of its points


class Surface(NamedTuple):
    """What is seen.

    Parameters
    ----------
    triangles : (F, 3) int32
        Vertices of each triangle.
    material : (F,) uint8
        Of each triangle.
    normals : (V, 3) float32
        Of each vertex, in camera coordinates.
    uv : (V, 3) float32
        Texel column and row of each vertex, in the skin or in the eye texture, and height above the collar.
    tint : (V,) float32
        Factor on the light that reaches each vertex: dark inside the mouth, 1 outside.
    """

    triangles: Int32Array
    material: UInt8Array
    normals: Float32Array
    uv: Float32Array
    tint: Float32Array


class Paint(NamedTuple):
    """Reflectance.

    Parameters
    ----------
    skin, eye : (rows, columns, 3) float32
        Textures.
    colours : (5, 3) float32
        Per material; materials 0 and 3 take theirs from the textures.
    """

    skin: Float32Array
    eye: Float32Array
    colours: Float32Array


@numba.njit(cache=True)
def vertex_normals(mesh: Float32Array, triangles: Int32Array) -> Float32Array:
    """Unit normals ``(V, 3)``: the area-weighted mean of the adjoining triangles'."""
    normals = np.zeros_like(mesh)
    for f in range(triangles.shape[0]):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ux, uy, uz = mesh[b, 0] - mesh[a, 0], mesh[b, 1] - mesh[a, 1], mesh[b, 2] - mesh[a, 2]
        vx, vy, vz = mesh[c, 0] - mesh[a, 0], mesh[c, 1] - mesh[a, 1], mesh[c, 2] - mesh[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for v in (a, b, c):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    for v in range(mesh.shape[0]):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2) + _TINY
        for k in range(3):
            normals[v, k] /= length
    return normals


@numba.njit(cache=True, error_model="numpy")
def visible(screen: Float32Array, triangles: Int32Array, height: int, width: int) -> tuple[Int32Array, Float32Array]:
    """Which triangle each sample sees (-1: none), and the two barycentric coordinates there.

    Parameters
    ----------
    screen : (V, 3) float32
        Sample column, sample row and distance from the camera of each vertex.
    triangles : (F, 3) int32
        Those that turn their back to the camera are skipped.
    height, width : int
        Size of the sample grid.

    Returns
    -------
    (height, width) int32, (height, width, 2) float32
        Triangle and weights of its second and third vertex.
    """
    depth = np.full((height, width), np.float32(np.inf), dtype=np.float32)
    owner = np.full((height, width), np.int32(-1), dtype=np.int32)
    weights = np.zeros((height, width, 2), dtype=np.float32)
    for f in range(triangles.shape[0]):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ax, ay, bx, by, cx, cy = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1], screen[c, 0], screen[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area >= _EDGE_ON:  # rows run downwards: what faces the camera has negative area
            continue
        left, right = max(int(np.ceil(min(ax, bx, cx))), 0), min(int(np.floor(max(ax, bx, cx))), width - 1)
        top, bottom = max(int(np.ceil(min(ay, by, cy))), 0), min(int(np.floor(max(ay, by, cy))), height - 1)
        inverse = np.float32(1) / area
        za, zb, zc = screen[a, 2], screen[b, 2], screen[c, 2]
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                px, py = np.float32(column) - ax, np.float32(row) - ay
                wb = (px * (cy - ay) - py * (cx - ax)) * inverse
                wc = (py * (bx - ax) - px * (by - ay)) * inverse
                if wb < 0 or wc < 0 or wb + wc > 1:
                    continue
                z = za + wb * (zb - za) + wc * (zc - za)
                if z < depth[row, column]:
                    depth[row, column] = z
                    owner[row, column] = f
                    weights[row, column, 0] = wb
                    weights[row, column, 1] = wc
    return owner, weights


@numba.njit(cache=True, error_model="numpy", fastmath=False)
def shade(
    owner: Int32Array, weights: Float32Array, *, surface: Surface, paint: Paint, light: Float32Array
) -> Float32Array:
    """Linear colour and coverage of each pixel, ``(height / 2, width / 2, 4)`` float32.

    Parameters
    ----------
    owner, weights
        From :func:`visible`.
    surface, paint
        The mesh and its reflectance.
    light : (8,) float32
        Direction of the key light (3), its strength, ambient light, its share from above, skin gloss, wrap.
    """
    triangles, material, normals, uv, tint = surface
    skin, eye, colours = paint
    height, width = owner.shape[0] // 2, owner.shape[1] // 2
    image = np.zeros((height, width, 4), dtype=np.float32)
    quarter = np.float32(0.25)
    for row in range(2 * height):
        for column in range(2 * width):
            f = owner[row, column]
            if f < 0:
                continue
            wb, wc = weights[row, column, 0], weights[row, column, 1]
            wa = np.float32(1) - wb - wc
            a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
            lit, gloss = _lit(normals, a, b, c, wa, wb, wc, light)
            lit *= wa * tint[a] + wb * tint[b] + wc * tint[c]
            kind = material[f]
            if kind == 0 and wa * uv[a, 2] + wb * uv[b, 2] + wc * uv[c, 2] < 0:
                kind = np.uint8(4)
            u = wa * uv[a, 0] + wb * uv[b, 0] + wc * uv[c, 0]
            v = wa * uv[a, 1] + wb * uv[b, 1] + wc * uv[c, 1]
            gloss = _gloss(kind, gloss, light)
            for k in range(3):
                if kind == 0:
                    albedo = _texel(skin, u, v, k)
                elif kind == 3:
                    albedo = _texel(eye, u, v, k)
                else:
                    albedo = colours[kind, k]
                image[row // 2, column // 2, k] += quarter * (albedo * lit + light[3] * gloss)
            image[row // 2, column // 2, 3] += quarter
    return image


@numba.njit(cache=True, error_model="numpy")
def _lit(
    normals: Float32Array,
    a: int,
    b: int,
    c: int,
    wa: np.float32,
    wb: np.float32,
    wc: np.float32,
    light: Float32Array,
) -> tuple[np.float32, np.float32]:
    """Light that a sample gets from all sides, and the cosine of its highlight."""
    nx = wa * normals[a, 0] + wb * normals[b, 0] + wc * normals[c, 0]
    ny = wa * normals[a, 1] + wb * normals[b, 1] + wc * normals[c, 1]
    nz = wa * normals[a, 2] + wb * normals[b, 2] + wc * normals[c, 2]
    length = np.float32(1) / np.sqrt(nx * nx + ny * ny + nz * nz + np.float32(1e-12))
    nx, ny, nz = nx * length, ny * length, nz * length
    facing = nx * light[0] + ny * light[1] + nz * light[2]
    lit = max(np.float32(0), (facing + light[7]) / (np.float32(1) + light[7]))
    lit = light[3] * lit + light[4] * (np.float32(1) + light[5] * ny)
    # Half-way vector to a camera straight ahead (Blinn 1977).
    hz = light[2] + np.float32(1)
    norm = np.float32(1) / np.sqrt(light[0] ** 2 + light[1] ** 2 + hz * hz)
    return lit, max(np.float32(0), (nx * light[0] + ny * light[1] + nz * hz) * norm)


@numba.njit(cache=True, error_model="numpy")
def _gloss(kind: np.uint8, cosine: np.float32, light: Float32Array) -> np.float32:
    """Highlight of a material: wide on skin (0), narrow on the eye (3), none elsewhere."""
    if kind == 0:
        gloss = cosine**2
        gloss = gloss**2
        gloss = gloss**2
        gloss = light[6] * gloss * gloss
    elif kind == 3:
        gloss = cosine
        for _ in range(_EYE_SQUARINGS):
            gloss *= gloss
        gloss *= _EYE_GLOSS
    else:
        gloss = np.float32(0)
    return gloss


@numba.njit(cache=True, inline="always")
def _texel(texture: Float32Array, u: np.float32, v: np.float32, k: int) -> np.float32:
    """Bilinear sample."""
    column = min(max(u, np.float32(0)), np.float32(texture.shape[1] - 2))
    row = min(max(v, np.float32(0)), np.float32(texture.shape[0] - 2))
    i, j = int(row), int(column)
    fu, fv = column - np.float32(j), row - np.float32(i)
    upper = texture[i, j, k] + fu * (texture[i, j + 1, k] - texture[i, j, k])
    lower = texture[i + 1, j, k] + fu * (texture[i + 1, j + 1, k] - texture[i + 1, j, k])
    return np.float32(upper + fv * (lower - upper))


@numba.njit(cache=True, error_model="numpy")
def compose(head: Float32Array, background: Float32Array, top: int, left: int, gain: float) -> Float32Array:
    """The head laid over its background ``(H, W, 3)``, times the exposure."""
    image = background * np.float32(gain)
    for row in range(head.shape[0]):
        for column in range(head.shape[1]):
            open_share = np.float32(1) - head[row, column, 3]
            for k in range(3):
                image[top + row, left + column, k] = np.float32(gain) * (
                    head[row, column, k] + open_share * background[top + row, left + column, k]
                )
    return image


@numba.njit(cache=True, error_model="numpy")
def develop(
    linear: Float32Array, curve: Float32Array, luma_noise: Float32Array, chroma_noise: Float32Array, sigma: float
) -> UInt8Array:
    """Camera response and noise: linear light ``(H, W, 3)`` to 8-bit levels.

    Parameters
    ----------
    linear : (H, W, 3) float32
        1 is white.
    curve : (N,) float32
        Grey level over ``[0, 1]``.
    luma_noise : (H, W) float32
        Standard normal.
    chroma_noise : (H / 2, W / 2, 3) float32
        Standard normal, shared by 2 x 2 pixels as after a colour filter.
    sigma : float
        Noise at mid-grey, levels.
    """
    height, width = linear.shape[0], linear.shape[1]
    image = np.empty((height, width, 3), dtype=np.uint8)
    last = np.float32(curve.shape[0] - 1)
    for row in range(height):
        for column in range(width):
            for k in range(3):
                x = min(max(linear[row, column, k], np.float32(0)), _WHITE) * last
                i = int(x)
                level = curve[i] + (x - np.float32(i)) * (curve[i + 1] - curve[i])
                noise = _LUMA_SHARE * luma_noise[row, column]
                noise += _CHROMA_SHARE * chroma_noise[row // 2, column // 2, k]
                level += np.float32(sigma) * noise
                image[row, column, k] = np.uint8(min(max(level + np.float32(0.5), np.float32(0)), np.float32(255)))
    return image
