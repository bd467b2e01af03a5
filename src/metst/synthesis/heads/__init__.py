"""Rendered heads: a parametric face with known expressions, drawn as a camera would see it.

``load.py`` reads a head model (``anny.py``, ``ict.py``), ``skin.py`` paints it, ``scene.py`` is the recipe of a
scene, ``render.py`` draws it with ``raster.py``.  Model data come from a file that the user names or has
installed; nothing of it is part of this package.
"""
