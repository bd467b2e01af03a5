"""Numba kernels: sampling a frame through the composed warp, and the normal equations of its registration.

The warp of an anchor's pixel ``x`` (canonical face frame) into a frame is ``S(x + u(x) + z(x) turn)``: ``S`` is the
similarity of the head, ``z`` the depth of the face, ``turn`` what a small yaw and pitch do to a point of unit depth,
and ``u`` the local displacement, bilinear between the nodes of a regular grid.  Registration is Gauss-Newton with the
anchor's gradients (inverse compositional in the head, Baker & Matthews 2004, IJCV 56(3)), so that the normal matrix is
assembled once per anchor.

Order of the unknowns: node x (K), node y (K), head (x, y, dilation, rotation, yaw, pitch), contrast nodes (G).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

Float32 = npt.NDArray[np.float32]

HEAD = 6
"""Unknowns of the head: shift x, shift y, dilation, rotation, yaw, pitch."""


@njit(cache=True, nogil=True, fastmath=True, inline="always")
def _keys(t: float) -> tuple[float, float, float, float]:
    """Weights of the four taps of cubic convolution (Keys 1981, a = -1/2) at fraction ``t``."""
    return (
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )


@njit(cache=True, nogil=True, fastmath=True)
def sample(
    image: Float32,
    similarity: Float32,
    turn: Float32,
    nodes: Float32,
    unit: float,
    origin: Float32,
    depth: Float32,
    weight: Float32,
    values: Float32,
    seen: Float32,
) -> None:
    """Sample ``image`` at the warped position of every canonical pixel with a weight.

    Parameters
    ----------
    image : (H, W) float32
    similarity : (4,) float32
        Canonical pixels to pixels of ``image``: (a, b, x, y) of ``[[a, -b], [b, a]] p + (x, y)``.
    turn : (2,) float32
        Shift of a point of depth 1, canonical pixels.
    nodes : (2, node_rows, node_columns) float32
        Local displacement at the nodes, canonical pixels.
    unit : float
        Canonical pixels between two nodes.
    origin : (2,) float32
        Canonical coordinates (x, y) of the first pixel.
    depth, weight : (rows, columns) float32
    values, seen : (rows, columns) float32
        Written: the samples, and 1 where the sample lies inside the image.
    """
    height, width = image.shape
    rows, columns = weight.shape
    a, b, shift_x, shift_y = similarity
    last_row, last_column = nodes.shape[1] - 2, nodes.shape[2] - 2
    for row in range(rows):
        node_y = row / unit
        i = min(int(node_y), last_row)
        fy = np.float32(node_y - i)
        for column in range(columns):
            if weight[row, column] == 0.0:
                continue
            node_x = column / unit
            j = min(int(node_x), last_column)
            fx = np.float32(node_x - j)
            w00, w01 = (1 - fy) * (1 - fx), (1 - fy) * fx
            w10, w11 = fy * (1 - fx), fy * fx
            z = depth[row, column]
            x = origin[0] + column + z * turn[0]
            y = origin[1] + row + z * turn[1]
            x += w00 * nodes[0, i, j] + w01 * nodes[0, i, j + 1] + w10 * nodes[0, i + 1, j] + w11 * nodes[0, i + 1, j + 1]
            y += w00 * nodes[1, i, j] + w01 * nodes[1, i, j + 1] + w10 * nodes[1, i + 1, j] + w11 * nodes[1, i + 1, j + 1]
            at_x = a * x - b * y + shift_x
            at_y = b * x + a * y + shift_y
            if at_x < 1 or at_y < 1 or at_x >= width - 2 or at_y >= height - 2:
                values[row, column] = 0.0
                seen[row, column] = 0.0
                continue
            left, top = int(at_x), int(at_y)
            k0, k1, k2, k3 = _keys(np.float32(at_x - left))
            m0, m1, m2, m3 = _keys(np.float32(at_y - top))
            total = np.float32(0.0)
            for tap in range(4):
                r = top - 1 + tap
                m = m0 if tap == 0 else (m1 if tap == 1 else (m2 if tap == 2 else m3))
                total += m * (
                    k0 * image[r, left - 1] + k1 * image[r, left] + k2 * image[r, left + 1] + k3 * image[r, left + 2]
                )
            values[row, column] = total
            seen[row, column] = 1.0


@njit(cache=True, nogil=True, fastmath=True)
def right_side(
    values: Float32,
    seen: Float32,
    weight: Float32,
    template: Float32,
    gradient: Float32,
    depth: Float32,
    origin: Float32,
    unit: float,
    light_unit: float,
    contrast: float,
    light: Float32,
    clip: float,
    residual: Float32,
    out: Float32,
) -> None:
    """Residual of every pixel and ``J^T W psi(residual)``, with Huber's clipped residual ``psi``.

    Parameters
    ----------
    values, seen, weight, template, depth : (rows, columns) float32
    gradient : (2, rows, columns) float32
        Derivatives of the template by x and y, per canonical pixel.
    light : (light_rows, light_columns) float32
        Local deviation of the contrast from ``contrast``, bilinear between its nodes.
    contrast : float
        Contrast of the frame over the template's, whole face.
    clip : float
        Residuals are clipped at this size, so that an occluder or a lid pulls with bounded force.
    residual : (rows, columns) float32
        Written: frame (at the template's contrast) minus template.
    out : (2 K + 6 + G,) float32
        Written.
    """
    rows, columns = weight.shape
    node_rows, node_columns = int((rows - 1) / unit + 1.001), int((columns - 1) / unit + 1.001)
    light_rows, light_columns = light.shape
    count = node_rows * node_columns
    out[:] = 0.0
    scale = np.float32(1.0 / contrast)
    for row in range(rows):
        node_y = row / unit
        i = min(int(node_y), node_rows - 2)
        fy = np.float32(node_y - i)
        light_y = row / light_unit
        li = min(int(light_y), light_rows - 2)
        ly = np.float32(light_y - li)
        y = origin[1] + row
        for column in range(columns):
            w = weight[row, column] * seen[row, column]
            if w == 0.0:
                residual[row, column] = 0.0
                continue
            node_x = column / unit
            j = min(int(node_x), node_columns - 2)
            fx = np.float32(node_x - j)
            light_x = column / light_unit
            lj = min(int(light_x), light_columns - 2)
            lx = np.float32(light_x - lj)
            l00, l01, l10, l11 = (1 - ly) * (1 - lx), (1 - ly) * lx, ly * (1 - lx), ly * lx
            gain = 1 + l00 * light[li, lj] + l01 * light[li, lj + 1] + l10 * light[li + 1, lj] + l11 * light[li + 1, lj + 1]
            t = template[row, column]
            e = values[row, column] * scale - gain * t
            residual[row, column] = e
            e = w * min(max(e, -clip), clip)
            ex, ey = e * gradient[0, row, column], e * gradient[1, row, column]
            w00, w01 = (1 - fy) * (1 - fx), (1 - fy) * fx
            w10, w11 = fy * (1 - fx), fy * fx
            k = i * node_columns + j
            out[k] += w00 * ex
            out[k + 1] += w01 * ex
            out[k + node_columns] += w10 * ex
            out[k + node_columns + 1] += w11 * ex
            k += count
            out[k] += w00 * ey
            out[k + 1] += w01 * ey
            out[k + node_columns] += w10 * ey
            out[k + node_columns + 1] += w11 * ey
            x = origin[0] + column
            z = depth[row, column]
            k = 2 * count
            out[k] += ex
            out[k + 1] += ey
            out[k + 2] += x * ex + y * ey
            out[k + 3] += x * ey - y * ex
            out[k + 4] += z * ex
            out[k + 5] += z * ey
            k += 6 + li * light_columns + lj
            et = -e * t
            out[k] += l00 * et
            out[k + 1] += l01 * et
            out[k + light_columns] += l10 * et
            out[k + light_columns + 1] += l11 * et


@njit(cache=True, nogil=True, fastmath=True)
def normal_matrix(
    weight: Float32,
    template: Float32,
    gradient: Float32,
    depth: Float32,
    origin: Float32,
    unit: float,
    light_unit: float,
    light_shape: tuple[int, int],
    out: npt.NDArray[np.float64],
) -> None:
    """``J^T W J`` of all unknowns, upper and lower triangle; parameters as in :func:`right_side`.

    Parameters
    ----------
    out : (2 K + 6 + G, 2 K + 6 + G) float64
        Written.
    """
    rows, columns = weight.shape
    node_rows, node_columns = int((rows - 1) / unit + 1.001), int((columns - 1) / unit + 1.001)
    light_rows, light_columns = light_shape
    count = node_rows * node_columns
    out[:] = 0.0
    index = np.empty(18, dtype=np.int64)
    value = np.empty(18, dtype=np.float32)
    for row in range(rows):
        node_y = row / unit
        i = min(int(node_y), node_rows - 2)
        fy = np.float32(node_y - i)
        light_y = row / light_unit
        li = min(int(light_y), light_rows - 2)
        ly = np.float32(light_y - li)
        y = origin[1] + row
        for column in range(columns):
            w = weight[row, column]
            if w == 0.0:
                continue
            node_x = column / unit
            j = min(int(node_x), node_columns - 2)
            fx = np.float32(node_x - j)
            light_x = column / light_unit
            lj = min(int(light_x), light_columns - 2)
            lx = np.float32(light_x - lj)
            gx, gy, t = gradient[0, row, column], gradient[1, row, column], template[row, column]
            x, z = origin[0] + column, depth[row, column]
            for corner in range(4):
                down, right = corner // 2, corner % 2
                share = (fy if down else 1 - fy) * (fx if right else 1 - fx)
                k = (i + down) * node_columns + j + right
                index[corner], value[corner] = k, share * gx
                index[4 + corner], value[4 + corner] = k + count, share * gy
                share = (ly if down else 1 - ly) * (lx if right else 1 - lx)
                index[14 + corner] = 2 * count + 6 + (li + down) * light_columns + lj + right
                value[14 + corner] = -share * t
            for head in range(6):
                index[8 + head] = 2 * count + head
            value[8], value[9] = gx, gy
            value[10], value[11] = x * gx + y * gy, x * gy - y * gx
            value[12], value[13] = z * gx, z * gy
            for p in range(18):
                scaled = w * value[p]
                for q in range(p, 18):
                    out[index[p], index[q]] += scaled * value[q]
    for p in range(out.shape[0]):
        for q in range(p):
            out[p, q] = out[q, p]
